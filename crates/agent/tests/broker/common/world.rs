//! A fleet, a broker and an agent that has brought a first epoch into force.

use muster_agent::beside::enforce::Enforcer;
use muster_api::Client;
use muster_api::agent::Outcome;

use super::{Fleet, Hub, Kind};

/// A broker that enforces a first epoch.
pub struct World {
    pub fleet: Fleet,
    pub hub: Hub,
    pub agent: Enforcer,
    pub client: Client,
}

impl World {
    pub async fn new(kind: Kind) -> Option<Self> {
        let mut fleet = Fleet::new();
        let mut hub = Hub::new(&mut fleet, kind)?;
        let (mut agent, client) = (hub.enforcer().await, fleet.client());
        agent.take(fleet.epoch(&[])).await.unwrap();
        let early = agent.bring(&client, false).await;
        assert!(!early.proven && early.why.contains("does not run"), "{early:?}");
        hub.start_broker().await;
        let mut world = Self {
            fleet,
            hub,
            agent,
            client,
        };
        world.proves().await;
        Some(world)
    }

    pub async fn proves(&mut self) -> Outcome {
        loop {
            let outcome = self.agent.bring(&self.client, false).await;
            if !outcome.why.contains("is starting") && !outcome.why.contains("does not run") {
                assert!(outcome.proven, "{outcome:?}\n{}", self.hub.log());
                return outcome;
            }
        }
    }

    /// Brings a new epoch into force.
    pub async fn enforce(&mut self, shut_out: &[&str]) {
        self.agent.take(self.fleet.epoch(shut_out)).await.unwrap();
        self.proves().await;
    }
}
