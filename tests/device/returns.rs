//! Every way in which a device may come back, each with its outcome and its sentence. The clocks of the CA and of the device are set
//! by hand. The table in `docs/device.md` has a line for each.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use muster_agent::device::enrol::{Ask, enrol};
use muster_agent::device::files::{Home, when_free};
use muster_agent::device::renew::renew;
use muster_backends::signer::file::FileSigner;
use muster_backends::signer::generate;
use muster_backends::store::sqlite::SqliteStore;
use muster_ca::certificate::{Certificate, Status};
use muster_ca::device::{DeviceName, State};
use muster_ca::enrol::who::{Evidence, Origin};
use muster_ca::ports::{Clock, Entropy, SignerError};
use muster_ca::profile::Profiles;
use muster_ca::registry::TokenWish;
use muster_ca::setup::Founding;
use muster_ca::{Ca, Parts, Proof, Settings, Target};
use muster_pki::crl::Reason;
use muster_pki::csr::Csr;
use muster_pki::key::{KeyKind, PrivateKey, sha256};
use muster_pki::message;
use muster_server::{Edge, Listeners};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::free_port;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a device's certificate lives, and how long after that it may still be renewed.
const LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

struct HandSet(Mutex<Timestamp>);

impl Clock for HandSet {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Chance;

impl Entropy for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).unwrap();
    }

    fn private_key(&self, kind: KeyKind) -> Result<PrivateKey, SignerError> {
        generate(kind)
    }
}

type Served = JoinHandle<Result<(), muster_server::ServeError>>;

/// A CA whose clock is set by hand, served on loopback.
struct World {
    dir: tempfile::TempDir,
    ca: Arc<Ca>,
    clock: Arc<HandSet>,
    port: u16,
    serving: Option<(oneshot::Sender<()>, Served)>,
}

fn operator() -> Proof {
    Proof {
        evidence: Evidence::LocalUser {
            uid: 0,
            trusted: true,
        },
        origin: Origin::default(),
        dry_run: false,
    }
}

impl World {
    async fn start() -> Self {
        Self::with(Profiles::new(&Default::default()).unwrap()).await
    }

    async fn with(profiles: Profiles) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandSet(Mutex::new("2031-02-03T04:05:06Z".parse().unwrap())));
        let secret = || b"a passphrase of a test".to_vec().into();
        let parts = Parts {
            store: Arc::new(SqliteStore::create(&dir.path().join("muster.db"), [7; 16]).unwrap()),
            signer: Arc::new(FileSigner::open(&dir.path().join("keys"), secret()).unwrap()),
            clock: clock.clone(),
            entropy: Arc::new(Chance),
            settings: Settings {
                dns: vec!["localhost".into()],
                public_url: None,
                profiles,
            },
        };
        let founding = Founding {
            name: "Test",
            provisioner: "iot-devices",
            password: "0123456789abcdefghijklmnop",
            root_signer: &FileSigner::open(&dir.path().join("root"), secret()).unwrap(),
            import: None,
        };
        let ca = Arc::new(Ca::found(parts, founding).await.unwrap());
        let mut world = Self {
            dir,
            ca,
            clock,
            port: free_port(),
            serving: None,
        };
        world.serve().await;
        world
    }

    /// Serves, from the beginning: its certificate is a new one, as it would be at this time.
    async fn serve(&mut self) {
        if let Some((stop, served)) = self.serving.take() {
            stop.send(()).unwrap();
            served.await.unwrap().unwrap();
        }
        let loopback = || TcpListener::bind("127.0.0.1:0");
        let socket = self.dir.path().join("muster.sock");
        let _ = std::fs::remove_file(&socket);
        let listeners = Listeners {
            api: TcpListener::bind(("127.0.0.1", self.port)).await.unwrap(),
            public: loopback().await.unwrap(),
            web: loopback().await.unwrap(),
            local: UnixListener::bind(&socket).unwrap(),
        };
        let settings = muster_server::Settings {
            name: "Test".into(),
            ca_url: format!("https://localhost:{}", self.port),
            public_url: "http://localhost:9080".into(),
            base_path: "/".into(),
            hosts: vec!["localhost".into()],
            trusted_proxies: Vec::new(),
            revoke_limit: 100,
            second_operator: false,
            setup_link: self.dir.path().join("setup-link"),
            data: self.dir.path().to_owned(),
            configured: Vec::new(),
            diagnosis_listen: ([127, 0, 0, 1], free_port()).into(),
        };
        let edge = Edge::new(self.ca.clone(), Arc::new(Vec::new), settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(muster_server::serve(edge, listeners, async {
            let _ = stopped.await;
        }));
        self.serving = Some((stop, served));
    }

    /// Lets time pass.
    async fn pass(&mut self, time: SignedDuration) {
        {
            let mut now = self.clock.0.lock().unwrap();
            *now += time;
        }
        self.serve().await;
    }

    fn code(&self, name: &str, secret: &str) -> muster_api::Code {
        let authorities = self.ca.authorities();
        let default = authorities.iter().find(|one| one.name == "default").unwrap();
        let root = sha256(&default.root().unwrap().certificate);
        let root: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}:{secret}@localhost:{}/{root}", self.port)
            .parse()
            .unwrap()
    }

    /// A device that has enrolled; its clock is the CA's.
    async fn device(&self, name: &str) -> Device {
        let name = DeviceName::parse(name).unwrap();
        let wish = TokenWish {
            device: Some(name.clone()),
            wave: String::new(),
            uses: 1,
            profile: "client".into(),
            lifetime: DAY,
        };
        let (_, secret) = self.ca.create_token(operator(), wish).await.unwrap();
        let device = Device {
            dir: self.dir.path().join(name.as_str()),
            name,
            off: SignedDuration::ZERO,
        };
        device.enrol(self, &secret).await.unwrap();
        device
    }

    async fn living(&self, device: &Device) -> Vec<Certificate> {
        let now = self.ca.now();
        let all = self
            .ca
            .certificates_of(operator(), &device.name, now)
            .await
            .unwrap();
        all.into_iter().filter(|one| one.is_living(now)).collect()
    }

    async fn is_told_of(&self, device: &Device) -> bool {
        let todos = self.ca.standing(operator()).await.unwrap().todos;
        let what = format!("{} was copied", device.name);
        todos.iter().any(|todo| todo.what.contains(&what))
    }
}

