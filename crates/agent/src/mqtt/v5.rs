//! MQTT 5.

use async_trait::async_trait;
use rumqttc5::mqttbytes::QoS;
use rumqttc5::mqttbytes::v5::{
    DisconnectReasonCode, LastWill, LastWillProperties, Packet, PubAckReason, PubRecReason,
    SubscribeReasonCode,
};
use rumqttc5::{
    AsyncClient, ConnectionError, Event as Theirs, EventLoop, MqttOptions, PublishNoticeError, SessionMode,
    StateError, SubscribeNoticeError,
};

use super::earlier::earlier;
use super::session::Settings;
use super::speaker::speaker;
use super::{
    Delivered, Event, IN_FLIGHT, Link, Lost, MAX_PACKET, Message, NO_RIGHT, QUEUED, Qos, Speaker,
    Undelivered, known, refuses, tls, words,
};

/// For how long the broker keeps a session, in seconds.
const KEPT: u32 = 24 * 3600;
/// A session that is taken up again within so many seconds has not died, so its will is not told (MQTT 5.0, section 3.1.3.2.2).
const WILL_DELAY: u32 = 5;
/// Messages with QoS 2 that are sent and not yet taken over. Brokers take at least so many, unless somebody has told them otherwise.
const HALF_WAY: u16 = 10;

/// Both halves of a client; nothing is connected yet.
pub(super) fn open(settings: &Settings) -> (Box<dyn Link>, Box<dyn Speaker>) {
    let place = settings.place.clone();
    let host = place.host.clone();
    let mut options = MqttOptions::new(place.name.clone(), (host.clone(), place.port));
    options.set_keep_alive(settings.keep_alive);
    options.set_max_packet_size(u32::try_from(MAX_PACKET).ok());
    // The library keeps a place for each message that may be under way.
    options.set_receive_maximum(Some(IN_FLIGHT));
    let exactly_once = settings.qos == Qos::ExactlyOnce;
    let in_flight = if exactly_once { HALF_WAY } else { IN_FLIGHT };
    options.set_outgoing_inflight_upper_limit(in_flight);
    options.set_connect_timeout(tls::PATIENCE);
    options.set_socket_connector(move |_, _| {
        let place = place.clone();
        async move { tls::connect(&place).await }
    });
    if settings.persistent {
        options.set_session_mode(SessionMode::Persistent);
        options.set_session_expiry_interval(Some(KEPT));
        options.set_session_store(Earlier {
            half_way: if exactly_once { in_flight } else { 0 },
            in_flight,
        });
    } else {
        options.set_session_mode(SessionMode::Clean);
    }
    if let Some(will) = &settings.will {
        let delay = LastWillProperties {
            delay_interval: Some(WILL_DELAY),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        let will = LastWill::new(
            &will.topic,
            will.payload.to_vec(),
            QoS::AtLeastOnce,
            will.retain,
            settings.persistent.then_some(delay),
        );
        options.set_last_will(will);
    }
    let (client, events) = AsyncClient::builder(options).capacity(QUEUED).build();
    (
        Box::new(Listening {
            events,
            host,
            persistent: settings.persistent,
            answered: false,
        }),
        Box::new(Speaking { client }),
    )
}

struct Listening {
    events: EventLoop,
    host: String,
    persistent: bool,
    /// Whether the broker has let us in, on this connection.
    answered: bool,
}

#[async_trait]
impl Link for Listening {
    async fn next(&mut self) -> Result<Event, Lost> {
        match self.events.poll().await {
            Ok(Theirs::Incoming(Packet::ConnAck(answer))) => {
                self.answered = true;
                // From here on the library knows what is under way, and need not write it down.
                self.events.options.clear_session_store();
                if self.persistent {
                    self.events.options.set_session_mode(SessionMode::Persistent);
                }
                Ok(Event::Connected {
                    resumed: answer.session_present,
                    most: answer
                        .properties
                        .and_then(|properties| properties.max_packet_size),
                })
            }
            Ok(Theirs::Incoming(Packet::Publish(publish))) => Ok(Event::Message(Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retain: publish.retain,
            })),
            Ok(Theirs::Incoming(_) | Theirs::Outgoing(_) | Theirs::Auth(_)) => Ok(Event::Other),
            Err(ConnectionError::RequestsDone) => Err(Lost::Ended),
            Err(ConnectionError::ConnectionRefused(code)) => Err(Lost::Broken(refuses(&code))),
            Err(why) => Err(Lost::Broken(self.broken(&why))),
        }
    }
}

impl Listening {
    /// A broker from before MQTT 5 hangs up, or answers in its own way.
    fn broken(&mut self, why: &ConnectionError) -> String {
        let answered = std::mem::take(&mut self.answered);
        let ConnectionError::MqttState(state) = why else {
            return words(&self.host, why);
        };
        if let StateError::ServerDisconnect { reason_code, .. } = state {
            return if *reason_code == DisconnectReasonCode::SessionTakenOver {
                "another client of this name has come, which ends this session".into()
            } else {
                format!("the broker ends the session ({reason_code:?})")
            };
        }
        // It takes so few messages at once that the library does not end what an earlier run may have begun.
        if answered && matches!(state, StateError::Unsolicited(_)) {
            self.events.options.set_session_mode(SessionMode::Clean);
            return "the session that was left with the broker cannot be gone on with, and begins anew"
                .into();
        }
        if answered || known(&self.host, why).is_some() {
            return words(&self.host, why);
        }
        format!(
            "the broker has no answer in MQTT 5: {} (if it speaks MQTT 3.1.1 alone: add --protocol 3.1.1)",
            words(&self.host, why)
        )
    }
}

speaker!(rumqttc5);
earlier!(rumqttc5, earlier => clean_start: false, session_expiry_interval: Some(KEPT), outgoing_inflight_upper_limit: Some(earlier.in_flight));

fn undelivered(why: PublishNoticeError) -> Undelivered {
    let again = [
        PublishNoticeError::SessionReset,
        PublishNoticeError::Qos0NotFlushed,
        // The broker has not forgotten whose it was; the next one is another.
        PublishNoticeError::V5PubRec(PubRecReason::PacketIdentifierInUse),
    ];
    let no_right = [
        PublishNoticeError::V5PubAck(PubAckReason::NotAuthorized),
        PublishNoticeError::V5PubRec(PubRecReason::NotAuthorized),
    ];
    if again.contains(&why) {
        Undelivered::Again
    } else if no_right.contains(&why) {
        Undelivered::Refused(NO_RIGHT.into())
    } else {
        Undelivered::Refused(why.to_string())
    }
}

fn unheard(why: SubscribeNoticeError) -> Undelivered {
    if why == SubscribeNoticeError::SessionReset {
        return Undelivered::Again;
    }
    let no_right = SubscribeReasonCode::NotAuthorized;
    let refused = matches!(&why, SubscribeNoticeError::V5SubAckFailure(codes) if codes.contains(&no_right));
    Undelivered::Refused(if refused { NO_RIGHT.into() } else { why.to_string() })
}
