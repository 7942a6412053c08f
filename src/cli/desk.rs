//! What needs the recovery secret: done in this process, with the server stopped, since no server is ever given it.

use std::path::PathBuf;

use muster_ca::Proof;
use muster_ca::enrol::who::{Evidence, Origin};

use super::Common;
use super::report::{Exit, Failure, Voice};
use crate::assemble::{self, Brought, Keys, Open};
use crate::config::{Config, Flags};

/// An authority with its root keys at hand.
pub(super) struct Desk {
    open: Open,
    keys: Keys,
    dry_run: bool,
}

/// Lists of roots that were made.
pub(super) struct RootCrls(Vec<RootCrl>);

#[derive(serde::Serialize)]
struct RootCrl {
    authority: String,
    number: u64,
    next_update: String,
    #[serde(skip)]
    rehearsed: bool,
}

impl RootCrls {
    pub(super) fn words(&self) -> String {
        let each = self.0.iter().map(|crl| {
            let verb = if crl.rehearsed { "would be" } else { "is" };
            format!(
                "The CRL of the root of {} {verb} good until {}",
                crl.authority, crl.next_update
            )
        });
        each.collect::<Vec<_>>().join("\n")
    }
}

/// What a dry run says at its end.
const UNCHANGED: &str = "Nothing was changed.";

impl Desk {
    pub(super) async fn open(
        common: &Common,
        recovery_secret: Option<PathBuf>,
        dry_run: bool,
    ) -> Result<Self, Failure> {
        let config = Config::load(&common.data, &Flags::default())?;
        let (open, keys) = assemble::open_with_root(&config, recovery_secret, dry_run).await?;
        Ok(Self { open, keys, dry_run })
    }

    pub(super) async fn start_rollover(self, voice: Voice, authority: &str) -> Result<Exit, Failure> {
        let made = self
            .open
            .ca
            .start_rollover(self.proof(), authority, &self.keys.root)
            .await?;
        let subject = made.parsed()?.common_name().unwrap_or_default();
        let json = serde_json::json!({ "number": made.number, "subject": subject, "stage": "standby" });
        if self.dry_run {
            voice.data(&format!("Would make {subject}, on standby. {UNCHANGED}"), &json)?;
            return Ok(Exit::Ok);
        }
        voice.data(&format!("{subject} stands by"), &json)?;
        voice.say("Give every broker the new ca.crt (muster ca root --chain) and its CRLs (muster ca crl), then: muster ca rollover activate");
        Ok(Exit::Ok)
    }

    pub(super) async fn renew_root_crls(self, voice: Voice, only: Option<String>) -> Result<Exit, Failure> {
        let made = self.make_root_crls(only).await?;
        if self.dry_run {
            voice.data(&format!("{}\n{UNCHANGED}", made.words()), &made.0)?;
        } else {
            voice.say(&made.words());
            voice.data("", &made.0)?;
        }
        Ok(Exit::Ok)
    }

    /// The same without a word: for a command that has an answer of its own.
    pub(super) async fn make_root_crls(&self, only: Option<String>) -> Result<RootCrls, Failure> {
        let with_key = self.open.ca.authorities().into_iter();
        let with_key = with_key.filter(|authority| authority.root().is_ok_and(|root| root.key.is_some()));
        let names = match only {
            Some(name) => vec![name],
            None => with_key.map(|authority| authority.name).collect(),
        };
        let mut made = Vec::new();
        for authority in names {
            let ca = &self.open.ca;
            let crl = ca
                .renew_root_crl(self.proof(), &authority, &self.keys.root)
                .await?;
            made.push(RootCrl {
                authority,
                number: crl.number,
                next_update: format!("{:.0}", crl.next_update),
                rehearsed: self.dry_run,
            });
        }
        Ok(RootCrls(made))
    }

    pub(super) async fn create(
        self,
        voice: Voice,
        authority: &str,
        name: &str,
        follows: Option<&str>,
    ) -> Result<Exit, Failure> {
        self.open
            .ca
            .create_authority(self.proof(), authority, name, follows, &self.keys.root)
            .await?;
        tell_new(voice, authority, self.dry_run, "make", "made")?;
        if let (Some(older), false) = (follows, self.dry_run) {
            voice.say(&format!(
                "Devices with an agent learn to believe it when they renew, and brokers with an agent at once. Until every device has, let \
                 brokers' certificates come from {older}: docs/operations.md, \"Another root\""
            ));
        }
        Ok(Exit::Ok)
    }

    pub(super) async fn import(self, voice: Voice, name: &str, brought: Brought) -> Result<Exit, Failure> {
        let (proof, dry_run) = (self.proof(), self.dry_run);
        assemble::import((self.open, self.keys), proof, name, brought).await?;
        tell_new(voice, name, dry_run, "import", "imported")
    }

    fn proof(&self) -> Proof {
        let evidence = Evidence::LocalUser {
            uid: rustix::process::geteuid().as_raw(),
            trusted: true,
        };
        Proof {
            evidence,
            origin: Origin {
                via: "command",
                source: "local".into(),
            },
            dry_run: self.dry_run,
        }
    }
}

fn tell_new(voice: Voice, authority: &str, dry_run: bool, would: &str, done: &str) -> Result<Exit, Failure> {
    let json = serde_json::json!({ "authority": authority });
    if dry_run {
        voice.data(&format!("Would {would} {authority}. {UNCHANGED}"), &json)?;
        return Ok(Exit::Ok);
    }
    voice.data(&format!("{done} {authority}"), &json)?;
    voice.say("A profile issues from it once muster.toml says so: [profile.NAME] authority = …");
    Ok(Exit::Ok)
}
