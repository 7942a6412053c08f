//! What operators register: devices, enrolment tokens and provisioners.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use muster_pki::key::sha256;
use zeroize::Zeroizing;

use crate::Ca;
use crate::device::{Device, DeviceName, State};
use crate::enrol::always_changing;
use crate::enrol::may::accept_state;
use crate::enrol::who::{Caller, Proof};
use crate::error::Error;
use crate::operator::Permission;
use crate::ports::{Change, StoreError, Write};
use crate::profile::AGENT_PROFILE;
use crate::provisioner::{Provisioner, check_names};
use crate::revoke::check_note;
use crate::token::{EnrolmentToken, MAX_USES};

/// The longest that an enrolment token may live.
const LONGEST_TOKEN: SignedDuration = SignedDuration::from_hours(366 * 24);

/// How long a recovery code is good for.
const RECOVERY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How often a recovery code is made anew because somebody else was faster.
const RECOVERY_ATTEMPTS: usize = 16;

/// The most names for which tokens are made at once.
pub const MAX_LIST: usize = 1000;

/// What an enrolment token is to be good for.
#[derive(Debug, Clone)]
pub struct TokenWish {
    /// The only name; else a wave.
    pub device: Option<DeviceName>,
    /// The wave's name.
    pub wave: String,
    /// How many names; 1 for a single name.
    pub uses: u32,
    /// The profile that its devices follow.
    pub profile: String,
    /// How long it is good for.
    pub lifetime: SignedDuration,
}

/// What a provisioner is to be allowed.
#[derive(Debug, Clone, Default)]
pub struct ProvisionerWish {
    /// Its name.
    pub name: String,
    /// The profiles it may ask for; none: `client` and `server`.
    pub profiles: Vec<String>,
    /// The names it may ask for, as patterns such as `site-*`; none: any.
    pub names: Vec<String>,
    /// Whether it may replace the key of a device that has a living certificate.
    pub may_replace: bool,
}

