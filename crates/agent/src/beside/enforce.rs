//! Bringing what is to be enforced into force: check, write, signal, prove, drop. Whatever is not proved is taken back.
//!
//! Each step may be the last before a power cut. What is to be done is on the disk before the broker's files change, and whoever
//! starts again does all of it again: every step does no harm a second time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use muster_api::Client;
use muster_api::agent::{CrlNeed, Epoch, Outcome, Step};
use muster_pki::cert::Certificate;
use muster_pki::crl::Crl;
use muster_pki::key::PrivateKey;
use zeroize::Zeroizing;

use crate::beside::broker::{Broker, Ended, Orders};
use crate::beside::check::Lists;
use crate::beside::epoch::Refused;
use crate::beside::files::{Files, set_of};
use crate::beside::kept::{Held, Kept, Memory};
use crate::beside::listener::Listener;
use crate::beside::local::{LocalCa, OF_THE_FLEET};
use crate::beside::probe::{BOUND, Canary, Proof, Unproven};
use crate::beside::tombstone::{self, Keeper};
use crate::pair::Pair;
use crate::{Clock, Error};

/// How many sessions are ended before the next are begun with.
const AT_ONCE: usize = 64;
/// A good canary with less to live is replaced: the CA may be away for a while. It lives for 15 minutes.
const SPARE: SignedDuration = SignedDuration::from_mins(5);
/// A canary that ends sooner than this is not tried any more: the broker's clock may be ahead.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// What an enforcer works with.
pub struct Parts {
    /// The adapter.
    pub broker: Box<dyn Broker>,
    /// The broker's directory.
    pub files: Files,
    /// Where the broker listens.
    pub listener: Listener,
    /// The agent's own CA.
    pub local: Arc<LocalCa>,
    /// Ends sessions.
    pub keeper: Keeper,
    /// Tells the time.
    pub clock: Clock,
}

/// Brings epochs into force, and watches that they stay there.
pub struct Enforcer {
    parts: Parts,
    memory: Memory,
    kept: Kept,
    /// The lists of the newest set.
    lists: Option<Lists>,
    /// The broker's certificate, chain and key.
    server: Arc<Pair>,
    good: Option<Pair>,
    shortfalls: Vec<String>,
    /// Devices whose sessions this process holds.
    holding: BTreeSet<String>,
}

/// Whether the CA has a newer list than one of these.
pub(crate) async fn has_newer(client: &Client, lists: &[CrlNeed]) -> bool {
    for list in lists {
        match client.bytes(&crl_path(&list.name)).await {
            Ok(der) => {
                let number = Crl::from_der(&der).ok().and_then(|crl| crl.number());
                if number > Some(list.number) {
                    return true;
                }
            }
            Err(why) => tracing::info!("no other CRL {}: {why}", list.name),
        }
    }
    false
}

/// Where the CA has a list.
fn crl_path(name: &str) -> String {
    format!("/agent/crl/{name}")
}

/// Why an epoch is not in force.
enum Failed {
    /// Nothing was changed, or the broker is not there to take it up.
    Before(String),
    /// The broker did not do as it should.
    After(Unproven),
}

impl Enforcer {
    /// With what was remembered in `dir`.
    pub fn open(parts: Parts, dir: &std::path::Path, server: Arc<Pair>) -> Result<Self, Error> {
        let memory = Memory::new(dir);
        let kept = memory.load()?;
        let enforcer = Self {
            parts,
            memory,
            kept,
            lists: None,
            server,
            good: None,
            shortfalls: Vec::new(),
            holding: BTreeSet::new(),
        };
        enforcer.pin()?;
        Ok(enforcer)
    }

    /// The number of what is known; 0: nothing is.
    pub fn number(&self) -> u64 {
        self.kept.whole.number
    }

    /// The sequence of what is known.
    pub fn sequence(&self) -> u64 {
        self.kept.whole.sequence
    }

