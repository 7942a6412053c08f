//! A revocation of many that waits for a second operator, seen and judged on the command line.

use serde_json::{Value, json};

use crate::brokers::{Agent, HUB, names};
use crate::common::https::Https;
use crate::common::{Muster, text};

/// More than one at once needs a second operator.
pub(crate) const TOML: &str = "[web]\nrevoke_limit = 1\nsecond_operator = true\n";
const LIST: [&str; 2] = ["revocation", "list"];

/// Two devices, and alice, who asks over HTTPS to retire them: her key.
pub(crate) fn asked(muster: &Muster) -> String {
    for name in ["both-1", "both-2"] {
        muster.ok(&["cert", "issue", name, "--out", name]);
    }
    let key = muster.ok(&["user", "create", "alice"]).trim().to_owned();
    let wish = json!({
        "devices": ["both-1", "both-2"], "retire": true, "reason": "cessation-of-operation", "note": "the site is closed",
        "count": 2,
    });
    let headers = [
        ("authorization", &*format!("Bearer {key}")),
        ("content-type", "application/json"),
    ];
    let https = Https::new(muster.api, &muster.root());
    let answer = https.send(
        "POST",
        "/api/v1/revocations",
        &headers,
        wish.to_string().as_bytes(),
    );
    assert_eq!(answer.expect(200, "").json()["waiting"], true);
    key
}

/// When what waits was asked for.
pub(crate) fn when(muster: &Muster) -> String {
    muster.json(&LIST)[0]["at"].as_str().unwrap().to_owned()
}

pub(crate) fn states(muster: &Muster) -> [Value; 2] {
    ["both-1", "both-2"].map(|name| muster.json(&["device", "show", name])["state"].clone())
}

#[test]
fn a_second_operator_sees_it_and_agrees() {
    let muster = Muster::start_with(&[], TOML);
    assert_eq!(muster.json(&LIST), json!([]));
    let key = asked(&muster);
    let said = muster.ok(&LIST);
    for words in [
        "retire 2 devices",
        "alice",
        "the site is closed",
        "both-1",
        "both-2",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let at = when(&muster);
    let agree = ["revocation", "agree", &at];

    // Not whoever asked; and nothing else than what is named.
    let mut own = muster.command(&agree);
    own.args(["--url", &muster.url()]);
    own.env("MUSTER_ROOT", muster.root()).env("MUSTER_API_KEY", &key);
    let own = own.output().unwrap();
    assert_eq!(own.status.code(), Some(4), "{}", text(&own.stderr));
    let said = muster.exits(3, &["revocation", "agree", "2030-06-01T12:00:00Z"]);
    assert!(
        said.contains("fix: see what does with: muster revocation list"),
        "{said}"
    );
    muster.exits(2, &["revocation", "agree", "yesterday"]);
    assert_eq!(states(&muster), ["active", "active"]);

    let said = muster.exits(5, &agree);
    assert!(
        said.contains("shut out: 2 devices with 2 certificates") && said.contains("unconfirmed"),
        "{said}"
    );
    assert_eq!(states(&muster), ["retired", "retired"]);
    assert_eq!(muster.json(&LIST), json!([]));
    muster.exits(3, &agree);
}

#[test]
fn what_is_rejected_does_not_happen() {
    let muster = Muster::start_with(&[], TOML);
    asked(&muster);
    let reject = ["revocation", "reject", &when(&muster)];
    assert_eq!(muster.ok(&reject), "rejected\n");
    assert_eq!(states(&muster), ["active", "active"]);
    assert_eq!(muster.json(&LIST), json!([]));
    muster.exits(3, &reject);
}

#[test]
fn whoever_agrees_hears_of_the_brokers_proof() {
    let muster = Muster::start_with(&[], TOML);
    asked(&muster);
    muster.ok(&["broker", "add", HUB]);
    let agent = Agent::join(&muster, &format!("{HUB}.join"));
    let mut epochs = agent.listen("");
    agent.prove(&epochs.next());
    let at = when(&muster);
    let agreed = std::thread::scope(|scope| {
        let agreed = scope.spawn(|| muster.run(&["revocation", "agree", &at, "--json"]));
        // What is retired one after another comes in one epoch or in two.
        let mut out = 0;
        while out < 2 {
            let epoch = epochs.next();
            agent.prove(&epoch);
            out += names(&epoch["shut_out"]).len();
        }
        agreed.join().unwrap()
    });
    assert_eq!(agreed.status.code(), Some(0), "{}", text(&agreed.stderr));
    let said: Value = serde_json::from_slice(&agreed.stdout).unwrap();
    assert_eq!((&said["devices"], &said["confirmed"]), (&json!(2), &json!(true)));
    assert_eq!(said["brokers"][0]["state"], "proven");
}