struct Device {
    dir: PathBuf,
    name: DeviceName,
    /// By how much its clock is ahead.
    off: SignedDuration,
}

impl Device {
    fn clock(&self, world: &World) -> muster_agent::Clock {
        let (clock, off) = (world.clock.clone(), self.off);
        Arc::new(move || clock.now() + off)
    }

    async fn enrol(&self, world: &World, secret: &str) -> Result<(), muster_agent::Error> {
        let ask = Ask {
            code: world.code(self.name.as_str(), secret),
            name: None,
            dir: self.dir.clone(),
            group: None,
            broker: None,
            hook: None,
        };
        enrol(ask, &self.clock(world)).await.map(drop)
    }

    /// Its directory. A program that another test starts has this process's locks, too, until it has become that program.
    async fn home(&self) -> Home {
        when_free(|| Home::open(&self.dir)).await.unwrap()
    }

    async fn renew(&self, world: &World) -> Result<(), String> {
        let home = self.home().await;
        let settings = home.settings().unwrap().unwrap();
        let done = renew(&home, &settings, &self.clock(world)).await;
        done.map_err(|why| why.to_string())
    }

    /// Its certificate.
    fn leaf(&self) -> muster_pki::cert::Certificate {
        let text = std::fs::read_to_string(self.dir.join(format!("{}.crt", self.name))).unwrap();
        muster_pki::cert::Certificate::all_from_pem(&text)
            .unwrap()
            .remove(0)
    }

    fn serial(&self) -> Vec<u8> {
        self.leaf().serial().to_vec()
    }

    /// Renews, and has another certificate, which is the only one that lives.
    async fn comes_back(&self, world: &World) {
        let before = self.serial();
        self.renew(world).await.unwrap();
        assert_ne!(self.serial(), before);
        let living = world.living(self).await;
        assert_eq!(living.len(), 1, "{living:?}");
        assert_eq!(
            living[0].serial.as_bytes(),
            muster_ca::certificate::Serial::from_bytes(&self.serial())
                .unwrap()
                .as_bytes()
        );
    }

