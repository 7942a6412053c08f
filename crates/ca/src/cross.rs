//! A root that follows another: the one before vouches for it with a cross-certificate, so that whoever believes the one can believe
//! the other.

use jiff::Timestamp;
use muster_pki::cert::{Certificate, Role, Template};

use crate::Ca;
use crate::authority::{Follows, INTERNAL, MAX_LINE, ROOT, follower, line};
use crate::error::{Error, Refusal};
use crate::ports::Signer;
use crate::setup::sign;
use crate::state::pointers;

/// An authority whose root another may follow.
pub(crate) struct Older {
    name: String,
    root: Certificate,
    /// The name of the root's key in the root signer.
    key: String,
    /// What its cross-certificate may be.
    path_len: Option<u8>,
}

impl Ca {
    /// The authority of this name, if another's root may follow its root.
    pub(crate) fn older(&self, name: &str, now: Timestamp) -> Result<Older, Error> {
        if name == INTERNAL {
            let why = "nothing follows the authority \"internal\": it is for agents and operators, and no device believes it";
            return Err(Error::Bad(why.into()));
        }
        let all = self.authorities();
        if let Some(follower) = follower(&all, name) {
            return Err(Error::Conflict(format!(
                "{} follows {name} already; let the new one follow {}",
                follower.name, follower.name
            )));
        }
        let state = self.state.load();
        let loaded = state.authority(name)?;
        if line(&all, name).len() == MAX_LINE {
            return Err(Error::Conflict(format!(
                "{MAX_LINE} roots follow one another up to {name}, and no more can"
            )));
        }
        let root = loaded.root.clone();
        let refuse = |why: String| {
            let fix = "without --follows it is an authority of its own, whose root devices and brokers have to be given";
            Error::from(Refusal::new(why).fix(fix))
        };
        if root.not_after() <= now {
            return Err(refuse(format!(
                "the root of {name} ended on {}",
                root.not_after()
            )));
        }
        let key = loaded.record.root()?.key.clone();
        let key = key.ok_or_else(|| refuse(format!("the key of the root of {name} is not here")))?;
        let path_len = root.authority().flatten();
        if path_len.is_some_and(|most| most < 2) {
            let why = "by its path length only one CA may stand below it";
            return Err(refuse(format!(
                "the root of {name} cannot vouch for another: {why}"
            )));
        }
        Ok(Older {
            name: name.to_owned(),
            root,
            key,
            path_len: path_len.map(|most| most - 1),
        })
    }

    /// The older root's word for the new one. It holds while both do.
    pub(crate) async fn vouch(
        &self,
        older: &Older,
        root: &Certificate,
        root_signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Follows, Error> {
        let unnamed = || Error::Internal("the new root has no name".into());
        let serial = self.serial(now)?;
        let template = Template {
            serial: serial.as_bytes(),
            common_name: &root.common_name().ok_or_else(unnamed)?,
            sans: &[],
            not_before: root.not_before().max(older.root.not_before()),
            not_after: root.not_after().min(older.root.not_after()),
            key: root.key(),
            role: Role::Authority {
                path_len: older.path_len,
            },
            pointers: &pointers(self.settings.public_url.as_deref(), &older.name, ROOT),
        };
        let issuer = older.root.as_issuer()?;
        let cross = sign(root_signer, &older.key, root.key(), &template, Some(&issuer)).await?;
        Ok(Follows {
            authority: older.name.clone(),
            cross: cross.der().to_vec(),
        })
    }
}
