//! Topic rules: where a device may publish, and what it may receive.

use serde::{Deserialize, Serialize};

use crate::Ca;
use crate::device::{DeviceName, State};
use crate::enrol::who::Proof;
use crate::error::Error;
use crate::operator::Permission;
use crate::ports::{Change, Write};

/// What stands for the device's name in the rules of a profile.
pub const NAME: &str = "%u";
/// What stands for the parts of a name such as dojot's `tenant:id`: before its first colon, and after it. A rule with one of
/// them gives nothing to a device whose name has no colon.
const PARTS: [&str; 2] = ["%t", "%i"];
/// The most filters in each direction.
const MAX_FILTERS: usize = 32;
/// The longest filter, in bytes.
const MAX_FILTER: usize = 256;

/// Topic filters (MQTT 5.0, section 4.7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Where it may publish.
    #[serde(default)]
    pub publish: Vec<String>,
    /// What it may receive.
    #[serde(default)]
    pub subscribe: Vec<String>,
}

impl Rules {
    /// What devices may do unless their profile or an operator says otherwise: everything below `fleet/` and their name, and say
    /// whether they are online.
    pub fn usual() -> Self {
        let own = format!("fleet/{NAME}/#");
        Self {
            publish: vec![own.clone(), format!("status/{NAME}")],
            subscribe: vec![own],
        }
    }

    /// The rules of the device with this name.
    pub fn of(&self, name: &DeviceName) -> Self {
        let name = name.as_str();
        let fill_one = |filter: &String| {
            let filter = filter.replace(NAME, name);
            if !PARTS
                .iter()
                .any(|part| filter.split('/').any(|level| level == *part))
            {
                return Some(filter);
            }
            let (tenant, id) = name.split_once(':')?;
            let levels = filter.split('/').map(|level| match level {
                "%t" => tenant,
                "%i" => id,
                level => level,
            });
            Some(levels.collect::<Vec<_>>().join("/"))
        };
        let fill = |filters: &[String]| filters.iter().filter_map(fill_one).collect();
        Self {
            publish: fill(&self.publish),
            subscribe: fill(&self.subscribe),
        }
    }

    /// Whether a rule stands for a part of the name: a broker cannot fill that in by itself.
    pub(crate) fn has_parts(&self) -> bool {
        let mut all = self.publish.iter().chain(&self.subscribe);
        all.any(|filter| filter.split('/').any(|level| PARTS.contains(&level)))
    }

    /// Refuses filters that are none, or that a file of rules could not hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (list, word) in [(&self.publish, "publish"), (&self.subscribe, "subscribe")] {
            if list.len() > MAX_FILTERS {
                return Err(format!("{word} has at most {MAX_FILTERS} topic filters"));
            }
            for filter in list {
                check_filter(filter).map_err(|why| format!("{filter:?} is no topic filter: {why}"))?;
            }
        }
        Ok(())
    }
}

fn check_filter(filter: &str) -> Result<(), String> {
    if filter.is_empty() || filter.len() > MAX_FILTER {
        return Err(format!("it has 1 to {MAX_FILTER} bytes"));
    }
    if filter.chars().any(char::is_control) || filter.trim() != filter {
        return Err("control characters and blanks at its ends do not go into one".into());
    }
    if filter.starts_with('$') || filter == "#" || filter.starts_with("+/") {
        return Err("everybody's topics and the broker's own are not given to devices".into());
    }
    let levels: Vec<_> = filter.split('/').collect();
    for (at, level) in levels.iter().enumerate() {
        if level.contains('#') && (*level != "#" || at + 1 != levels.len()) {
            return Err("# stands alone and at the end".into());
        }
        if level.contains('+') && *level != "+" {
            return Err("+ stands alone between slashes".into());
        }
        for word in [NAME, PARTS[0], PARTS[1]] {
            if level.contains(word) && *level != word {
                return Err(format!(
                    "{word} stands alone between slashes: a name may be a part of another"
                ));
            }
        }
    }
    Ok(())
}

impl Ca {
    /// The rules that a device follows, and whether they are its own.
    pub async fn access_of(&self, proof: Proof, name: &DeviceName) -> Result<(Rules, bool), Error> {
        self.operator(proof, Permission::Read).await?;
        let device = self.known_device(name).await?;
        Ok(match self.store.access_of(name).await? {
            Some(own) => (own, true),
            None => (self.profile_rules(&device.profile).of(name), false),
        })
    }

    /// Gives a device rules of its own in place of its profile's, or takes them away.
    pub async fn set_access(
        &self,
        proof: Proof,
        name: &DeviceName,
        rules: Option<Rules>,
    ) -> Result<(), Error> {
        let caller = self.operator(proof, Permission::Operate).await?;
        let device = self.known_device(name).await?;
        if device.state == State::Retired {
            return Err(Error::Conflict(format!("the device {name} is retired")));
        }
        if let Some(rules) = &rules {
            rules.check().map_err(Error::Bad)?;
            if rules.has_parts() && !name.as_str().contains(':') {
                return Err(Error::Bad(format!(
                    "%t and %i are the parts of a name such as tenant:id, and {name} is none"
                )));
            }
        }
        let rules = rules.map(|rules| rules.of(name));
        let detail = serde_json::json!({ "rules": rules }).to_string();
        let act = caller.act(self.clock.now(), "device.access", name.to_string(), detail);
        let name = name.clone();
        let writes = vec![Write::Access {
            name: name.clone(),
            rules,
        }];
        self.store.commit(Change { writes, act }).await?;
        if !caller.dry_run() {
            self.reports.forgive(&name);
        }
        self.news.notify(usize::MAX);
        Ok(())
    }

    /// What devices of a profile may do.
    pub(crate) fn profile_rules(&self, profile: &str) -> Rules {
        let profile = self.settings.profiles.get(profile);
        profile.map_or_else(|_| Rules::usual(), |profile| profile.rules().clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn parts_of_a_name_are_filled_in_for_those_who_have_them() {
        let rules = Rules {
            publish: vec!["/%t/%i/attrs".into(), "fleet/%u/#".into()],
            subscribe: vec!["/%t/%i/config".into()],
        };
        rules.check().unwrap();
        let of = |name: &str| rules.of(&DeviceName::restored(name.into()));
        assert_eq!(
            of("admin:8fa3").publish,
            ["/admin/8fa3/attrs", "fleet/admin:8fa3/#"]
        );
        assert_eq!(of("admin:8fa3").subscribe, ["/admin/8fa3/config"]);
        assert_eq!(of("site-1").publish, ["fleet/site-1/#"]);
        assert!(of("site-1").subscribe.is_empty());
        check_filter("a/x%t/b").unwrap_err();
    }

    #[test]
    fn filters_are_what_mqtt_takes_and_nobody_gets_everything() {
        for good in ["fleet/%u/#", "a", "a/+/b", "/tenant/id/attrs", "a/#", "a b/c"] {
            check_filter(good).unwrap();
        }
        for bad in [
            "",
            "#",
            "$SYS/#",
            "+/a",
            "a/#/b",
            "a#",
            "a+/b",
            "fleet/x%u/#",
            "a\nb",
            " a",
            "a ",
        ] {
            assert!(check_filter(bad).is_err(), "{bad:?}");
        }
    }
}
