//! Compares what is there with what the plan allows. Every breach is one line: where, what, why.

use crate::rules::{ARROWS, BANS, Ban, LONGEST_FILE, OUTSIDE, TEST_ARROWS, TLS_STACKS, WALLS, Wall};
use crate::source::{Name, Source};
use crate::workspace::Package;

/// Arrows between crates of ours, and what comes from outside.
pub(crate) fn dependencies(packages: &[Package]) -> Vec<String> {
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    packages
        .iter()
        .flat_map(|package| dependencies_of(package, &ours))
        .collect()
}

fn dependencies_of(package: &Package, ours: &[&str]) -> Vec<String> {
    let name = package.name.as_str();
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "{name} is not in the plan: what does it forbid, or where does it ship that the rest does not?"
        )];
    };
    let mut breaches = Vec::new();
    for dependency in &package.dependencies {
        let other = dependency.name.as_str();
        // Tests may stand on anything from outside, and on what is listed.
        let shipped = dependency.kind.as_deref() != Some("dev");
        let let_through = allowed.contains(&other) || !shipped && TEST_ARROWS.contains(&(name, other));
        if ours.contains(&other) && !let_through {
            breaches.push(format!(
                "{name} depends on {other}; it may depend on {allowed:?} of ours"
            ));
        }
        let rule = OUTSIDE.iter().find(|(outside, _, _)| *outside == other);
        if let Some((_, users, why)) = rule.filter(|(_, users, _)| shipped && !users.contains(&name)) {
            breaches.push(format!("{name} depends on {other}; only {users:?} may: {why}"));
        }
    }
    breaches
}

/// Modules that must not see each other.
pub(crate) fn walls(source: &Source) -> Vec<String> {
    if !source.shipped {
        return Vec::new();
    }
    let crossings = source.names.iter().filter_map(|name| {
        let inside = name
            .path
            .split_first()
            .filter(|(krate, _)| **krate == source.krate)?
            .1;
        let wall = WALLS.iter().find(|wall| crosses(wall, source, inside))?;
        Some(breach(source, name, wall.words()))
    });
    crossings.collect()
}

impl Wall {
    fn words(&self) -> String {
        match self {
            Self::Between(_, modules) => format!("{} do not see each other", modules.join(", ")),
            Self::AllBelow(_, parent) => format!("what is below {parent} does not see its neighbours"),
        }
    }
}

fn crosses(wall: &Wall, source: &Source, to: &[String]) -> bool {
    let Source {
        krate,
        module: from,
        modules,
        ..
    } = source;
    match wall {
        Wall::Between(of, modules) => {
            let zone = |path: &[String]| {
                path.first()
                    .filter(|first| modules.contains(&first.as_str()))
                    .cloned()
            };
            of == krate && matches!((zone(from), zone(to)), (Some(one), Some(other)) if one != other)
        }
        Wall::AllBelow(of, parent) => {
            let parent: Vec<String> = parent.split("::").map(str::to_owned).collect();
            let zone = |path: &[String]| path.strip_prefix(&parent[..])?.first().cloned();
            // What the parent itself offers to all of them is no neighbour.
            let is_module = |name: &str| modules.contains(&[&parent[..], &[name.to_owned()]].concat());
            of == krate
                && matches!((zone(from), zone(to)), (Some(one), Some(other)) if one != other && is_module(&other))
        }
    }
}

/// Paths that are out of bounds.
pub(crate) fn bans(source: &Source) -> Vec<String> {
    if !source.shipped {
        return Vec::new();
    }
    let broken = |name: &Name| {
        let ban = BANS
            .iter()
            .find(|ban| ban.holds_for(source) && ban.hits(&name.text()))?;
        Some(breach(source, name, ban.why.to_owned()))
    };
    source.names.iter().filter_map(broken).collect()
}

impl Ban {
    fn holds_for(&self, source: &Source) -> bool {
        let named = self.crates.is_empty() || self.crates.contains(&source.krate.as_str());
        named && !self.except.iter().any(|file| source.file.starts_with(file))
    }

