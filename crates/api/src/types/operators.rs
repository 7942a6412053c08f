//! Operators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /operators/{name}/password`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// What the operator logs in with from now on.
    pub password: String,
}

/// `POST /operators`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddOperator {
    /// Its name.
    pub name: String,
    /// `admin`, `operator`, `viewer` or `auditor`.
    pub role: String,
    /// Whether it is a person who logs in to the GUI, by an invitation; else it gets an API key.
    #[serde(default)]
    pub person: bool,
}

/// `POST /operators/{name}/role`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRole {
    /// `admin`, `operator`, `viewer` or `auditor`.
    pub role: String,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Operator {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// Since when.
    pub created: String,
    /// Whether it has a password to log in to the GUI with.
    pub logs_in: bool,
    /// Whether logging in asks for a one-time code, too.
    pub second_factor: bool,
    /// Whether it has an API key.
    pub has_key: bool,
    /// The API key; only in the answer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The path, below the GUI's address, where it chooses a password, once and within a week; only in the answer that makes
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}

/// An operator's new API key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NewKey {
    /// The operator.
    pub name: String,
    /// The key; absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An operator's new invitation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Invitation {
    /// The operator.
    pub name: String,
    /// The path, below the GUI's address, where it chooses a password, once and within a week; absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}
