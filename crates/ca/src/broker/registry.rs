//! Adding brokers, letting their agents join, and taking brokers out of service.

use jiff::SignedDuration;
use muster_pki::name::San;
use zeroize::Zeroizing;

use super::{Broker, Program, check_name, refuse_client};
use crate::Ca;
use crate::device::{Device, DeviceName, State};
use crate::enrol::may::complete;
use crate::enrol::who::{Caller, Proof};
use crate::error::Error;
use crate::ports::{Change, Write};
use crate::revoke::check_note;

/// How long an agent may take to join.
const JOIN: SignedDuration = SignedDuration::from_hours(24);

/// A broker that is to be added.
#[derive(Debug, Clone)]
pub struct BrokerWish {
    /// Its name; also a DNS name of its certificate if it is one.
    pub name: DeviceName,
    /// What it is.
    pub program: Program,
    /// The profile of its certificate: one for servers or brokers.
    pub profile: String,
    /// More alternative names for its certificate.
    pub sans: Vec<San>,
}

impl Ca {
    /// Registers a broker and makes the enrolment token that its agent joins with. The secret is in the answer and nowhere
    /// else.
    pub async fn add_broker(
        &self,
        proof: Proof,
        wish: BrokerWish,
    ) -> Result<(Broker, Zeroizing<String>), Error> {
        let caller = self.administrator(proof).await?;
        let now = self.clock.now();
        check_name(&wish.name)?;
        let profile = self.settings.profiles.get(&wish.profile)?;
        refuse_client(&wish.name, profile.kind())?;
        if self.known_broker(&wish.name).await.is_ok() {
            return Err(Error::Conflict(format!(
                "there is a broker {} already; let its agent join again with: muster broker join {}",
                wish.name, wish.name
            )));
        }
        let mut writes = Vec::new();
        match self.store.device(&wish.name).await? {
            Some(device) => refuse_client(&wish.name, device.kind)?,
            None => writes.push(Write::Device {
                device: Device {
                    name: wish.name.clone(),
                    kind: profile.kind(),
                    state: State::New,
                    profile: profile.name().to_owned(),
                    note: String::new(),
                    created: now,
                    armed: false,
                    version: 1,
                },
                expected: None,
            }),
        }
        let sans = complete(wish.sans, true, &wish.name, profile)?;
        let broker = Broker {
            name: wish.name,
            program: wish.program,
            sans,
            created: now,
            retired: None,
            enforced: None,
            failed: None,
            version: 1,
        };
        writes.push(Write::Broker {
            broker: broker.clone(),
            expected: None,
        });
        let secret = self.join(&caller, &broker, &mut writes)?;
        let detail = serde_json::json!({ "program": broker.program.as_str() }).to_string();
        let act = caller.act(now, "broker.added", broker.name.to_string(), detail);
        self.store.commit(Change { writes, act }).await?;
        Ok((broker, secret))
    }

    /// Lets a broker's agent join again, with another key: what it had is replaced once it does.
    pub async fn join_broker(
        &self,
        proof: Proof,
        name: &DeviceName,
    ) -> Result<(Broker, Zeroizing<String>), Error> {
        let caller = self.administrator(proof).await?;
        let broker = self.serving_broker(name).await?;
        let mut writes = Vec::new();
        if let Some(agent) = self.store.device(&broker.agent()).await? {
            writes.push(Write::Device {
                device: Device {
                    state: State::New,
                    version: agent.version + 1,
                    ..agent.clone()
                },
                expected: Some(agent.version),
            });
        }
        let secret = self.join(&caller, &broker, &mut writes)?;
        let act = caller.act(
            self.clock.now(),
            "broker.invited",
            name.to_string(),
            String::new(),
        );
        self.store.commit(Change { writes, act }).await?;
        Ok((broker, secret))
    }

    /// Takes a broker out of service: its agent is heard no more, and no revocation waits for it. Its certificate stays what
    /// it is; to revoke that is another act.
    pub async fn retire_broker(&self, proof: Proof, name: &DeviceName, note: &str) -> Result<Broker, Error> {
        check_note(note)?;
        let caller = self.administrator(proof).await?;
        let broker = self.serving_broker(name).await?;
        let now = self.clock.now();
        let next = Broker {
            retired: Some(now),
            version: broker.version + 1,
            ..broker.clone()
        };
        let writes = vec![Write::Broker {
            broker: next.clone(),
            expected: Some(broker.version),
        }];
        let detail = crate::revoke::act_detail(None, note, &[]);
        let act = caller.act(now, "broker.retired", name.to_string(), detail);
        self.store.commit(Change { writes, act }).await?;
        Ok(next)
    }

    /// The token with which the broker's agent gets its certificate from the internal authority.
    fn join(
        &self,
        caller: &Caller,
        broker: &Broker,
        writes: &mut Vec<Write>,
    ) -> Result<Zeroizing<String>, Error> {
        let (token, secret) = self.agent_token(caller, broker.agent(), JOIN)?;
        writes.push(Write::Token(token));
        Ok(secret)
    }

    pub(crate) async fn known_broker(&self, name: &DeviceName) -> Result<Broker, Error> {
        let all = self.store.brokers().await?;
        let found = all.into_iter().find(|broker| broker.name == *name);
        found.ok_or_else(|| {
            Error::Missing(format!(
                "there is no broker {name}; see which there are with: muster broker list"
            ))
        })
    }

    pub(crate) async fn serving_broker(&self, name: &DeviceName) -> Result<Broker, Error> {
        let broker = self.known_broker(name).await?;
        match broker.retired {
            None => Ok(broker),
            Some(at) => Err(Error::Conflict(format!(
                "the broker {name} is out of service since {at}"
            ))),
        }
    }
}
