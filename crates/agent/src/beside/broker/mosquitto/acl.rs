//! Topic rules as Mosquitto's access list.
//!
//! Mosquitto asks the lines below `user NAME` first, refusals before permissions, and then the patterns, again refusals first
//! (`security_default.c`). So a pattern holds for those with rules of their own, too, and what it gives them has to be taken
//! away: by a refusal below their name, which comes before all of their permissions, or by one among the patterns, which comes
//! after their permissions but holds for everybody. [`withhold`] takes the one that hurts nobody. Where both would, the device
//! gets less than its rules say, and that is said.

use std::fmt::Write;

use muster_api::agent::Rules;

use crate::beside::access::{covers, dollar, named};
use crate::beside::broker::Orders;

const HEAD: &str = "# Written by the Muster agent; changes are overwritten.\n";

/// The access list, and where it gives less than the rules say.
pub(super) fn render(orders: &Orders) -> (String, Vec<String>) {
    let (mut users, mut refusals, mut shortfalls) = (String::new(), String::new(), Vec::new());
    for (name, rules) in &orders.devices {
        let less = narrower(&orders.default, rules, name);
        // Mosquitto takes half a second for 10,000 blocks, each time: those that say nothing new are left out.
        let says_nothing = less.is_empty() && is_given(&orders.default, rules, name);
        if orders.denied.contains(name) || says_nothing {
            continue;
        }
        line(&mut users, &format!("user {name}"));
        for default in less {
            match withhold(&default, rules, &orders.default, name) {
                Withhold::BelowName => line(&mut users, &format!("topic deny {default}")),
                Withhold::AmongPatterns => line(&mut refusals, &format!("pattern deny {default}")),
                Withhold::Both(lost) => {
                    line(&mut users, &format!("topic deny {default}"));
                    shortfalls.push(format!(
                        "{name} may not use {lost:?} on this broker although its rules say so: most devices may use {default:?}, \
                         and Mosquitto cannot tell the two apart (let the default rules name %u, or let the device's own \
                         cover {default:?} or keep clear of it)"
                    ));
                }
            }
        }
        permissions(&mut users, "topic", rules);
    }
    for name in &orders.denied {
        line(&mut users, &format!("user {name}"));
        line(&mut users, "topic deny #");
        // `#` does not match what begins with $ (MQTT 3.1.1, section 4.7.2).
        for filter in filters(&orders.default).filter(|filter| filter.starts_with('$')) {
            line(&mut users, &format!("topic deny {}", named(filter, name)));
        }
    }
    let mut text = format!("{HEAD}{refusals}");
    permissions(&mut text, "pattern", &orders.default);
    text.push_str(&users);
    (text, shortfalls)
}

enum Withhold {
    BelowName,
    AmongPatterns,
    /// This permission goes with it.
    Both(String),
}

/// How to take `default` (with the name filled in) from a device, whose own rules do not cover it.
fn withhold(default: &str, own: &Rules, all: &Rules, name: &str) -> Withhold {
    let lost = filters(own).find(|own| overlap(own, default, None));
    let Some(lost) = lost else {
        return Withhold::BelowName;
    };
    if filters(all).any(|other| overlap(other, default, Some(name))) {
        return Withhold::Both(lost.to_owned());
    }
    Withhold::AmongPatterns
}

/// What the default gives to a device that its own rules do not.
fn narrower(default: &Rules, own: &Rules, name: &str) -> Vec<String> {
    let missing = |default: &[String], own: &[String]| -> Vec<String> {
        let filled = default.iter().map(|filter| named(filter, name));
        filled
            .filter(|filter| !own.iter().any(|own| covers(own, filter)))
            .collect()
    };
    let mut all = missing(&default.publish, &own.publish);
    all.extend(missing(&default.subscribe, &own.subscribe));
    all.sort();
    all.dedup();
    all
}

/// Whether the default gives a device all that its own rules do.
fn is_given(default: &Rules, own: &Rules, name: &str) -> bool {
    let given = |default: &[String], own: &[String]| {
        own.iter()
            .all(|own| default.iter().any(|filter| covers(&named(filter, name), own)))
    };
    given(&default.publish, &own.publish) && given(&default.subscribe, &own.subscribe)
}