    /// Is refused with this sentence, keeps what it has, and comes back with a recovery code unless it is shut out.
    async fn is_refused(&self, world: &World, sentence: &[String]) {
        let before = self.serial();
        says(&self.renew(world).await.unwrap_err(), sentence);
        assert_eq!(self.serial(), before);
        if let Ok((_, secret)) = world.ca.recover(operator(), &self.name).await {
            self.enrol(world, &secret).await.unwrap();
            self.comes_back(world).await;
        }
    }

    fn set_hook(&self, line: &str) {
        let path = self.dir.join("agent.json");
        let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        settings["hook"] = line.into();
        std::fs::write(path, settings.to_string()).unwrap();
    }

    /// Begins to renew, and is interrupted once the CA has given it a certificate: this one.
    async fn begins_to_renew(&self, world: &World) -> Certificate {
        self.set_hook("exit 3");
        let why = self.renew(world).await.unwrap_err();
        assert!(why.contains("exit status: 3"), "{why}");
        self.set_hook("true");
        let (own, living) = (self.serial(), world.living(self).await);
        let given = living.into_iter().find(|one| one.serial.as_bytes() != own);
        given.unwrap()
    }

    fn copy(&self, to: &str) -> Device {
        let dir = self.dir.with_file_name(to);
        std::fs::create_dir(&dir).unwrap();
        for entry in std::fs::read_dir(&self.dir).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
        }
        Device {
            dir,
            name: self.name.clone(),
            off: self.off,
        }
    }
}

const PAGE: &str = include_str!("../../docs/device.md");

/// The line of the table, and what the device with this name is told there: the parts of a sentence that has … between them.
#[track_caller]
fn case(words: &str, name: &DeviceName) -> Vec<String> {
    let mut lines = PAGE.lines();
    let line = lines.find(|line| line.starts_with(&format!("| {words} |")));
    let line = line.unwrap_or_else(|| panic!("docs/device.md has no line {words:?}"));
    let sentence = line.split('`').nth(1).unwrap_or_default();
    let sentence = sentence.replace("NAME", name.as_str());
    sentence.split('…').map(str::to_owned).collect()
}

#[track_caller]
fn says(why: &str, sentence: &[String]) {
    for part in sentence {
        assert!(
            !part.is_empty() && why.contains(part),
            "{part:?} is not in {why:?}"
        );
    }
}