impl Ca {
    /// Registers a device before it has an identity. A server must be registered before a token may ask for it.
    pub async fn create_device(
        &self,
        proof: Proof,
        name: DeviceName,
        profile: &str,
        note: &str,
    ) -> Result<Device, Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        let profile = self.settings.profiles.named(profile)?;
        check_note(note)?;
        if self.store.device(&name).await?.is_some() {
            return Err(Error::Conflict(format!("the device {name} exists already")));
        }
        let now = self.clock.now();
        let device = Device {
            name: name.clone(),
            kind: profile.kind(),
            state: State::New,
            armed: false,
            profile: profile.name().to_owned(),
            note: note.to_owned(),
            created: now,
            version: 1,
        };
        let detail = serde_json::json!({ "profile": profile.name() }).to_string();
        let act = caller.act(now, "device.created", name.to_string(), detail);
        let writes = vec![Write::Device {
            device: device.clone(),
            expected: None,
        }];
        self.store.commit(Change { writes, act }).await?;
        Ok(device)
    }

    /// Makes an enrolment token. The secret is in the answer and nowhere else.
    pub async fn create_token(
        &self,
        proof: Proof,
        wish: TokenWish,
    ) -> Result<(EnrolmentToken, Zeroizing<String>), Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        let now = self.clock.now();
        let (token, secret) = self.draw_token(&caller, wish, now)?;
        let detail =
            serde_json::json!({ "uses": token.uses, "expires": token.expires.to_string() }).to_string();
        let act = caller.act(now, "token.created", token.id.clone(), detail);
        let writes = vec![Write::Token(token.clone())];
        self.store.commit(Change { writes, act }).await?;
        Ok((token, secret))
    }

    /// Makes an enrolment token of its own for each of 1 to [`MAX_LIST`] devices; all of them or none.
    pub async fn create_tokens(
        &self,
        proof: Proof,
        devices: Vec<DeviceName>,
        wish: TokenWish,
    ) -> Result<Vec<(EnrolmentToken, Zeroizing<String>)>, Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        if devices.is_empty() || devices.len() > MAX_LIST {
            return Err(Error::Bad(format!("a list has 1 to {MAX_LIST} names")));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = devices.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::Bad(format!("{twice} stands in the list twice")));
        }
        let now = self.clock.now();
        let draw = |device| {
            let wish = TokenWish {
                device: Some(device),
                uses: 1,
                ..wish.clone()
            };
            self.draw_token(&caller, wish, now)
        };
        let made: Vec<_> = devices.into_iter().map(draw).collect::<Result<_, _>>()?;
        let ids: Vec<_> = made.iter().map(|(token, _)| token.id.as_str()).collect();
        let detail = serde_json::json!({ "tokens": ids }).to_string();
        let act = caller.act(now, "token.created", wish.wave, detail);
        let writes = made.iter().map(|(token, _)| Write::Token(token.clone()));
        let change = Change {
            writes: writes.collect(),
            act,
        };
        self.store.commit(change).await?;
        Ok(made)
    }

    /// Makes a recovery code: an enrolment token that lets this one device in again with another key, once, within 24 hours. What
    /// the device has works until then, and is revoked as superseded with the code's use. Codes that were made for it before and
    /// are not used are withdrawn.
    ///
    /// A device that is suspended, revoked or retired is not let in by a code alone.
    pub async fn recover(
        &self,
        proof: Proof,
        name: &DeviceName,
    ) -> Result<(EnrolmentToken, Zeroizing<String>), Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        for _ in 0..RECOVERY_ATTEMPTS {
            match self.recover_once(&caller, name).await {
                // Somebody else made one at this moment, or the device changed: look again.
                Err(Error::Conflict(_)) => {}
                done => return done,
            }
        }
        Err(always_changing())
    }

    async fn recover_once(
        &self,
        caller: &Caller,
        name: &DeviceName,
    ) -> Result<(EnrolmentToken, Zeroizing<String>), Error> {
        let device = self.known_device(name).await?;
        accept_state(Some(&device), name)?;
        let wish = TokenWish {
            device: Some(name.clone()),
            wave: String::new(),
            uses: 1,
            profile: device.profile.clone(),
            lifetime: RECOVERY_LIFE,
        };
        let now = self.clock.now();
        let (token, secret) = self.draw_token(caller, wish, now)?;
        let token = EnrolmentToken {
            recovers: true,
            ..token
        };
        let before = self.store.recovery_codes(name, now).await?;
        let detail = serde_json::json!({
            "token": token.id, "expires": token.expires.to_string(), "withdrawn": before,
        });
        let act = caller.act(
            now,
            "device.recovery_code_made",
            name.to_string(),
            detail.to_string(),
        );
        let withdraw = |id| Write::WithdrawToken { id, at: now };
        let mut writes: Vec<_> = before.into_iter().map(withdraw).collect();
        writes.push(Write::Token(token.clone()));
        // Of two at one instant, one is refused.
        let expected = Some(device.version);
        let device = Device {
            version: device.version + 1,
            ..device
        };
        writes.push(Write::Device { device, expected });
        self.store.commit(Change { writes, act }).await?;
        Ok((token, secret))
    }

    fn draw_token(
        &self,
        caller: &Caller,
        wish: TokenWish,
        now: Timestamp,
    ) -> Result<(EnrolmentToken, Zeroizing<String>), Error> {
        let profile = self.settings.profiles.named(&wish.profile)?;
        if wish.uses == 0 || wish.uses > MAX_USES || (wish.device.is_some() && wish.uses != 1) {
            return Err(Error::Bad(format!(
                "a token is for one name, or for a wave of 1 to {MAX_USES}"
            )));
        }
        if wish.wave.len() > 64 || wish.wave.chars().any(char::is_control) {
            return Err(Error::Bad(
                "a wave's name has at most 64 printable characters".into(),
            ));
        }
        if wish.lifetime <= SignedDuration::ZERO || wish.lifetime > LONGEST_TOKEN {
            return Err(Error::Bad(
                "a token lives for more than nothing and at most 366 days".into(),
            ));
        }
        let wish = TokenWish {
            profile: profile.name().to_owned(),
            ..wish
        };
        self.new_token(caller, wish, now)
    }

    /// An enrolment token for one of Muster's own: an agent.
    pub(crate) fn agent_token(
        &self,
        caller: &Caller,
        agent: DeviceName,
        lifetime: SignedDuration,
    ) -> Result<(EnrolmentToken, Zeroizing<String>), Error> {
        let wish = TokenWish {
            device: Some(agent),
            wave: String::new(),
            uses: 1,
            profile: AGENT_PROFILE.to_owned(),
            lifetime,
        };
        self.new_token(caller, wish, self.clock.now())
    }

    fn new_token(
        &self,
        caller: &Caller,
        wish: TokenWish,
        now: Timestamp,
    ) -> Result<(EnrolmentToken, Zeroizing<String>), Error> {
        let secret = self.secret("mt_");
        let token = EnrolmentToken {
            id: self.serial(now)?.hex()[..26].to_owned(),
            hash: sha256(secret.as_bytes()),
            device: wish.device,
            wave: wish.wave,
            uses: wish.uses,
            used: 0,
            profile: wish.profile,
            created: now,
            expires: now + wish.lifetime,
            withdrawn: None,
            by: caller.name(),
            recovers: false,
        };
        Ok((token, secret))
    }

    /// Withdraws an enrolment token. Names that it has bound stay.
    pub async fn withdraw_token(&self, proof: Proof, id: &str) -> Result<(), Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        let now = self.clock.now();
        let act = caller.act(now, "token.withdrawn", id.to_owned(), String::new());
        let mut writes = self.token_seen_to(id).await?;
        writes.push(Write::WithdrawToken {
            id: id.to_owned(),
            at: now,
        });
        self.store.commit(Change { writes, act }).await.map_err(|why| {
            if matches!(why, StoreError::Changed(_)) {
                return Error::Missing(format!(
                    "there is no token {id:?} to withdraw; see which there are with: muster token list"
                ));
            }
            why.into()
        })
    }

    /// Adds a provisioner with a new key that only this password opens.
    pub async fn add_provisioner(
        &self,
        proof: Proof,
        wish: ProvisionerWish,
        password: &str,
    ) -> Result<Provisioner, Error> {
        let caller = self.administrator(proof).await?;
        for (place, profile) in wish.profiles.iter().enumerate() {
            self.settings.profiles.named(profile)?;
            if wish.profiles[..place].contains(profile) {
                return Err(Error::Bad(format!("the profile {profile:?} stands there twice")));
            }
        }
        check_names(&wish.names)?;
        let now = self.clock.now();
        let usual = self.make_provisioner(&wish.name, password, now)?;
        let provisioner = Provisioner {
            profiles: if wish.profiles.is_empty() {
                usual.profiles
            } else {
                wish.profiles
            },
            names: wish.names,
            may_replace: wish.may_replace,
            ..usual
        };
        let detail = serde_json::json!({
            "profiles": provisioner.profiles, "names": provisioner.names, "may_replace": provisioner.may_replace,
        });
        let act = caller.act(now, "provisioner.added", wish.name, detail.to_string());
        self.store
            .commit(Change {
                writes: vec![Write::Provisioner(provisioner.clone())],
                act,
            })
            .await?;
        self.reload().await?;
        Ok(provisioner)
    }

    /// A password that nobody can guess: 256 random bits. It is kept nowhere.
    pub fn new_password(&self) -> Zeroizing<String> {
        self.secret("")
    }

    /// Removes a provisioner; its tokens are refused from now on.
    pub async fn remove_provisioner(&self, proof: Proof, name: &str) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        let known = self
            .state
            .load()
            .provisioners
            .iter()
            .any(|provisioner| provisioner.record.name == name);
        if !known {
            return Err(Error::Missing(format!(
                "there is no provisioner {name:?}; see which there are with: muster ca provisioner list"
            )));
        }
        let act = caller.act(
            self.clock.now(),
            "provisioner.removed",
            name.to_owned(),
            String::new(),
        );
        self.store
            .commit(Change {
                writes: vec![Write::RemoveProvisioner(name.to_owned())],
                act,
            })
            .await?;
        self.reload().await
    }

    /// 256 random bits behind a prefix that scanners for leaked secrets can look for.
    pub(crate) fn secret(&self, prefix: &str) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.entropy.fill(&mut *bytes);
        Zeroizing::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(*bytes)))
    }
}