fn permissions(text: &mut String, word: &str, rules: &Rules) {
    for filter in &rules.publish {
        let access = if rules.subscribe.contains(filter) {
            "readwrite"
        } else {
            "write"
        };
        line(text, &format!("{word} {access} {filter}"));
    }
    for filter in rules
        .subscribe
        .iter()
        .filter(|filter| !rules.publish.contains(filter))
    {
        line(text, &format!("{word} read {filter}"));
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn filters(rules: &Rules) -> impl Iterator<Item = &str> {
    rules.publish.iter().chain(&rules.subscribe).map(String::as_str)
}

/// Whether a topic can match both. In `one`, `%u` stands for every name but `except`.
fn overlap(one: &str, other: &str, except: Option<&str>) -> bool {
    if dollar(one, other) || dollar(other, one) {
        return false;
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some("%u"), Some(level)) if except.is_some() => {
                if Some(level) == except {
                    return false;
                }
            }
            (Some(one), Some(other)) if one == other => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn rules(publish: &[&str], subscribe: &[&str]) -> Rules {
        let own = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        Rules {
            publish: own(publish),
            subscribe: own(subscribe),
        }
    }

    fn orders(default: Rules, devices: &[(&str, Rules)], denied: &[&str]) -> Orders {
        let devices = devices
            .iter()
            .map(|(name, rules)| ((*name).to_owned(), rules.clone()));
        Orders {
            default,
            devices: devices.collect::<BTreeMap<_, _>>(),
            denied: denied
                .iter()
                .map(|&name| name.to_owned())
                .collect::<BTreeSet<_>>(),
            ..Orders::default()
        }
    }

    /// Mosquitto 2.0.11's `mosquitto_acl_check_default`, told from its source.
    fn allows(list: &str, name: &str, topic: &str, write: bool) -> bool {
        let (mut own, mut patterns, mut user) = (Vec::new(), Vec::new(), None);
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap();
            if word == "user" {
                user = Some(rest.to_owned());
                continue;
            }
            let (access, filter) = rest.split_once(' ').unwrap();
            match (word, &user) {
                ("pattern", _) => patterns.push((access, named(filter, name))),
                ("topic", Some(user)) if user == name => own.push((access, filter.to_owned())),
                _ => {}
            }
        }
        for list in [own, patterns] {
            let matching: Vec<_> = list.iter().filter(|(_, filter)| covers(filter, topic)).collect();
            if matching.iter().any(|(access, _)| *access == "deny") {
                return false;
            }
            let wanted = if write { "write" } else { "read" };
            if matching
                .iter()
                .any(|(access, _)| *access == wanted || *access == "readwrite")
            {
                return true;
            }
        }
        false
    }

    #[test]
    fn the_default_is_a_pattern_and_own_rules_take_its_place() {
        let default = rules(&["fleet/%u/#"], &["fleet/%u/#"]);
        let narrow = rules(&["fleet/narrow/up"], &[]);
        let wide = rules(&["fleet/#"], &["fleet/#"]);
        let other = rules(&["else/where"], &["else/where"]);
        let devices = [("narrow", narrow), ("wide", wide), ("other", other)];
        let (list, shortfalls) = render(&orders(default, &devices, &["out"]));
        assert!(shortfalls.is_empty());
        for (name, topic, write, expected) in [
            ("dev", "fleet/dev/x", true, true),
            ("dev", "fleet/dev2/x", true, false),
            ("dev", "fleet/narrow/x", false, false),
            ("narrow", "fleet/narrow/up", true, true),
            ("narrow", "fleet/narrow/up", false, false),
            ("narrow", "fleet/narrow/x", true, false),
            ("wide", "fleet/narrow/x", false, true),
            ("wide", "fleet/wide/x", true, true),
            ("other", "else/where", true, true),
            ("other", "fleet/other/x", true, false),
            ("out", "fleet/out/x", true, false),
        ] {
            assert_eq!(
                allows(&list, name, topic, write),
                expected,
                "{name} {topic} {write}\n{list}"
            );
        }
    }

    #[test]
    fn what_mosquitto_cannot_tell_apart_is_less_and_said() {
        let default = rules(&[], &["news/#", "fleet/%u/#"]);
        let own = rules(&[], &["news/today"]);
        let (list, shortfalls) = render(&orders(default, &[("one", own)], &[]));
        assert_eq!(shortfalls.len(), 1, "{shortfalls:?}");
        assert!(!allows(&list, "one", "news/today", false));
        assert!(!allows(&list, "one", "news/other", false));
        assert!(allows(&list, "two", "news/other", false));
    }

    /// Nobody gets more than the rules say, and without a shortfall nobody gets less.
    #[test]
    fn any_rules_give_what_they_say() {
        const LEVELS: [&str; 6] = ["a", "b", "+", "d1", "d2", "#"];
        bolero::check!()
            .with_iterations(3000)
            .with_type::<Vec<u8>>()
            .for_each(|bytes| {
                let mut bytes = bytes.iter().copied().chain(std::iter::repeat(0));
                let mut filter = |default: bool| {
                    let mut levels = Vec::new();
                    for _ in 0..3 {
                        let byte = usize::from(bytes.next().unwrap());
                        levels.push(match LEVELS[byte % 6] {
                            "d1" | "d2" if default => "%u",
                            level => level,
                        });
                        if byte >= 128 || levels.last() == Some(&"#") {
                            break;
                        }
                    }
                    levels.join("/")
                };
                let default = rules(&[&filter(true)], &[&filter(true)]);
                let own = rules(&[&filter(false)], &[&filter(false)]);
                let (list, shortfalls) = render(&orders(default.clone(), &[("d1", own.clone())], &["d3"]));
                for topic in [
                    "a", "b", "d1", "a/b", "a/d1", "d1/a", "d2/a", "d1/d2", "a/d1/b", "a/d2/b", "d3/a",
                ] {
                    for write in [true, false] {
                        let says = |rules: &Rules, name: &str| {
                            let filters = if write { &rules.publish } else { &rules.subscribe };
                            filters.iter().any(|filter| covers(&named(filter, name), topic))
                        };
                        let own_gets = allows(&list, "d1", topic, write);
                        assert!(!own_gets || says(&own, "d1"), "more\n{list}{topic}");
                        assert!(
                            own_gets || !says(&own, "d1") || !shortfalls.is_empty(),
                            "less\n{list}{topic}"
                        );
                        assert_eq!(
                            allows(&list, "d2", topic, write),
                            says(&default, "d2"),
                            "\n{list}{topic}"
                        );
                        assert!(!allows(&list, "d3", topic, write));
                    }
                }
            });
    }
}
