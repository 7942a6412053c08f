//! A session that an earlier run of this program has left with the broker. The library goes on with one only if it is told what was under
//! way. That is gone with the run, but for this: of what it was sending with QoS 2, the broker may hold messages that it lets go only when
//! it hears PUBREL, and until then takes less. So PUBREL is said for every packet identifier that the run may have used; a broker that does
//! not know one answers so (MQTT 5.0, section 3.7.2.1, reason code 0x92), and that is no error then. What the broker sends is answered
//! in the same way.

/// `Earlier`, for the version whose crate is named here. The rest is what only this version writes down.
macro_rules! earlier {
    ($library:ident, $earlier:ident => $($own:tt)*) => {
        #[derive(Debug)]
        struct Earlier {
            /// How many packet identifiers it may have used for what is half-way.
            half_way: u16,
            /// How many messages may be under way at once.
            in_flight: u16,
        }

        impl $library::SessionStore for Earlier {
            fn load<'a>(
                &'a self,
                key: &'a $library::SessionStoreKey,
            ) -> Stored<'a, Option<$library::PersistedSession>> {
                let $earlier = self;
                let released = |pkid| $library::PersistedRequest::PubRel($library::PersistedPubRel { pkid });
                let session = $library::PersistedSession {
                    format_version: 1,
                    client_id: key.client_id().to_owned(),
                    ack_mode: $library::PersistedAckMode::Automatic,
                    last_pkid: 0,
                    last_puback: 0,
                    replay: (1..=$earlier.half_way).map(released).collect(),
                    incoming_qos2: Vec::new(),
                    $($own)*
                };
                Box::pin(async { Ok(Some(session)) })
            }

            fn save<'a>(
                &'a self,
                _: &'a $library::SessionStoreKey,
                _: &'a $library::PersistedSession,
            ) -> Stored<'a, ()> {
                Box::pin(async { Ok(()) })
            }

            fn clear<'a>(&'a self, _: &'a $library::SessionStoreKey) -> Stored<'a, ()> {
                Box::pin(async { Ok(()) })
            }
        }

        type Stored<'a, T> = std::pin::Pin<
            Box<dyn Future<Output = Result<T, $library::SessionStoreError>> + Send + 'a>,
        >;
    };
}

pub(super) use earlier;
