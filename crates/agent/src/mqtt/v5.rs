//! MQTT 5.

use async_trait::async_trait;
use rumqttc5::mqttbytes::QoS;
use rumqttc5::mqttbytes::v5::{LastWill, LastWillProperties, Packet};
use rumqttc5::{
    AsyncClient, ConnectionError, Event as Theirs, EventLoop, MqttOptions, PublishNoticeError,
    PublishOptions, SessionMode,
};

use super::session::Settings;
use super::{Delivered, Event, Link, Lost, MAX_PACKET, Message, Qos, Speaker, Undelivered, tls, words};

/// What waits while there is no connection.
const QUEUED: usize = 10_000;
/// For how long the broker keeps a session, in seconds.
const KEPT: u32 = 24 * 3600;
/// A session that is taken up again within so many seconds has not died, so its will is not told (MQTT 5.0, section 3.1.3.2.2).
const WILL_DELAY: u32 = 5;

/// Both halves of a client; nothing is connected yet.
pub(super) fn open(settings: &Settings) -> (Box<dyn Link>, Box<dyn Speaker>) {
    let place = settings.place.clone();
    let host = place.host.clone();
    let mut options = MqttOptions::new(place.name.clone(), (host.clone(), place.port));
    options.set_keep_alive(settings.keep_alive);
    options.set_max_packet_size(u32::try_from(MAX_PACKET).ok());
    options.set_socket_connector(move |_, _| {
        let place = place.clone();
        async move { tls::connect(&place).await }
    });
    // What another run of this program left with the broker cannot be gone on with: who knows which packets it had sent?
    options.set_session_mode(SessionMode::Clean);
    options.set_session_expiry_interval(settings.persistent.then_some(KEPT));
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
        }),
        Box::new(Speaking { client }),
    )
}

struct Listening {
    events: EventLoop,
    host: String,
    persistent: bool,
}

#[async_trait]
impl Link for Listening {
    async fn next(&mut self) -> Result<Event, Lost> {
        match self.events.poll().await {
            Ok(Theirs::Incoming(Packet::ConnAck(answer))) => {
                if self.persistent {
                    self.events.options.set_session_mode(SessionMode::Persistent);
                }
                Ok(Event::Connected {
                    resumed: answer.session_present,
                })
            }
            Ok(Theirs::Incoming(Packet::Publish(publish))) => Ok(Event::Message(Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retain: publish.retain,
            })),
            Ok(Theirs::Incoming(_) | Theirs::Outgoing(_) | Theirs::Auth(_)) => Ok(Event::Other),
            Err(ConnectionError::RequestsDone) => Err(Lost::Ended),
            Err(ConnectionError::ConnectionRefused(code)) => {
                Err(Lost::Broken(format!("the broker refuses the session ({code:?})")))
            }
            Err(why) => Err(Lost::Broken(words(&self.host, &why))),
        }
    }
}

struct Speaking {
    client: AsyncClient,
}

#[async_trait]
impl Speaker for Speaking {
    async fn publish(&self, message: Message, qos: Qos) -> Result<Delivered, String> {
        let options = PublishOptions::new(theirs(qos)).retain(message.retain);
        let notice = self
            .client
            .publish_tracked(message.topic, message.payload, options);
        let notice = notice.await.map_err(|why| why.to_string())?;
        Ok(Box::pin(async move {
            notice.wait_completion_async().await.map_err(undelivered)
        }))
    }

    fn subscribe(&self, filter: &str, qos: Qos) -> Result<(), String> {
        let asked = self.client.try_subscribe(filter.to_owned(), theirs(qos));
        asked.map_err(|why| why.to_string())
    }

    fn disconnect(&self) {
        // Whoever cannot be told has no connection to end.
        let _ = self.client.try_disconnect();
    }
}

fn theirs(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn undelivered(why: PublishNoticeError) -> Undelivered {
    let session_gone = matches!(
        why,
        PublishNoticeError::SessionReset
            | PublishNoticeError::Qos0NotFlushed
            | PublishNoticeError::BrokerOnlySessionResume
    );
    if session_gone {
        Undelivered::Again
    } else {
        Undelivered::Refused(why.to_string())
    }
}
