//! Of operators, brokers, provisioners and profiles: which, and in which order.

use muster_ca::Error;
use muster_ca::broker::Program;
use muster_ca::broker::agent::StandingState;
use muster_ca::device::Kind;
use muster_ca::list::{
    BrokerList, BrokerSort, OperatorList, OperatorSort, ProfileList, ProfileSort, ProvisionerList,
    ProvisionerSort,
};
use muster_ca::operator::Role;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{choice, given, order, paging, prefix};

/// Which operators.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OperatorQuery {
    /// `all`, `admin`, `operator`, `viewer` or `auditor`.
    pub(crate) role: Option<String>,
    /// The beginning of a name.
    pub(crate) q: Option<String>,
    /// `name`, `role` or `created`; with `-` in front the greatest comes first.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl OperatorQuery {
    pub(super) fn wish(&self) -> Result<OperatorList, Error> {
        let (sort, descending) = order(&self.sort, "name", &OPERATOR_SORTS)?;
        Ok(OperatorList {
            role: choice(&self.role, "role", &Role::ALL.map(|(role, word)| (word, role)))?,
            prefix: prefix(&self.q),
            sort,
            descending,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

const OPERATOR_SORTS: [(&str, OperatorSort); 3] = [
    ("name", OperatorSort::Name),
    ("role", OperatorSort::Role),
    ("created", OperatorSort::Created),
];

/// Which brokers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BrokerQuery {
    /// `all`, `proven`, `unconfirmed`, `silent`, `waiting` or `retired`.
    pub(crate) state: Option<String>,
    /// `all`, `mosquitto`, `rabbitmq`, `emqx`, `haproxy` or `gate`.
    pub(crate) program: Option<String>,
    /// The beginning of a name.
    pub(crate) q: Option<String>,
    /// `state`: what needs somebody comes first; or `name`, `proof`, `certificate`, `crl`, `sessions` or `created`; with `-` in
    /// front it is turned round.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl BrokerQuery {
    pub(super) fn wish(&self) -> Result<BrokerList, Error> {
        let (sort, descending) = order(&self.sort, "state", &BROKER_SORTS)?;
        let states = StandingState::ALL.map(|(state, word)| (word, state));
        let programs = Program::ALL.map(|(program, word)| (word, program));
        Ok(BrokerList {
            state: choice(&self.state, "state", &states)?,
            program: choice(&self.program, "program", &programs)?,
            prefix: prefix(&self.q),
            sort,
            descending,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

const BROKER_SORTS: [(&str, BrokerSort); 7] = [
    ("state", BrokerSort::State),
    ("name", BrokerSort::Name),
    ("proof", BrokerSort::Proof),
    ("certificate", BrokerSort::Certificate),
    ("crl", BrokerSort::Crl),
    ("sessions", BrokerSort::Sessions),
    ("created", BrokerSort::Created),
];

/// Which provisioners.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProvisionerQuery {
    /// That name this profile.
    pub(crate) profile: Option<String>,
    /// The beginning of a name.
    pub(crate) q: Option<String>,
    /// `name` or `created`; with `-` in front the greatest comes first.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl ProvisionerQuery {
    pub(super) fn wish(&self) -> Result<ProvisionerList, Error> {
        let (sort, descending) = order(&self.sort, "name", &PROVISIONER_SORTS)?;
        Ok(ProvisionerList {
            profile: given(&self.profile).map(str::to_owned),
            prefix: prefix(&self.q),
            sort,
            descending,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

const PROVISIONER_SORTS: [(&str, ProvisionerSort); 2] = [
    ("name", ProvisionerSort::Name),
    ("created", ProvisionerSort::Created),
];

/// Which profiles.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProfileQuery {
    /// `all`, `client`, `server` or `broker`.
    pub(crate) kind: Option<String>,
    /// The beginning of a name.
    pub(crate) q: Option<String>,
    /// `name`, `kind` or `validity`; with `-` in front the greatest comes first.
    pub(crate) sort: Option<String>,
    /// How many rows.
    pub(crate) limit: Option<usize>,
    /// Where the page begins.
    pub(crate) cursor: Option<String>,
    /// `json`, `jsonl` or `csv`.
    pub(crate) format: Option<String>,
}

impl ProfileQuery {
    pub(super) fn wish(&self) -> Result<ProfileList, Error> {
        let (sort, descending) = order(&self.sort, "name", &PROFILE_SORTS)?;
        Ok(ProfileList {
            kind: choice(&self.kind, "kind", &Kind::ALL.map(|(kind, word)| (word, kind)))?,
            prefix: prefix(&self.q),
            sort,
            descending,
            paging: paging(&self.cursor, self.limit)?,
        })
    }
}

const PROFILE_SORTS: [(&str, ProfileSort); 3] = [
    ("name", ProfileSort::Name),
    ("kind", ProfileSort::Kind),
    ("validity", ProfileSort::Validity),
];