    /// The number and the sequence of the epoch that was last proved.
    pub fn enforced(&self) -> (u64, u64) {
        (self.kept.enforced, self.kept.enforced_sequence)
    }

    /// The lists of the newest set.
    pub fn lists(&self) -> Option<&Lists> {
        self.lists.as_ref()
    }

    /// What the broker cannot do quite as it was told.
    pub fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    /// The adapter.
    pub fn broker(&self) -> &dyn Broker {
        &*self.parts.broker
    }

    /// A good canary of the fleet's CA.
    pub fn set_good(&mut self, good: Option<Pair>) {
        self.good = good;
    }

    /// Whether there is a good canary that lives for a while yet.
    pub fn has_good(&self, now: Timestamp) -> bool {
        let left = |good: &Pair| good.leaf().not_after().duration_since(now);
        self.good.as_ref().is_some_and(|good| left(good) > SPARE)
    }

    /// Another certificate for the broker.
    pub fn set_server(&mut self, server: Arc<Pair>) {
        self.server = server;
    }

    /// Merges an epoch into what is to be enforced. Whoever is let in is let in the way at once.
    pub async fn take(&mut self, epoch: Epoch) -> Result<(), Refused> {
        let sessions = self.kept.whole.take(epoch)?;
        let since = (self.parts.clock)().as_millisecond();
        for device in &sessions.let_in {
            self.parts.keeper.let_go(device).await;
            self.kept.held.remove(device);
            self.kept.again.forget(device);
            self.holding.remove(device);
        }
        let held = Held { since, ended: false };
        self.kept
            .held
            .extend(sessions.shut_out.into_iter().map(|device| (device, held)));
        let kicked = sessions.kicked.into_iter();
        let whole = &self.kept.whole;
        self.kept
            .kicks
            .extend(kicked.filter(|device| !whole.shut_out.contains(device)));
        Ok(())
    }

    /// Brings what is known into force. `anew`: with the newest lists that the CA has, even if older ones would do.
    pub async fn bring(&mut self, client: &Client, anew: bool) -> Outcome {
        let mut steps = Steps::begin();
        let tried = self.try_to(client, anew, &mut steps).await;
        let why = match tried {
            Ok(()) => String::new(),
            Err(Failed::Before(why)) => why,
            Err(Failed::After(why)) => self.go_back(why).await,
        };
        Outcome {
            number: self.kept.whole.number,
            sequence: self.kept.whole.sequence,
            proven: why.is_empty(),
            why,
            steps: steps.done,
        }
    }

    async fn try_to(&mut self, client: &Client, anew: bool, steps: &mut Steps) -> Result<(), Failed> {
        let before = |why: Error| Failed::Before(why.0);
        let now = (self.parts.clock)();
        // 1. Check: everything that will lie where the broker reads it.
        let lists = self.sound_lists(client, anew, now).await.map_err(before)?;
        self.forget_held(now);
        let set = (self.kept.set + 1).max(u64::try_from(now.as_millisecond()).unwrap_or(0));
        let orders = self.orders(&lists, set, now).map_err(before)?;
        let rendered = self.parts.broker.render(&orders).map_err(before)?;
        steps.end("check");
        // 2. Write: first what is to be done, then the broker's files.
        self.kept.set = set;
        self.memory.save(&self.kept).map_err(before)?;
        let files = &self.parts.files;
        files
            .install(&rendered.files, &self.kept.proven)
            .map_err(before)?;
        if let Err(why) = self.parts.broker.can_read() {
            files.roll_back(&self.kept.proven).map_err(before)?;
            return Err(before(why));
        }
        self.lists = Some(lists);
        self.shortfalls = rendered.shortfalls;
        steps.end("write");
        // 3. Signal.
        self.pin().map_err(before)?;
        self.parts.broker.signal().await.map_err(before)?;
        steps.end("signal");
        // 4. Prove.
        let proof = self.proof(set, now).map_err(before)?;
        proof
            .see(&self.parts.listener, BOUND)
            .await
            .map_err(Failed::After)?;
        self.kept.proven_set = set;
        self.kept.proven = set_of(&rendered.files);
        self.kept.proven_server = self.may_show().map_err(before)?;
        self.kept.numbers = self.lists.as_ref().map(Lists::numbers).unwrap_or_default();
        steps.end("prove");
        // 5. Drop.
        self.drop_sessions().await.map_err(before)?;
        self.kept.enforced = self.kept.whole.number;
        self.kept.enforced_sequence = self.kept.whole.sequence;
        steps.end("drop");
        self.memory.save(&self.kept).map_err(before)
    }

