//! The half that speaks. The library has a crate for each version, which are the same here in all but their types.

/// `Speaking`, for the version whose crate is named here. Where it is called there are two functions, which say what became of what was not
/// handed over: `undelivered` for messages, `unheard` for subscriptions.
macro_rules! speaker {
    ($library:ident) => {
        struct Speaking {
            client: $library::AsyncClient,
        }

        #[async_trait]
        impl Speaker for Speaking {
            async fn publish(&self, message: Message, qos: Qos) -> Result<Delivered, String> {
                let options = $library::PublishOptions::new(theirs(qos)).retain(message.retain);
                let notice = self
                    .client
                    .publish_tracked(message.topic, message.payload, options);
                let notice = notice.await.map_err(|why| why.to_string())?;
                Ok(Box::pin(async move {
                    notice.wait_completion_async().await.map_err(undelivered)
                }))
            }

            fn subscribe(&self, filter: &str, qos: Qos) -> Result<Delivered, String> {
                let notice = self
                    .client
                    .try_subscribe_tracked(filter.to_owned(), theirs(qos));
                let notice = notice.map_err(|why| why.to_string())?;
                Ok(Box::pin(async move {
                    notice.wait_completion_async().await.map_err(unheard)
                }))
            }

            fn disconnect(&self) {
                // Whoever cannot be told has no connection to end.
                let _ = self.client.try_disconnect();
            }
        }

        fn theirs(qos: Qos) -> $library::QoS {
            match qos {
                Qos::AtMostOnce => $library::QoS::AtMostOnce,
                Qos::AtLeastOnce => $library::QoS::AtLeastOnce,
                Qos::ExactlyOnce => $library::QoS::ExactlyOnce,
            }
        }
    };
}

pub(super) use speaker;
