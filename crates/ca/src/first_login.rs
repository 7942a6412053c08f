//! The first person who may log in: made by a one-time setup link, or with a password from the configuration.

use jiff::{SignedDuration, Timestamp};
use muster_pki::key::sha256;
use zeroize::Zeroizing;

use crate::Ca;
use crate::audit::Act;
use crate::enrol::who::{Origin, unproven};
use crate::error::Error;
use crate::operator::{Operator, Role};
use crate::operators::check_operator_name;
use crate::ports::{Change, Kept, StoreError, Write};
use crate::setup::own_act;

/// A setup link is good for so long; every start of the server makes a new one.
const LINK: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Where the drawer holds the hash of the setup link's secret.
const KEY: &str = "setup";
/// Bytes of a secret for one-time codes (RFC 4226, section 4, recommends 160 bits).
const TOTP_SECRET: usize = 20;

/// What somebody chooses who comes by a link: the first person, or one who was invited.
#[derive(Clone)]
pub struct FirstLogin {
    /// Name.
    pub name: String,
    /// Password.
    pub password: Zeroizing<String>,
    /// The secret of a second factor, and a code made of it that shows that the app has it.
    pub totp: Option<(Vec<u8>, String)>,
}

impl Ca {
    /// Whether nobody can log in yet.
    pub async fn awaits_setup(&self) -> Result<bool, Error> {
        let operators = self.store.operators().await?;
        Ok(operators.iter().all(|operator| operator.login.is_none()))
    }

    /// Makes a new setup link's secret; the one before is void. `None` if somebody can log in already.
    pub async fn open_setup(&self) -> Result<Option<Zeroizing<String>>, Error> {
        let mut writes = Vec::new();
        let before = self.store.kept(KEY, Timestamp::MIN).await?;
        writes.extend(before.map(|kept| Write::Drop(kept.key)));
        let wanted = self.awaits_setup().await?;
        let now = self.clock.now();
        let secret = self.secret("");
        if wanted {
            writes.push(Write::Keep(Kept {
                key: KEY.into(),
                value: sha256(secret.as_bytes()).to_vec(),
                expires: now + LINK,
            }));
        }
        if !writes.is_empty() {
            let act = own_act(now, "setup.link_made", "");
            self.store.commit(Change { writes, act }).await?;
        }
        Ok(wanted.then_some(secret))
    }

    /// Refuses everything but the secret of the newest setup link, while nobody can log in.
    pub async fn check_setup(&self, secret: &str) -> Result<(), Error> {
        let kept = self.store.kept(KEY, self.clock.now()).await?;
        let hash = sha256(secret.as_bytes());
        let right = kept.is_some_and(|kept| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&kept.value, &hash).is_ok()
        });
        if right && self.awaits_setup().await? {
            return Ok(());
        }
        Err(unproven(
            "this setup link is not, or no longer, good: the newest is in the file setup-link in the data directory, \
             as long as nobody can log in",
        ))
    }

    /// Makes the first person who may log in, an administrator, and voids the setup link. In the answer is what makes the browser
    /// known ([`Begun::browser`](crate::session::Begun::browser)).
    ///
    /// Holds its thread for as long as it takes to hash a password.
    pub async fn set_up(
        &self,
        secret: &str,
        first: FirstLogin,
        origin: Origin,
    ) -> Result<Zeroizing<String>, Error> {
        self.check_setup(secret).await?;
        check_operator_name(&first.name)?;
        let now = self.clock.now();
        let login = self.chosen_login(&first, now)?;
        let (browser, known) = self.new_browser(&first.name, now);
        let operator = Operator {
            name: first.name.clone(),
            role: Role::Admin,
            key: None,
            login: Some(login),
            created: now,
        };
        let act = Act {
            at: now,
            actor: "setup link".into(),
            via: origin.via.to_owned(),
            source: origin.source,
            action: "operator.added",
            subject: first.name,
            detail: serde_json::json!({ "role": Role::Admin.as_str() }).to_string(),
            dry_run: false,
        };
        let writes = vec![known, Write::Drop(KEY.into()), Write::Operator(operator)];
        match self.store.commit(Change { writes, act }).await {
            Err(StoreError::Changed(_)) => Err(unproven("somebody else has used this setup link")),
            done => Ok(done.map(|()| browser)?),
        }
    }

    /// Lets the operator `admin` log in with this password, if nobody can log in yet. Says whether it did.
    ///
    /// Holds its thread for as long as it takes to hash a password.
    pub async fn set_first_password(&self, password: &str) -> Result<bool, Error> {
        const NAME: &str = "admin";
        if !self.awaits_setup().await? {
            return Ok(false);
        }
        let now = self.clock.now();
        let login = self.new_login(password, None)?;
        let write = match self.operator_named(NAME).await? {
            Some(_) => Write::Login {
                name: NAME.into(),
                login,
            },
            None => Write::Operator(Operator {
                name: NAME.into(),
                role: Role::Admin,
                key: None,
                login: Some(login),
                created: now,
            }),
        };
        let act = own_act(now, "operator.password_set", NAME);
        let writes = vec![write];
        self.store.commit(Change { writes, act }).await?;
        Ok(true)
    }

    /// A new secret for one-time codes. Nothing is recorded.
    pub fn new_totp_secret(&self) -> Zeroizing<Vec<u8>> {
        let mut secret = Zeroizing::new(vec![0; TOTP_SECRET]);
        self.entropy.fill(&mut secret);
        secret
    }
}