    /// A look at whether the proved set is still in force.
    pub async fn watch(&self) -> Result<(), Unproven> {
        let now = (self.parts.clock)();
        let shut = |why: Error| Unproven::Shut(why.0);
        if !self.parts.files.are(&self.kept.proven).map_err(shut)? {
            return Err(Unproven::Shut(
                "somebody changed the files that the agent keeps for the broker".into(),
            ));
        }
        let proof = self.standing_proof(self.kept.proven_set, now).map_err(shut)?;
        proof.see(&self.parts.listener, std::time::Duration::ZERO).await
    }

    /// Goes back to the set that was proved before, and says what came of it.
    async fn go_back(&mut self, why: Unproven) -> String {
        let now = (self.parts.clock)();
        let words = why.words();
        if self.kept.proven.is_empty() {
            return format!("{words}; nothing was proved before, so there is nothing to go back to");
        }
        let stale = match self.standing_proof(self.kept.proven_set, now) {
            Ok(proof) => proof
                .see(&self.parts.listener, std::time::Duration::ZERO)
                .await
                .is_ok(),
            Err(_) => false,
        };
        let words = match why {
            // Both sets refuse the older canary: with the newer one let in, it is the older set that is in force.
            Unproven::Open(_) if stale => {
                format!("{words}: it has not taken up the new files and enforces the ones before")
            }
            Unproven::Open(_) => format!("FAIL-OPEN: {words}"),
            Unproven::Shut(_) | Unproven::Down(_) => words.to_owned(),
        };
        match self.restore(now).await {
            Ok(()) => format!("{words}; went back to what was proved before, and that holds"),
            Err(why) => format!("{words}; and going back did not help: {why}"),
        }
    }

    async fn restore(&mut self, now: Timestamp) -> Result<(), Error> {
        self.parts.files.roll_back(&self.kept.proven)?;
        self.parts.broker.signal().await?;
        let proof = self.standing_proof(self.kept.proven_set, now)?;
        let proved = proof.see(&self.parts.listener, BOUND).await;
        proved.map_err(|why| Error::new(why.words()))
    }

    /// A sound list for every anchor: those at hand, or fetched where they are not new enough.
    async fn sound_lists(&self, client: &Client, anew: bool, now: Timestamp) -> Result<Lists, Error> {
        let whole = &self.kept.whole;
        let mut found = BTreeMap::new();
        for need in &whole.crls {
            let at_hand = self.memory.crl(&need.name)?;
            let sound = at_hand
                .as_deref()
                .is_some_and(|der| will_do(der, need.number, now));
            let der = match at_hand {
                Some(der) if sound && !anew => der,
                Some(der) if sound => client.bytes(&crl_path(&need.name)).await.unwrap_or(der),
                _ => client.bytes(&crl_path(&need.name)).await?,
            };
            found.insert(need.name.clone(), der);
        }
        let lists = Lists::check(&whole.anchors, &whole.crls, &found, &self.kept.numbers, now)?;
        lists.check_canaries(&whole.canaries)?;
        for (name, der) in &found {
            self.memory.keep_crl(name, der)?;
        }
        Ok(lists)
    }

