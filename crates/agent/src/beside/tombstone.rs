//! Ending sessions by taking them over: MQTT lets a client id have one session, and the newest wins (MQTT 3.1.1, 3.1.4-2).
//!
//! The session of a device that is shut out is held for longer than the broker lets a client wait between its handshake and
//! its CONNECT: whoever had got through the handshake before takes the session over then, which is noticed, and is thrown off
//! at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::beside::listener::{Listener, Seen, Session, Tls};
use crate::beside::local::LocalCa;
use crate::{Clock, Error};

/// The most sessions that are held: the oldest are let go first.
pub const MOST: usize = 256;
/// How many are taken over at once.
const AT_ONCE: usize = 16;
/// How long it is tried to take a session over, and how long between two tries.
const BOUND: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Ends sessions and holds them.
#[derive(Debug, Clone)]
pub struct Keeper {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Take {
        device: String,
        hold: Option<Duration>,
        done: oneshot::Sender<Result<(), String>>,
    },
    LetGo {
        device: String,
        done: oneshot::Sender<()>,
    },
}

impl Keeper {
    /// Starts it. It ends, and lets go of everything, with its last handle.
    pub fn start(listener: Listener, ca: Arc<LocalCa>, clock: Clock) -> Self {
        let (orders, received) = mpsc::channel(64);
        tokio::spawn(keep(received, Arc::new(Taker { listener, ca, clock })));
        Self { orders }
    }

    /// Ends a device's session and holds it for as long. Only for devices that are shut out.
    pub async fn shut_out(&self, device: &str, hold: Duration) -> Result<(), Error> {
        self.take(device, Some(hold)).await
    }

    /// Ends a device's session once.
    pub async fn kick(&self, device: &str) -> Result<(), Error> {
        self.take(device, None).await
    }

    /// Lets go of a device's session. After this, nothing is in the device's way.
    pub async fn let_go(&self, device: &str) {
        let (done, gone) = oneshot::channel();
        let device = device.to_owned();
        if self.orders.send(Order::LetGo { device, done }).await.is_ok() {
            let _ = gone.await;
        }
    }

    async fn take(&self, device: &str, hold: Option<Duration>) -> Result<(), Error> {
        let (done, taken) = oneshot::channel();
        let order = Order::Take {
            device: device.to_owned(),
            hold,
            done,
        };
        let ended = || Error::new("the agent is stopping");
        self.orders.send(order).await.map_err(|_| ended())?;
        let taken = taken.await.map_err(|_| ended())?;
        taken.map_err(|why| Error::new(format!("the session of {device} could not be ended: {why}")))
    }
}

/// What is held: whose session, since which order, and the task that holds it.
type Held = HashMap<String, (u64, AbortHandle)>;

async fn keep(mut orders: mpsc::Receiver<Order>, taker: Arc<Taker>) {
    let mut held = Held::new();
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut count = 0;
    while let Some(order) = orders.recv().await {
        held.retain(|_, (_, task)| !task.is_finished());
        match order {
            Order::Take { device, hold, done } => {
                count += 1;
                release(&mut held, &device);
                make_room(&mut held);
                let (taker, at_once, name) = (taker.clone(), at_once.clone(), device.clone());
                let task = tokio::spawn(async move {
                    let permit = at_once.acquire().await;
                    let taken = taker.take(&name).await;
                    drop(permit);
                    let session = match taken {
                        Ok(session) => {
                            let _ = done.send(Ok(()));
                            session
                        }
                        Err(why) => return drop(done.send(Err(why))),
                    };
                    match hold {
                        Some(hold) => taker.hold(&name, session, Instant::now() + hold).await,
                        None => session.leave().await,
                    }
                });
                if hold.is_some() {
                    held.insert(device, (count, task.abort_handle()));
                }
            }
            Order::LetGo { device, done } => {
                release(&mut held, &device);
                let _ = done.send(());
            }
        }
    }
    held.into_values().for_each(|(_, task)| task.abort());
}

fn release(held: &mut Held, device: &str) {
    if let Some((_, task)) = held.remove(device) {
        task.abort();
    }
}

fn make_room(held: &mut Held) {
    while held.len() >= MOST {
        let oldest = held.iter().min_by_key(|(_, (count, _))| *count);
        let Some(oldest) = oldest.map(|(device, _)| device.clone()) else {
            return;
        };
        release(held, &oldest);
    }
}

struct Taker {
    listener: Listener,
    ca: Arc<LocalCa>,
    clock: Clock,
}

impl Taker {
    async fn take(&self, device: &str) -> Result<Session, String> {
        let end = Instant::now() + BOUND;
        loop {
            let why = match self.once(device).await {
                Ok(session) => return Ok(session),
                Err(why) => why,
            };
            if Instant::now() >= end {
                return Err(why.to_string());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn once(&self, device: &str) -> Result<Session, Seen> {
        let made = self.ca.tombstone(device, (self.clock)());
        let tombstone = made.map_err(|why| Seen::Strange(why.0))?;
        self.listener.connect(&tombstone, device, Tls::Best).await
    }

    async fn hold(&self, device: &str, mut session: Session, end: Instant) {
        loop {
            if tokio::time::timeout_at(end, session.hold()).await.is_err() {
                return session.leave().await;
            }
            // Somebody has taken it over, or the broker is gone.
            session = loop {
                match self.once(device).await {
                    Ok(session) => {
                        tracing::warn!(
                            device,
                            "somebody came back in the name of a device that is shut out; thrown off"
                        );
                        break session;
                    }
                    Err(_) if Instant::now() >= end => return,
                    Err(_) => tokio::time::sleep(PAUSE * 10).await,
                }
            };
        }
    }
}
