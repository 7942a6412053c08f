//! What one who is let in does to another: under its client id, under its user name, on its topics.

use std::time::Duration;

use super::{Attempts, Outcome, Trial, held, judged, name, not_tried, patiently, wrong};
use crate::Error;
use crate::beside::listener::{Seen, Session, Tls};
use crate::pair::Pair;

/// How long a message may take to who has subscribed, and how much longer to who should not have it.
const DELIVERY: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(1);

const USER: &str = "another's user name";
const TOPIC: &str = "foreign topic";

impl Attempts<'_> {
    /// Somebody else asks for the client id of a session that is open.
    pub(super) async fn client_id(&self) -> Result<Trial, Error> {
        const WHOM: &str = "another's client id";
        let (good, other) = self.papers.both()?;
        let Ok(mut first) = self.connect(&good, Tls::Best).await else {
            return Ok(not_tried(WHOM, "the first session did not begin"));
        };
        let wanted = name(Some(&good));
        let second = patiently(|| self.listener.connect(&other, &wanted, Tls::Best)).await;
        let trial = match &second {
            Err(seen) => judged(WHOM, seen.clone()),
            // Some brokers end the earlier session a moment later.
            Ok(_) if !first.ends(SOON).await && first.answers().await => {
                held(WHOM, "the client id was taken from the certificate")
            }
            Ok(_) => wrong(
                WHOM,
                "it took the session over: any device can throw any other off",
            ),
        };
        if let Ok(second) = second {
            second.leave().await;
        }
        first.leave().await;
        Ok(trial)
    }

    /// Somebody reads and writes what belongs to another; as itself, then with the other's user name.
    pub(super) async fn topics(&self) -> Result<Vec<Trial>, Error> {
        let (good, other) = self.papers.both()?;
        let topic = format!("fleet/{}/trial", name(Some(&other)));
        let Some(mut owner) = self.owner(&other, &topic).await else {
            let why = "here, not even its owner reads what it publishes below fleet/ and its name; try two devices of yours";
            return Ok(vec![not_tried(TOPIC, why), not_tried(USER, why)]);
        };
        let reads = reads(self.connect(&good, Tls::Best).await, &topic, &mut owner).await;
        let writes = writes(self.connect(&good, Tls::Best).await, &topic, &mut owner).await;
        let foreign = match (reads, writes) {
            (true, true) => wrong(
                TOPIC,
                format!("it reads {topic} and writes to it, which is another's"),
            ),
            (true, false) => wrong(TOPIC, format!("it reads {topic}, which is another's")),
            (false, true) => wrong(TOPIC, format!("it writes to {topic}, which is another's")),
            (false, false) => held(TOPIC, "it neither reads nor writes another's topic"),
        };
        let user = if foreign.outcome == Outcome::Wrong {
            not_tried(USER, "what is another's is open to everybody")
        } else {
            let config = self.listener.client(Some(&good), Tls::Best, false)?;
            let (own, claimed) = (name(Some(&good)), name(Some(&other)));
            let claiming = patiently(|| self.listener.connect_claiming(&config, &own, &claimed)).await;
            self.user(claiming, &topic, &mut owner).await
        };
        owner.leave().await;
        Ok(vec![foreign, user])
    }

    /// Who publishes to its own topic and reads it; none where that does not work.
    async fn owner(&self, own: &Pair, topic: &str) -> Option<Session> {
        let mut session = self.connect(own, Tls::Best).await.ok()?;
        session.subscribe(topic).await.ok()?;
        session.publish(topic).await.ok()?;
        session.receives(DELIVERY).await.then_some(session)
    }

    async fn user(&self, claiming: Result<Session, Seen>, topic: &str, owner: &mut Session) -> Trial {
        if let Err(seen) = claiming {
            return judged(USER, seen);
        }
        if reads(claiming, topic, owner).await {
            wrong(
                USER,
                "it is believed: who is let in may be anybody, whatever the certificate says",
            )
        } else {
            held(USER, "the user name was taken from the certificate")
        }
    }

    /// The broker tells who is connected, from where, and how much they send.
    pub(super) async fn about_the_broker(&self) -> Result<Trial, Error> {
        const WHOM: &str = "the broker's own topics";
        let (good, _) = self.papers.both()?;
        let Ok(mut session) = self.connect(&good, Tls::Best).await else {
            return Ok(not_tried(WHOM, "the session did not begin"));
        };
        let told = session.subscribe("$SYS/#").await.is_ok() && session.receives(SOON).await;
        session.leave().await;
        Ok(if told {
            wrong(
                WHOM,
                "it reads $SYS, what the broker says of itself and of others",
            )
        } else {
            held(WHOM, "it reads nothing of $SYS")
        })
    }
}

/// Whether somebody gets what the owner publishes.
async fn reads(stranger: Result<Session, Seen>, topic: &str, owner: &mut Session) -> bool {
    let Ok(mut stranger) = stranger else {
        return false;
    };
    let reads = stranger.subscribe(topic).await.is_ok()
        && owner.publish(topic).await.is_ok()
        && owner.receives(DELIVERY).await
        && stranger.receives(SOON).await;
    stranger.leave().await;
    reads
}

/// Whether the owner gets what somebody publishes.
async fn writes(stranger: Result<Session, Seen>, topic: &str, owner: &mut Session) -> bool {
    let Ok(mut stranger) = stranger else {
        return false;
    };
    let writes = stranger.publish(topic).await.is_ok() && owner.receives(SOON).await;
    stranger.leave().await;
    writes
}
