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
    const ALL: [(Self, &'static str); 4] = [
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

/// An operator as recorded. API keys are 256 random bits, so a plain hash of one says nothing about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Name, as audit entries show it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 over the API key.
    pub key: [u8; 32],
    /// Since when.
    pub created: Timestamp,
}
