//! MQTT 3.1.1.

use async_trait::async_trait;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{LastWill, Packet};
use rumqttc::{
    AsyncClient, ConnectionError, Event as Theirs, EventLoop, MqttOptions, PublishNoticeError, SessionMode,
    SubscribeNoticeError,
};

use super::earlier::earlier;
use super::session::Settings;
use super::speaker::speaker;
use super::{
    Delivered, Event, LONGEST_PACKET, Link, Lost, MAX_PACKET, Message, NO_RIGHT, QUEUED, Qos, Speaker,
    Undelivered, refuses, tls, words,
};

/// Messages that are sent and not yet taken over: Mosquitto, as it comes, acknowledges and drops what is more with QoS 2, and MQTT 3.1.1 has no
/// word for how much a broker takes.
const IN_FLIGHT: u16 = 20;

/// Both halves of a client; nothing is connected yet.
pub(super) fn open(settings: &Settings) -> (Box<dyn Link>, Box<dyn Speaker>) {
    let place = settings.place.clone();
    let host = place.host.clone();
    let mut options = MqttOptions::new(place.name.clone(), (host.clone(), place.port));
    options.set_keep_alive(settings.keep_alive);
    options.set_max_packet_size(LONGEST_PACKET, MAX_PACKET);
    options.set_socket_connector(move |_, _| {
        let place = place.clone();
        async move { tls::connect(&place).await }
    });
    options.set_inflight(IN_FLIGHT);
    if settings.persistent {
        let exactly_once = settings.qos == Qos::ExactlyOnce;
        options.set_session_mode(SessionMode::Persistent);
        options.set_session_store(Earlier {
            half_way: if exactly_once { IN_FLIGHT } else { 0 },
            in_flight: IN_FLIGHT,
        });
    } else {
        options.set_session_mode(SessionMode::Clean);
    }
    if let Some(will) = &settings.will {
        let will = LastWill::new(&will.topic, will.payload.to_vec(), QoS::AtLeastOnce, will.retain);
        options.set_last_will(will);
    }
    let (client, mut events) = AsyncClient::builder(options).capacity(QUEUED).build();
    events
        .network_options
        .set_connection_timeout(tls::PATIENCE.as_secs());
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
            Ok(Theirs::Incoming(Packet::ConnAck(answer))) => {
                // From here on the library knows what is under way, and need not write it down.
                self.events.mqtt_options.clear_session_store();
                Ok(Event::Connected {
                    resumed: answer.session_present,
                    most: None,
                })
            }
            Ok(Theirs::Incoming(Packet::Publish(publish))) => Ok(Event::Message(Message {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retain: publish.retain,
            })),
            Ok(Theirs::Incoming(_) | Theirs::Outgoing(_)) => Ok(Event::Other),
            Err(ConnectionError::RequestsDone) => Err(Lost::Ended),
            Err(ConnectionError::ConnectionRefused(code)) => Err(Lost::Broken(refuses(&code))),
            Err(why) => Err(Lost::Broken(words(&self.host, &why))),
        }
    }
}

speaker!(rumqttc);
earlier!(rumqttc, earlier => clean_session: false, max_inflight: earlier.in_flight);

fn undelivered(why: PublishNoticeError) -> Undelivered {
    let session_gone = [
        PublishNoticeError::SessionReset,
        PublishNoticeError::Qos0NotFlushed,
    ];
    if session_gone.contains(&why) {
        Undelivered::Again
    } else {
        Undelivered::Refused(why.to_string())
    }
}

fn unheard(why: SubscribeNoticeError) -> Undelivered {
    if why == SubscribeNoticeError::SessionReset {
        return Undelivered::Again;
    }
    // MQTT 3.1.1 has no word for why.
    let refused = matches!(why, SubscribeNoticeError::V4SubAckFailure(_));
    Undelivered::Refused(if refused { NO_RIGHT.into() } else { why.to_string() })
}