#[test]
fn every_line_of_the_table_has_its_test() {
    let (_, table) = PAGE
        .split_once("### What a device that comes back is told")
        .unwrap();
    let (table, _) = table.split_once("###").unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| "));
    let cases = lines.map(|line| line.split(" | ").next().unwrap().trim_start_matches("| "));
    let mut count = 0;
    for words in cases.skip(1) {
        assert!(
            include_str!("returns.rs").contains(&format!("\"{words}\"")),
            "{words}"
        );
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[tokio::test]
async fn a_device_that_was_away_comes_back_if_it_may() {
    let mut world = World::start().await;
    let [minutes, days, beyond] = [
        world.device("minutes").await,
        world.device("days").await,
        world.device("beyond").await,
    ];
    let present = world.device("present").await;
    case("still has a valid certificate", &present.name);
    present.comes_back(&world).await;
    world.pass(LIFE + SignedDuration::from_mins(5)).await;
    case("has a certificate that ran out minutes ago", &minutes.name);
    minutes.comes_back(&world).await;
    world.pass(DAY * 6).await;
    case("has a certificate that ran out days ago", &days.name);
    days.comes_back(&world).await;
    world.pass(DAY * 2).await;
    let words = "has a certificate that ran out before its time of grace";
    beyond.is_refused(&world, &case(words, &beyond.name)).await;
}

#[tokio::test]
async fn a_device_that_was_interrupted_goes_on_with_what_it_has() {
    let world = World::start().await;
    let device = world.device("interrupted").await;
    case("was interrupted while it renewed", &device.name);
    let given = device.begins_to_renew(&world).await;
    device.comes_back(&world).await;
    assert_eq!(device.serial(), given.serial.as_bytes(), "the same key");
    let device = world.device("forgetful").await;
    case(
        "was given the next certificate, and lost that and its key",
        &device.name,
    );
    let given = device.begins_to_renew(&world).await;
    for name in ["forgetful.crt.next", "forgetful.key.next"] {
        std::fs::remove_file(device.dir.join(name)).unwrap();
    }
    device.comes_back(&world).await;
    assert_ne!(device.serial(), given.serial.as_bytes());
    assert!(!world.is_told_of(&device).await);
}

#[tokio::test]
async fn a_device_that_is_shut_out_is_told_what_lets_it_in() {
    let mut world = World::start().await;
    let note = "";
    // While its certificate holds, and when that has run out.
    for when in ["in-time", "late"] {
        let [suspended, revoked, retired] = [
            world.device(&format!("suspended-{when}")).await,
            world.device(&format!("revoked-{when}")).await,
            world.device(&format!("retired-{when}")).await,
        ];
        if when == "late" {
            world.pass(LIFE + SignedDuration::from_mins(5)).await;
        }
        let ca = world.ca.clone();
        ca.suspend(operator(), &suspended.name, note).await.unwrap();
        let sentence = case("is suspended", &suspended.name);
        suspended.is_refused(&world, &sentence).await;
        ca.resume(operator(), &suspended.name, note).await.unwrap();
        suspended.comes_back(&world).await;
        let target = Target::Device(revoked.name.clone());
        ca.revoke(operator(), target, Reason::Unspecified, note)
            .await
            .unwrap();
        let sentence = case("is revoked", &revoked.name);
        revoked.is_refused(&world, &sentence).await;
        ca.retire(operator(), &retired.name, note).await.unwrap();
        let sentence = case("is retired", &retired.name);
        retired.is_refused(&world, &sentence).await;
    }
}

#[tokio::test]
async fn of_two_with_one_identity_one_is_refused_and_somebody_is_told() {
    let world = World::start().await;
    let device = world.device("copied").await;
    let copy = device.copy("the-copy");
    copy.renew(&world).await.unwrap();
    // What the copy got counts as confirmed: the agent has said so.
    let words = "was copied, or restored from a backup, and the other has renewed";
    let sentence = case(words, &device.name);
    assert!(!world.is_told_of(&device).await);
    says(&device.renew(&world).await.unwrap_err(), &sentence);
    assert!(world.is_told_of(&device).await);
    // Neither the copy nor the alarm outlives the code.
    device.is_refused(&world, &sentence).await;
    assert!(!world.is_told_of(&device).await);
    copy.is_refused(&world, &sentence).await;
}

#[tokio::test]
async fn a_device_without_its_key_says_so() {
    let world = World::start().await;
    let other = generate(KeyKind::P256).unwrap();
    for (name, key) in [("keyless", None), ("another", Some(other.to_pem().unwrap()))] {
        let device = world.device(name).await;
        let path = device.dir.join(format!("{name}.key"));
        match key {
            Some(key) => std::fs::write(path, key.as_bytes()).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        let why = device.renew(&world).await.unwrap_err();
        says(&why, &case("lost its key, or has another", &device.name));
        assert!(why.contains("its key is gone"), "{why}");
        let (_, secret) = world.ca.recover(operator(), &device.name).await.unwrap();
        device.enrol(&world, &secret).await.unwrap();
        device.comes_back(&world).await;
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_no_reason_to_stay_away() {
    let mut world = World::start().await;
    let since_1970 = world.ca.now().duration_since(Timestamp::UNIX_EPOCH);
    for (words, name, off) in [
        ("has a clock that says 1970", "behind", -since_1970),
        ("has a clock that is ten years ahead", "ahead", DAY * 3653),
    ] {
        let mut device = world.device(name).await;
        case(words, &device.name);
        device.off = off;
        device.comes_back(&world).await;
        // The first enrolment, too.
        let mut other = world.device(&format!("{name}-new")).await;
        std::fs::remove_dir_all(&other.dir).unwrap();
        other.off = off;
        let (_, secret) = world.ca.recover(operator(), &other.name).await.unwrap();
        other.enrol(&world, &secret).await.unwrap();
        // And what ran out meanwhile.
        world.pass(LIFE + DAY).await;
        device.comes_back(&world).await;
        let status = world.living(&device).await;
        assert!(status.iter().all(|one| one.status == Status::Active));
    }
}

#[tokio::test]
async fn a_ca_whose_clock_was_wrong_strands_nobody() {
    let mut world = World::start().await;
    let device = world.device("site-001").await;
    let year = DAY * 365;
    world.pass(year).await;
    // The device's own clock is right, and the CA's is not.
    let device = Device { off: -year, ..device };
    let _ = device.renew(&world).await;
    let last = || -> Timestamp {
        let text = std::fs::read_to_string(device.dir.join("last-time")).unwrap();
        text.parse().unwrap()
    };
    assert!(last() > world.ca.now() - DAY);
    world.pass(-year).await;
    let device = Device {
        off: SignedDuration::ZERO,
        ..device.copy("the-same")
    };
    device.comes_back(&world).await;
    let text = std::fs::read_to_string(device.dir.join("last-time")).unwrap();
    let last: Timestamp = text.parse().unwrap();
    assert!(last < world.ca.now() + DAY, "{last}");
}

#[tokio::test]
async fn an_old_card_stops_nobody() {
    let raw = serde_json::json!({ "client": { "suspend_clones": true } });
    let profiles = Profiles::new(&serde_json::from_value(raw).unwrap()).unwrap();
    let mut world = World::with(profiles).await;
    let state = async |world: &World, device: &Device| {
        let device = world.ca.device(operator(), &device.name).await.unwrap();
        device.state
    };
    let device = world.device("old-card").await;
    let card = device.copy("card");
    device.renew(&world).await.unwrap();
    world.pass(LIFE * 2 / 3).await;
    device.renew(&world).await.unwrap();
    world.pass(LIFE / 3 + DAY * 8).await;
    let why = card.renew(&world).await.unwrap_err();
    assert!(why.contains("superseded"), "{why}");
    assert_eq!(state(&world, &device).await, State::Active);
    assert!(world.is_told_of(&device).await);
    // One that could renew otherwise does, whatever came before it.
    let card = device.copy("newer-card");
    device.renew(&world).await.unwrap();
    card.renew(&world).await.unwrap_err();
    assert_eq!(state(&world, &device).await, State::Suspended);
}

impl Device {
    /// A request for a key of its own, DER.
    fn request(&self) -> Vec<u8> {
        Csr::build(self.name.as_str(), &[], &generate(KeyKind::P256).unwrap()).unwrap()
    }
}

fn shows(evidence: Evidence) -> Proof {
    Proof {
        evidence,
        ..operator()
    }
}

#[tokio::test]
async fn who_finds_a_token_of_an_expired_certificate_can_put_no_key_of_its_own_in() {
    let mut world = World::start().await;
    let device = world.device("late").await;
    world.pass(LIFE + SignedDuration::from_mins(5)).await;
    let pair = device.home().await.pair("late").unwrap().unwrap();
    let (wanted, smuggled) = (device.request(), device.request());
    let now = world.clock.now().as_second();
    let token = |id: &str, cnf: serde_json::Value| {
        let claims = serde_json::json!({
            "iss": "muster-agent", "aud": format!("https://localhost:{}/renew", world.port), "sub": "late", "jti": id,
            "iat": now, "exp": now + 300, "cnf": cnf,
        });
        let token = message::by_holder(pair.leaf(), pair.key(), claims.to_string().as_bytes()).unwrap();
        shows(Evidence::SignedByCertificate(token))
    };
    let bound = || serde_json::json!({ "x5rt#S256": URL_SAFE_NO_PAD.encode(sha256(&wanted)) });
    for (proof, request) in [
        (token("1", serde_json::Value::Null), &wanted),
        (token("2", serde_json::json!({})), &wanted),
        (token("3", bound()), &smuggled),
    ] {
        let why = world.ca.rekey(proof, request).await.unwrap_err().to_string();
        assert!(why.contains("the token is for another request"), "{why}");
    }
    world.ca.rekey(token("4", bound()), &wanted).await.unwrap();
}

#[tokio::test]
async fn a_device_that_changes_its_key_without_end_is_stopped() {
    let world = World::start().await;
    let device = world.device("busy").await;
    let mut der = device.leaf().der().to_vec();
    let why = loop {
        let proof = shows(Evidence::ClientCertificate(der.clone()));
        match world.ca.rekey(proof, &device.request()).await {
            Ok(issued) => der = issued.certificate().der.clone(),
            Err(why) => break why.to_string(),
        }
    };
    assert!(why.contains("has changed its key 500 times"), "{why}");
    let all = world
        .ca
        .certificates_of(operator(), &device.name, world.ca.now())
        .await
        .unwrap();
    assert_eq!(
        all.len(),
        502,
        "500 that were left behind, the one before, and the one in use"
    );
    // With the key that it has it goes on.
    world
        .ca
        .renew(shows(Evidence::ClientCertificate(der)))
        .await
        .unwrap();
}