    fn hits(&self, path: &str) -> bool {
        let is_or_is_below = |path: &str, top: &str| path == top || path.starts_with(&format!("{top}::"));
        let hit = match self.path.strip_prefix("…::") {
            Some(end) => path == end || path.ends_with(&format!("::{end}")),
            None => is_or_is_below(path, self.path),
        };
        hit && !self.except.iter().any(|longer| is_or_is_below(path, longer))
    }
}

/// What every file owes its reader.
pub(crate) fn shape(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    if !source.begins_with_comment {
        breaches.push(format!(
            "{}:1: does not begin with a module comment (//!)",
            source.file.display()
        ));
    }
    if source.shipped && source.lines >= LONGEST_FILE {
        breaches.push(format!(
            "{}: has {} lines; split it before {LONGEST_FILE}",
            source.file.display(),
            source.lines
        ));
    }
    breaches
}

/// What is built in and means a second TLS stack, and second versions of the first. Takes names and versions.
pub(crate) fn tls_stacks(built_from: &[(String, String)]) -> Vec<String> {
    let mut breaches: Vec<String> = TLS_STACKS
        .iter()
        .filter(|stack| built_from.iter().any(|(name, _)| name == *stack))
        .map(|stack| format!("{stack} is built in: rustls on aws-lc-rs is the one TLS stack"))
        .collect();
    for only in ["rustls", "aws-lc-rs", "aws-lc-sys"] {
        let versions: Vec<_> = built_from
            .iter()
            .filter(|(name, _)| name == only)
            .map(|(_, version)| version)
            .collect();
        if versions.len() != 1 {
            breaches.push(format!(
                "there must be one version of {only}, and there are {versions:?}"
            ));
        }
    }
    breaches
}

