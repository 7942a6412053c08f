//! Who may do what with topics, for those who have to answer it themselves: the gate, and the agent where the broker asks it.

use std::collections::{BTreeMap, BTreeSet};

use muster_api::agent::Rules;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::beside::broker::Orders;

/// The rules of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessList {
    /// Of those that have none of their own.
    default: Rules,
    devices: BTreeMap<String, Rules>,
    /// Who may do nothing.
    denied: BTreeSet<String>,
    /// Who may not even come in.
    #[serde(default)]
    shut_out: BTreeSet<String>,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the device.
    Publish,
    /// To the device.
    Subscribe,
}

impl AccessList {
    /// What these orders say, as a file.
    pub(crate) fn of(orders: &Orders) -> Result<String, Error> {
        let list = Self {
            default: orders.default.clone(),
            devices: orders.devices.clone(),
            denied: orders.denied.clone(),
            shut_out: orders.shut_out.clone(),
        };
        serde_json::to_string(&list).map_err(|why| Error::new(why.to_string()))
    }

    /// Reads such a file.
    pub(crate) fn read(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::new(format!("the access list cannot be read: {why}"));
        serde_json::from_str(text).map_err(bad)
    }

    /// Whether a device may come in, as far as its name goes.
    pub(crate) fn lets_in(&self, device: &str) -> bool {
        !self.shut_out.contains(device)
    }

    /// The devices whose own rules are others than `before`; none if those of most devices are.
    pub(crate) fn changed(&self, before: &Self) -> Option<Vec<String>> {
        let names = self.devices.keys().chain(before.devices.keys());
        let names: BTreeSet<&String> = names
            .filter(|name| self.devices.get(*name) != before.devices.get(*name))
            .collect();
        (self.default == before.default).then(|| names.into_iter().cloned().collect())
    }

    /// The devices that may come in and, by `before`, could not.
    pub(crate) fn let_in_since(&self, before: &Self) -> Vec<String> {
        before.shut_out.difference(&self.shut_out).cloned().collect()
    }

    /// Whether a device may publish to, or receive, everything that matches a filter; a topic is one, too.
    pub(crate) fn allows(&self, device: &str, way: Way, filter: &str) -> bool {
        self.judge(device, way, |rule| covers(rule, filter))
    }
}

impl AccessList {
    /// The same where dots and slashes are one: by rules without dots alone.
    pub(crate) fn allows_dotless(&self, device: &str, way: Way, filter: &str) -> bool {
        self.judge(device, way, |rule| {
            !rule.contains(['.', '*']) && covers(rule, filter)
        })
    }

    fn judge(&self, device: &str, way: Way, fits: impl Fn(&str) -> bool) -> bool {
        if self.denied.contains(device) {
            return false;
        }
        let rules = self.devices.get(device).unwrap_or(&self.default);
        let rules = match way {
            Way::Publish => &rules.publish,
            Way::Subscribe => &rules.subscribe,
        };
        rules.iter().any(|rule| fits(&named(rule, device)))
    }
}

/// A rule with the device's name filled in.
pub(crate) fn named(filter: &str, name: &str) -> String {
    let levels = filter
        .split('/')
        .map(|level| if level == "%u" { name } else { level });
    levels.collect::<Vec<_>>().join("/")
}

/// Whether every topic that matches `inner` matches `outer`.
pub(crate) fn covers(outer: &str, inner: &str) -> bool {
    if dollar(outer, inner) {
        return false;
    }
    let (mut outer, mut inner) = (outer.split('/'), inner.split('/'));
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, Some("#")) | (None, Some(_)) | (Some(_), None) => return false,
            (Some("+"), Some(_)) => {}
            (Some(outer), Some(inner)) if outer == inner => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

/// Whether `filter` begins with a wildcard and `topic` with $, which it does not match (MQTT 3.1.1, section 4.7.2).
pub(crate) fn dollar(filter: &str, topic: &str) -> bool {
    filter.starts_with(['+', '#']) && topic.starts_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_its_own_rules_and_no_others() {
        let own = |topic: &str| Rules {
            publish: vec![topic.into()],
            subscribe: vec![topic.into()],
        };
        let list = AccessList {
            default: own("fleet/%u/#"),
            devices: BTreeMap::from([("narrow".into(), own("plant/+/x"))]),
            denied: BTreeSet::from(["gone".into()]),
            shut_out: BTreeSet::new(),
        };
        let may = |device, filter| list.allows(device, Way::Subscribe, filter);
        assert!(
            may("dev-1", "fleet/dev-1/a") && may("dev-1", "fleet/dev-1") && may("dev-1", "fleet/dev-1/+/#")
        );
        for foreign in [
            "fleet/dev-10/a",
            "fleet/dev-/a",
            "fleet/+/a",
            "fleet/#",
            "#",
            "+/dev-1/a",
            "$SYS/x",
        ] {
            assert!(!may("dev-1", foreign), "{foreign}");
        }
        assert!(may("narrow", "plant/7/x") && may("narrow", "plant/+/x"));
        assert!(!may("narrow", "fleet/narrow/a") && !may("narrow", "plant/#"));
        assert!(!may("gone", "fleet/gone/a"));
    }
}
