//! What operators do with what they log in with themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Operator;

/// Who asks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The operator.
    #[serde(flatten)]
    pub operator: Operator,
    /// Its sessions in the GUI, newest first.
    pub sessions: Vec<Session>,
}

/// A session in the GUI.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// What it is ended by; proves nothing.
    pub id: String,
    /// When somebody logged in.
    pub began: String,
    /// When it was used last, to some minutes.
    pub used: String,
    /// From which address somebody logged in.
    pub source: String,
}

/// `POST /account/password`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password until now.
    pub current: String,
    /// The password from now on.
    pub password: String,
}

/// A secret for an app that makes one-time codes; nothing is changed until a code of it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CodeSecret {
    /// The secret, base32.
    pub secret: String,
    /// The same for a QR code.
    pub url: String,
}

/// `POST /account/code`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCode {
    /// The password.
    pub current: String,
    /// The secret, as `GET /account/code` gave it.
    pub secret: String,
    /// The code that the app shows now.
    pub code: String,
}

/// `POST /account/code/remove`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveCode {
    /// The password.
    pub current: String,
}