    fn orders(&self, lists: &Lists, set: u64, now: Timestamp) -> Result<Orders, Error> {
        let (local, whole) = (&self.parts.local, &self.kept.whole);
        let mut sets = vec![set];
        sets.extend((self.kept.proven_set > 0).then_some(self.kept.proven_set));
        let mut crls = lists.crls.clone();
        crls.push(local.crl(&sets, now)?);
        Ok(Orders {
            trust: lists.trust_pem()? + &local.anchor_pem()?,
            crls,
            server: self.server.to_pem()?,
            default: whole.default.clone(),
            devices: whole.devices.clone(),
            shut_out: whole.shut_out.clone(),
            denied: self.denied(),
        })
    }

    /// Canaries, and the devices whose sessions are held.
    fn denied(&self) -> BTreeSet<String> {
        let mut newest: Vec<_> = self.kept.held.iter().collect();
        newest.sort_by_key(|(_, held)| std::cmp::Reverse(held.since));
        let held = newest.into_iter().take(tombstone::MOST);
        let mut denied: BTreeSet<String> = held.map(|(device, _)| device.clone()).collect();
        denied.insert(self.parts.local.canary_name());
        denied.extend(OF_THE_FLEET.map(str::to_owned));
        denied
    }

    /// The proof of a new set: the canaries of the epoch, if they still live, and all of [`Self::standing_proof`].
    fn proof(&self, set: u64, now: Timestamp) -> Result<Proof, Error> {
        let mut proof = self.standing_proof(set, now)?;
        for canary in &self.kept.whole.canaries {
            let chain = Certificate::all_from_pem(&canary.certificate)?;
            if chain.is_empty() {
                continue;
            }
            let pair = Pair::new(chain, PrivateKey::from_pem(&Zeroizing::new(canary.key.clone()))?)?;
            if !lives(&pair, now) {
                continue;
            }
            let trusted = self.lists.as_ref().is_some_and(|lists| lists.trusts(pair.leaf()));
            let canary = Canary {
                what: format!("the canary of {}", canary.issuer),
                pair,
            };
            if trusted {
                proof.revoked.push(canary);
            } else {
                proof.foreign.push(canary);
            }
        }
        Ok(proof)
    }

    /// What can be tried at any time, and without the CA: the agent's own canary of this set, and a good one.
    fn standing_proof(&self, set: u64, now: Timestamp) -> Result<Proof, Error> {
        let local = &self.parts.local;
        let own = |what: &str, pair| Canary {
            what: what.into(),
            pair,
        };
        let mut good = Vec::new();
        let usable = |good: &&Pair| {
            let trusted = |lists: &Lists| lists.trusts(good.leaf()) && !lists.revokes(good.leaf());
            lives(good, now) && self.lists.as_ref().is_none_or(trusted)
        };
        if let Some(pair) = self.good.as_ref().filter(usable) {
            let key = PrivateKey::from_pkcs8(Zeroizing::new(pair.key().pkcs8().to_vec()))?;
            good.push(own("the good canary", Pair::new(pair.chain().to_vec(), key)?));
        } else {
            let pair = local.tombstone(&local.canary_name(), now)?;
            good.push(own("the agent's own good canary", pair));
        }
        Ok(Proof {
            revoked: vec![own("the agent's own canary", local.canary(set, now)?)],
            foreign: Vec::new(),
            good,
            refusal: self.parts.broker.refusal(),
        })
    }

    /// The certificate of this set, and the one before: a broker that reads its files now and then shows it for a while yet.
    fn may_show(&self) -> Result<String, Error> {
        let leaf = self.server.leaf();
        let mut shown = leaf.to_pem()?;
        let known = Certificate::all_from_pem(&self.kept.proven_server)?;
        if let Some(other) = known.iter().find(|one| one.der() != leaf.der()) {
            shown += &other.to_pem()?;
        }
        Ok(shown)
    }

