//! What administrators do with operators: add, invite, change, remove.

use jiff::{SignedDuration, Timestamp};
use muster_pki::key::sha256;
use zeroize::Zeroizing;

use crate::Ca;
use crate::audit::Act;
use crate::enrol::who::{Caller, Origin, Proof, unproven};
use crate::error::{Error, Refusal};
use crate::first_login::FirstLogin;
use crate::operator::{Operator, Role};
use crate::ports::{Change, Kept, StoreError, Write};

/// An invitation is good for so long.
const INVITATION: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Ca {
    /// Adds an operator. The API key is in the answer and nowhere else.
    pub async fn add_operator(
        &self,
        proof: Proof,
        name: &str,
        role: Role,
    ) -> Result<(Operator, Zeroizing<String>), Error> {
        let caller = self.administrator(proof).await?;
        let key = self.secret("mk_");
        let operator = self.new_operator(name, role, Some(sha256(key.as_bytes())))?;
        let writes = vec![Write::Operator(operator.clone())];
        self.commit_of(&caller, "operator.added", name, role_detail(role), writes)
            .await?;
        Ok((operator, key))
    }

    /// Adds an operator who chooses a password by an invitation. Its secret is in the answer and nowhere else.
    pub async fn add_person(
        &self,
        proof: Proof,
        name: &str,
        role: Role,
    ) -> Result<(Operator, Zeroizing<String>), Error> {
        let caller = self.administrator(proof).await?;
        let operator = self.new_operator(name, role, None)?;
        let mut writes = vec![Write::Operator(operator.clone())];
        let secret = self.new_invitation(name, &mut writes).await?;
        self.commit_of(&caller, "operator.added", name, role_detail(role), writes)
            .await?;
        Ok((operator, secret))
    }

    /// Lets an operator choose a password anew, and a second factor or none; the invitation before is void. What it logs in
    /// with until then stays good. The secret is in the answer and nowhere else.
    pub async fn invite(&self, proof: Proof, name: &str) -> Result<Zeroizing<String>, Error> {
        let caller = self.administrator(proof).await?;
        self.known_operator(name).await?;
        let mut writes = Vec::new();
        let secret = self.new_invitation(name, &mut writes).await?;
        self.commit_of(&caller, "operator.invited", name, String::new(), writes)
            .await?;
        Ok(secret)
    }

    /// Refuses everything but the secret of an operator's newest invitation.
    pub async fn check_invitation(&self, name: &str, secret: &str) -> Result<(), Error> {
        let kept = self.store.kept(&invitation(name), self.clock.now()).await?;
        let hash = sha256(secret.as_bytes());
        let right = kept.is_some_and(|kept| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&kept.value, &hash).is_ok()
        });
        if right {
            return Ok(());
        }
        Err(unproven(
            "this link is not, or no longer, good: it works once and for a week; ask an administrator for a new one",
        ))
    }

    /// Takes an invitation: from now on the operator logs in with this. Its sessions end. In the answer is what makes the browser
    /// known ([`Begun::browser`](crate::session::Begun::browser)).
    ///
    /// Holds its thread for as long as it takes to hash a password.
    pub async fn accept_invitation(
        &self,
        secret: &str,
        chosen: FirstLogin,
        origin: Origin,
    ) -> Result<Zeroizing<String>, Error> {
        self.check_invitation(&chosen.name, secret).await?;
        let now = self.clock.now();
        let login = self.chosen_login(&chosen, now)?;
        let act = Act {
            at: now,
            actor: chosen.name.clone(),
            via: origin.via.to_owned(),
            source: origin.source,
            action: "operator.password_set",
            subject: chosen.name.clone(),
            detail: String::new(),
            dry_run: false,
        };
        let (browser, known) = self.new_browser(&chosen.name, now);
        let writes = vec![
            known,
            Write::Drop(invitation(&chosen.name)),
            Write::Login {
                name: chosen.name,
                login,
            },
        ];
        match self.store.commit(Change { writes, act }).await {
            Err(StoreError::Changed(_)) => Err(unproven("somebody else has used this link")),
            done => Ok(done.map(|()| browser)?),
        }
    }

    /// Changes what an operator may do, from its next request on.
    pub async fn change_role(&self, proof: Proof, name: &str, role: Role) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        self.known_operator(name).await?;
        refuse_self(&caller, name)?;
        let writes = vec![Write::Role {
            name: name.to_owned(),
            role,
        }];
        self.commit_of(&caller, "operator.role_changed", name, role_detail(role), writes)
            .await
    }

    /// Gives an operator a new API key; the one before is refused from now on. The key is in the answer and nowhere else.
    pub async fn renew_api_key(&self, proof: Proof, name: &str) -> Result<Zeroizing<String>, Error> {
        let key = self.secret("mk_");
        self.set_api_key(proof, name, Some(sha256(key.as_bytes())), "operator.key_made")
            .await?;
        Ok(key)
    }

    /// Takes an operator's API key away.
    pub async fn revoke_api_key(&self, proof: Proof, name: &str) -> Result<(), Error> {
        self.set_api_key(proof, name, None, "operator.key_revoked").await
    }

    /// Removes an operator; its API key is refused from now on, and its sessions end.
    pub async fn remove_operator(&self, proof: Proof, name: &str) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        self.known_operator(name).await?;
        refuse_self(&caller, name)?;
        let mut writes = vec![Write::RemoveOperator(name.to_owned())];
        // Or it would let in whoever gets the same name next.
        self.void_invitation(name, &mut writes).await?;
        self.commit_of(&caller, "operator.removed", name, String::new(), writes)
            .await
    }

    /// The login that somebody chose who came by a link.
    pub(crate) fn chosen_login(
        &self,
        chosen: &FirstLogin,
        now: Timestamp,
    ) -> Result<crate::operator::Login, Error> {
        let totp = match &chosen.totp {
            None => None,
            Some((secret, code)) => {
                check_code(secret, code, now)?;
                Some(secret.clone())
            }
        };
        self.new_login(&chosen.password, totp)
    }

    pub(crate) async fn known_operator(&self, name: &str) -> Result<Operator, Error> {
        self.operator_named(name).await?.ok_or_else(|| {
            Error::Missing(format!(
                "there is no operator {name:?}; make one with: muster user create {name}"
            ))
        })
    }

    pub(crate) async fn commit_of(
        &self,
        caller: &Caller,
        action: &'static str,
        name: &str,
        detail: String,
        writes: Vec<Write>,
    ) -> Result<(), Error> {
        let act = caller.act(self.clock.now(), action, name.to_owned(), detail);
        Ok(self.store.commit(Change { writes, act }).await?)
    }

    fn new_operator(&self, name: &str, role: Role, key: Option<[u8; 32]>) -> Result<Operator, Error> {
        check_operator_name(name)?;
        Ok(Operator {
            name: name.to_owned(),
            role,
            key,
            login: None,
            created: self.clock.now(),
        })
    }

    async fn void_invitation(&self, name: &str, writes: &mut Vec<Write>) -> Result<(), Error> {
        let before = self.store.kept(&invitation(name), Timestamp::MIN).await?;
        writes.extend(before.map(|kept| Write::Drop(kept.key)));
        Ok(())
    }

    async fn new_invitation(&self, name: &str, writes: &mut Vec<Write>) -> Result<Zeroizing<String>, Error> {
        self.void_invitation(name, writes).await?;
        let secret = self.secret("");
        writes.push(Write::Keep(Kept {
            key: invitation(name),
            value: sha256(secret.as_bytes()).to_vec(),
            expires: self.clock.now() + INVITATION,
        }));
        Ok(secret)
    }

    async fn set_api_key(
        &self,
        proof: Proof,
        name: &str,
        key: Option<[u8; 32]>,
        action: &'static str,
    ) -> Result<(), Error> {
        let caller = self.administrator(proof).await?;
        self.known_operator(name).await?;
        let writes = vec![Write::ApiKey {
            name: name.to_owned(),
            key,
        }];
        self.commit_of(&caller, action, name, String::new(), writes).await
    }
}