fn breach(source: &Source, name: &Name, why: String) -> String {
    format!(
        "{}:{}: names {}: {why}",
        source.file.display(),
        name.line,
        name.text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Place;
    use crate::workspace::Dependency;

    /// A file of a crate that does not exist.
    fn file(krate: &str, module: &str, text: &str) -> Source {
        let module: Vec<String> = module
            .split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        let modules =
            ["step", "rest", "acme"].map(|protocol| vec!["protocols".to_owned(), protocol.to_owned()]);
        let brokers = ["mosquitto", "emqx"]
            .map(|broker| vec!["beside".to_owned(), "broker".to_owned(), broker.to_owned()]);
        let place = Place {
            krate,
            module: &module,
            modules: &modules.into_iter().chain(brokers).collect(),
        };
        Source::read(
            format!("crates/x/src/{}.rs", module.join("/")).into(),
            &place,
            true,
            text,
        )
        .unwrap()
    }

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
        };
        Package {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
            manifest_path: "Cargo.toml".into(),
        }
    }

    #[test]
    fn a_new_arrow_between_crates_is_refused() {
        let others = [package("muster-backends", &[]), package("muster-ca", &[])];
        let judged = |krate: Package| {
            let mut packages = vec![krate];
            packages.extend(others.iter().map(|other| package(&other.name, &[])));
            dependencies(&packages)
        };
        assert_eq!(judged(package("muster-server", &[("muster-ca", None)])), [""; 0]);
        assert!(
            judged(package("muster-server", &[("muster-backends", None)]))[0]
                .contains("depends on muster-backends")
        );
        assert_eq!(
            judged(package("muster-ca", &[("muster-backends", Some("dev"))])).len(),
            1
        );
        assert_eq!(judged(package("muster-agent", &[("muster-ca", None)])).len(), 1);
        assert_eq!(judged(package("muster-helpers", &[])).len(), 1);
    }

    #[test]
    fn an_outside_crate_in_the_wrong_place_is_refused() {
        for (krate, outside) in [
            ("muster-ca", "tokio"),
            ("muster-ca", "axum"),
            ("muster-ca", "rusqlite"),
            ("muster-pki", "tokio"),
            ("muster", "hyper"),
        ] {
            assert_eq!(
                dependencies(&[package(krate, &[(outside, None)])]).len(),
                1,
                "{krate} {outside}"
            );
            assert!(dependencies(&[package(krate, &[(outside, Some("dev"))])]).is_empty());
        }
        assert!(dependencies(&[package("muster-server", &[("tokio", None), ("axum", None)])]).is_empty());
    }

    #[test]
    fn walls_inside_a_crate_hold() {
        for (krate, module, text) in [
            (
                "muster_backends",
                "store::sqlite",
                "use crate::signer::file::FileSigner;",
            ),
            ("muster_backends", "signer", "fn f() { super::store::open() }"),
            (
                "muster_backends",
                "notify::mail",
                "use crate::{lock, store::Rows};",
            ),
            ("muster_server", "protocols::step", "use super::rest::Failure;"),
            (
                "muster_server",
                "protocols::step::sign",
                "use super::super::acme::Order;",
            ),
            ("muster_server", "protocols::rest", "use crate::web::pages;"),
            (
                "muster_server",
                "web::pages::devices",
                "fn f() { crate::protocols::rest::router(); }",
            ),
            (
                "muster_agent",
                "beside::broker::emqx",
                "use crate::beside::broker::mosquitto::Reload;",
            ),
            ("muster_agent", "device::run", "use crate::beside::run::Agent;"),
        ] {
            assert_eq!(
                walls(&file(krate, module, text)).len(),
                1,
                "{krate} {module}: {text}"
            );
        }
        for (krate, module, text) in [
            (
                "muster_backends",
                "store::sqlite",
                "use super::contract; use crate::lock::DirLock;",
            ),
            (
                "muster_server",
                "protocols",
                "mod step; use step::router; use self::rest::Failure;",
            ),
            (
                "muster_server",
                "protocols::step::sign",
                "use super::body::Sign; use crate::protocols::step::error;",
            ),
            (
                "muster_server",
                "protocols::rest",
                "use super::REST_BODY; use super::{Shared, shared};",
            ),
            ("muster_server", "gate", "use crate::protocols::rest::Failure;"),
        ] {
            assert_eq!(
                walls(&file(krate, module, text)),
                [""; 0],
                "{krate} {module}: {text}"
            );
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_found() {
        for (krate, text) in [
            ("muster_ca", "use std::fs;"),
            ("muster_ca", "fn f() { std::net::TcpStream::connect(a) }"),
            ("muster_ca", "use jiff::Timestamp; fn f() { Timestamp::now(); }"),
            ("muster_ca", "use std::time; fn f() { time::Instant::now(); }"),
            ("muster_pki", "async fn f() {}"),
            ("muster_pki", "use aws_lc_rs::rand::SystemRandom;"),
            (
                "muster_server",
                "fn f() { std::process::Command::new(\"openssl\"); }",
            ),
            ("muster_server", "fn f() { std::time::SystemTime::now(); }"),
            ("muster", "use muster_backends::store::sqlite::SqliteStore;"),
        ] {
            assert_eq!(bans(&file(krate, "x", text)).len(), 1, "{krate}: {text}");
        }
        for (krate, text) in [
            ("muster_pki", "use std::net::IpAddr;"),
            ("muster_ca", "async fn f(now: jiff::Timestamp) {}"),
            ("muster_backends", "use std::fs;"),
            ("muster_ca", "#[cfg(test)] mod tests { use std::fs; }"),
        ] {
            assert_eq!(bans(&file(krate, "x", text)), [""; 0], "{krate}: {text}");
        }
    }

    #[test]
    fn a_silent_or_endless_file_is_refused() {
        assert_eq!(shape(&file("muster_ca", "x", "//! What it is.\n")), [""; 0]);
        assert_eq!(shape(&file("muster_ca", "x", "fn f() {}\n")).len(), 1);
        assert_eq!(
            shape(&file(
                "muster_ca",
                "x",
                &format!("//! Long.\n{}", "// more\n".repeat(600))
            ))
            .len(),
            1
        );
    }

    #[test]
    fn a_second_tls_stack_is_refused() {
        let built = |names: &[&str]| {
            names
                .iter()
                .map(|name| ((*name).to_owned(), "v1".to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            tls_stacks(&built(&["rustls", "aws-lc-rs", "aws-lc-sys", "serde"])),
            [""; 0]
        );
        assert_eq!(
            tls_stacks(&built(&["rustls", "aws-lc-rs", "aws-lc-sys", "openssl-sys"])).len(),
            1
        );
        assert_eq!(
            tls_stacks(&built(&["rustls", "rustls", "aws-lc-rs", "aws-lc-sys"])).len(),
            1
        );
    }
}