    /// The broker may show its present certificate, and those that were proved last.
    fn pin(&self) -> Result<(), Error> {
        let proven = Certificate::all_from_pem(&self.kept.proven_server)?;
        let mut pins = vec![self.server.leaf()];
        pins.extend(&proven);
        self.parts.listener.pin(&pins);
        Ok(())
    }

    /// Ends the sessions of those who were shut out and of those who are kicked.
    async fn drop_sessions(&mut self) -> Result<(), Error> {
        let hold = self.parts.broker.half_open();
        let held = self.kept.held.keys();
        let out: Vec<String> = held
            .filter(|device| !self.holding.contains(*device))
            .cloned()
            .collect();
        let kicks: Vec<String> = self.kept.kicks.iter().cloned().collect();
        let all = out.into_iter().map(|device| (device, true));
        let all: Vec<_> = all
            .chain(kicks.into_iter().map(|device| (device, false)))
            .collect();
        let pauses = self.parts.broker.once_more();
        for some in all.chunks(AT_ONCE) {
            let names: Vec<String> = some.iter().map(|(device, _)| device.clone()).collect();
            if self.parts.broker.shut_out(&names).await? == Ended::TakeOver {
                let mut tasks = tokio::task::JoinSet::new();
                for (device, shut_out) in some.iter().cloned() {
                    let keeper = self.parts.keeper.clone();
                    tasks.spawn(async move {
                        if shut_out {
                            keeper.shut_out(&device, hold).await
                        } else {
                            keeper.kick(&device).await
                        }
                    });
                }
                while let Some(done) = tasks.join_next().await {
                    done.map_err(|why| Error::new(why.to_string()))??;
                }
            }
            let now = (self.parts.clock)().as_millisecond();
            for (device, shut_out) in some {
                self.kept.again.begin(device, pauses, now);
                if *shut_out {
                    self.holding.insert(device.clone());
                    self.kept
                        .held
                        .entry(device.clone())
                        .and_modify(|held| held.ended = true);
                } else {
                    self.kept.kicks.remove(device);
                }
            }
        }
        Ok(())
    }

    /// Ends the sessions once more whose time has come. What fails is tried again later.
    pub async fn end_once_more(&mut self) -> Result<(), Error> {
        let pauses = self.parts.broker.once_more();
        let now = (self.parts.clock)().as_millisecond();
        let due = self.kept.again.due(pauses, now);
        for some in due.chunks(AT_ONCE) {
            if let Err(why) = self.parts.broker.shut_out(some).await {
                self.kept.again.failed(&due, now);
                return Err(why);
            }
            self.kept.again.done(some, pauses, now);
        }
        if due.is_empty() {
            Ok(())
        } else {
            self.memory.save(&self.kept)
        }
    }

    /// Forgets those whose session was held for long enough.
    fn forget_held(&mut self, now: Timestamp) {
        let hold = i64::try_from(self.parts.broker.half_open().as_millis()).unwrap_or(i64::MAX);
        let now = now.as_millisecond();
        self.kept
            .held
            .retain(|_, held| !held.ended || now.saturating_sub(held.since) < hold);
        let held = &self.kept.held;
        self.holding.retain(|device| held.contains_key(device));
    }
}

fn lives(pair: &Pair, now: Timestamp) -> bool {
    pair.leaf().not_after().duration_since(now) > MARGIN
}

fn will_do(der: &[u8], number: u64, now: Timestamp) -> bool {
    Crl::from_der(der).is_ok_and(|crl| {
        let holds = crl.next_update().is_some_and(|end| end > now);
        holds && crl.number().is_some_and(|have| have >= number)
    })
}

/// How long each step took.
struct Steps {
    since: Instant,
    done: Vec<Step>,
}

impl Steps {
    fn begin() -> Self {
        Self {
            since: Instant::now(),
            done: Vec::new(),
        }
    }

    fn end(&mut self, name: &str) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.since = Instant::now();
        self.done.push(Step {
            name: name.to_owned(),
            micros,
        });
    }
}