/// Refuses a code that an app does not show now.
pub(crate) fn check_code(secret: &[u8], code: &str, now: Timestamp) -> Result<(), Error> {
    if crate::password::step_of_code(secret, code, now).is_some() {
        return Ok(());
    }
    Err(Error::Bad(
        "the code is not the one that the app shows now; is this machine's clock right?".into(),
    ))
}

/// Where the drawer holds the hash of an invitation's secret.
fn invitation(name: &str) -> String {
    format!("invitation/{name}")
}

fn role_detail(role: Role) -> String {
    serde_json::json!({ "role": role.as_str() }).to_string()
}

/// Nobody takes their own rights, so that there is always an administrator left.
fn refuse_self(caller: &Caller, name: &str) -> Result<(), Error> {
    if caller.name() != name {
        return Ok(());
    }
    Err(
        Refusal::new("nobody changes their own role or removes themselves")
            .fix("ask another administrator, or use the command line on the server")
            .into(),
    )
}

/// Refuses what audit entries should not call anybody.
pub(crate) fn check_operator_name(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._@".contains(&byte);
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !starts_well || name.len() > 64 || !name.bytes().all(allowed) || name.starts_with("muster") {
        return Err(Error::Bad(
            "an operator's name has 1 to 64 letters, digits, '-', '.', '_' and '@', begins with a letter or digit, and not \
             with muster"
                .into(),
        ));
    }
    Ok(())
}
