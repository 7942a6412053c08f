//! MQTT 3.1.1.

use async_trait::async_trait;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{LastWill, Packet};
use rumqttc::{
    AsyncClient, ConnectionError, Event as Theirs, EventLoop, MqttOptions, PublishNoticeError,
    PublishOptions, SessionMode,
};

use super::session::Settings;
use super::{Delivered, Event, Link, Lost, MAX_PACKET, Message, Qos, Speaker, Undelivered, tls, words};

/// What waits while there is no connection.
const QUEUED: usize = 10_000;

/// Both halves of a client; nothing is connected yet.
pub(super) fn open(settings: &Settings) -> (Box<dyn Link>, Box<dyn Speaker>) {
    let place = settings.place.clone();
    let host = place.host.clone();
    let mut options = MqttOptions::new(place.name.clone(), (host.clone(), place.port));
    options.set_keep_alive(settings.keep_alive);
    options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
    options.set_socket_connector(move |_, _| {
        let place = place.clone();
        async move { tls::connect(&place).await }
    });
    options.set_session_mode(if settings.persistent {
        SessionMode::Persistent
    } else {
        SessionMode::Clean
    });
    if let Some(will) = &settings.will {
        let will = LastWill::new(&will.topic, will.payload.to_vec(), QoS::AtLeastOnce, will.retain);
        options.set_last_will(will);
    }
    let (client, events) = AsyncClient::builder(options).capacity(QUEUED).build();
    (
        Box::new(Listening { events, host }),
        Box::new(Speaking { client }),
    )
}

struct Listening {
    events: EventLoop,
    host: String,
}

#[async_trait]
impl Link for Listening {
    async fn next(&mut self) -> Result<Event, Lost> {
        match self.events.poll().await {
            Ok(Theirs::Incoming(Packet::ConnAck(answer))) => Ok(Event::Connected {
                resumed: answer.session_present,
            }),
            Ok(Theirs::Incoming(Packet::Publish(publish))) => Ok(Event::Message(Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retain: publish.retain,
            })),
            Ok(Theirs::Incoming(_) | Theirs::Outgoing(_)) => Ok(Event::Other),
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
        PublishNoticeError::SessionReset | PublishNoticeError::Qos0NotFlushed
    );
    if session_gone {
        Undelivered::Again
    } else {
        Undelivered::Refused(why.to_string())
    }
}
