//! Operators: persons and programs that use the GUI, the command line or the REST API.

use jiff::Timestamp;

use crate::error::Refusal;

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything, authorities and operators included.
    Admin,
    /// Devices, certificates and tokens.
    Operator,
    /// Look at everything but the audit log.
    Viewer,
    /// Look at everything, the audit log included.
    Auditor,
}

impl Role {
    /// Every role, with the word for it.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Admin, "admin"),
        (Self::Operator, "operator"),
        (Self::Viewer, "viewer"),
        (Self::Auditor, "auditor"),
    ];

    /// Reads the word for it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(role, _)| *role)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(role, _)| *role == self)
            .map_or("viewer", |(_, name)| name)
    }
}

/// What somebody wants to do, as roles see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Look at devices, certificates, tokens, authorities.
    Read,
    /// Look at the audit log.
    ReadAudit,
    /// Create devices and tokens, issue, revoke, suspend, resume.
    Operate,
    /// Change authorities, provisioners and operators.
    Administer,
}

impl Permission {
    /// Whether a role includes this.
    pub fn is_given_to(self, role: Role) -> bool {
        match self {
            Self::Read => true,
            Self::ReadAudit => matches!(role, Role::Admin | Role::Auditor),
            Self::Operate => matches!(role, Role::Admin | Role::Operator),
            Self::Administer => role == Role::Admin,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Read => "look at this",
            Self::ReadAudit => "read the audit log",
            Self::Operate => "change devices, certificates and tokens",
            Self::Administer => "change authorities, provisioners and operators",
        }
    }

    /// Refuses a role that does not include this.
    pub(crate) fn demand(self, role: Role) -> Result<(), Refusal> {
        if self.is_given_to(role) {
            return Ok(());
        }
        Err(
            Refusal::new(format!("the role {} may not {}", role.as_str(), self.words()))
                .fix("ask somebody with the role admin"),
        )
    }
}

/// An operator as recorded: a program with an API key, a person who logs in, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Name, as audit entries show it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 over the API key. Keys are 256 random bits, so a plain hash of one says nothing about it.
    pub key: Option<[u8; 32]>,
    /// What it logs in with.
    pub login: Option<Login>,
    /// Since when.
    pub created: Timestamp,
}

/// What a person logs in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The password's Argon2id hash with its salt and costs, a PHC string.
    pub password: String,
    /// The secret that one-time codes are made of (RFC 6238), if there shall be a second factor.
    pub totp: Option<Vec<u8>>,
}

impl Login {
    /// Changes with the password and with the second factor: sessions end when it does.
    pub(crate) fn stamp(&self) -> [u8; 32] {
        let mut bytes = self.password.clone().into_bytes();
        bytes.push(0);
        bytes.extend_from_slice(self.totp.as_deref().unwrap_or_default());
        muster_pki::key::sha256(&bytes)
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}
