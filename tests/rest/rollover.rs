//! The next issuing CA: start, activate, finish.

use jiff::{SignedDuration, Timestamp};

use crate::begin::{P256, foreign_ca};
use crate::common::https::Https;
use crate::common::requester::new_key;
use crate::common::wire::Wire;
use crate::common::{Muster, text, wait_for};
use crate::fleet::Fleet;
use crate::{openssl, without_server};

fn stages(muster: &Muster) -> Vec<(u64, String)> {
    let all = muster.json(&["ca", "show"]);
    let default = all
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "default")
        .unwrap()
        .clone();
    let generations = default["generations"].as_array().unwrap().iter();
    generations
        .map(|one| {
            (
                one["number"].as_u64().unwrap(),
                one["stage"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn stage(muster: &Muster, number: u64) -> String {
    stages(muster)
        .into_iter()
        .find(|(other, _)| *other == number)
        .unwrap()
        .1
}

fn verifies(muster: &Muster, name: &str) {
    muster.ok(&["ca", "root", "--out", "root.pem"]);
    let mut line = String::from("verify -x509_strict -crl_check_all -CAfile root.pem");
    for (number, stage) in stages(muster) {
        if stage == "retired" {
            continue;
        }
        let file = format!("crl-{number}.pem");
        muster.ok(&["ca", "crl", "--generation", &number.to_string(), "--out", &file]);
        line.push_str(&format!(" -CRLfile {file}"));
    }
    openssl(
        muster,
        &format!("{line} -untrusted {name}/{name}.crt {name}/{name}.crt"),
    );
}

fn two_stages(muster: &Muster) -> (String, String) {
    (stage(muster, 1), stage(muster, 2))
}

fn issue(muster: &Muster, name: &str, validity: &str) -> u64 {
    muster.ok(&[
        "cert",
        "issue",
        name,
        "--kind",
        "client",
        "--validity",
        validity,
        "--out",
        name,
    ]);
    muster.json(&["device", "show", name])["certificates"][0]["generation"]
        .as_u64()
        .unwrap()
}

#[test]
fn a_roll_over_from_start_to_finish() {
    let muster = without_server();
    let file = muster.data().join("muster.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{toml}\n[profile.client]\nmin = \"1s\"\n")).unwrap();
    assert_eq!(issue(&muster, "before", "20s"), 1);
    muster.exits(2, &["ca", "rollover", "activate"]);
    muster.exits(2, &["ca", "rollover", "finish"]);
    muster.ok(&["ca", "rollover", "start"]);
    assert_eq!(two_stages(&muster), ("active".into(), "standby".into()));
    muster.exits(2, &["ca", "rollover", "start"]);
    assert_eq!(issue(&muster, "during", "20s"), 1);
    muster.ok(&["ca", "rollover", "activate"]);
    assert_eq!(two_stages(&muster), ("retiring".into(), "active".into()));
    assert_eq!(issue(&muster, "after", "30d"), 2);
    for name in ["before", "during", "after"] {
        verifies(&muster, name);
    }
    let said = muster.exits(4, &["ca", "rollover", "finish"]);
    assert!(said.contains("live until"), "{said}");
    wait_for("the old one's certificates to end", || {
        muster.run(&["ca", "rollover", "finish"]).status.success()
    });
    assert_eq!(two_stages(&muster), ("retired".into(), "active".into()));
    verifies(&muster, "after");
    muster.ok(&["ca", "rollover", "start"]);
    assert_eq!(stage(&muster, 3), "standby");
}

#[test]
fn a_server_goes_on_while_the_next_one_is_activated() {
    let mut muster = without_server();
    assert_eq!(issue(&muster, "before", "30d"), 1);
    muster.ok(&["ca", "rollover", "start"]);
    muster.serve();
    muster.ok(&["ca", "rollover", "activate"]);
    assert_eq!(issue(&muster, "after", "30d"), 2);
    // What the old one issued is revoked on the old one's list.
    muster.exits(5, &["device", "revoke", "before", "--yes"]);
    assert_eq!(muster.json(&["ca", "crl", "--generation", "1"])["entries"], 1);
    assert_eq!(muster.json(&["ca", "crl", "--generation", "2"])["entries"], 0);
    verifies(&muster, "after");
    let https = Https::new(muster.api, &muster.root());
    assert_eq!(
        https.get("/intermediates").expect(201, "").json()["crts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    muster.stop();
    muster.serve();
    let https = Https::new(muster.api, &muster.root());
    https.get("/health").expect(200, "");
}

#[test]
fn a_roll_over_starts_only_with_the_server_stopped_and_the_recovery_secret_at_hand() {
    let mut muster = Muster::start();
    muster.exits(1, &["ca", "rollover", "start"]);
    muster.stop();
    let (here, away) = (muster.data().join("recovery-secret"), muster.path().join("safe"));
    std::fs::rename(&here, &away).unwrap();
    let said = muster.exits(1, &["ca", "rollover", "start"]);
    assert!(said.contains("recovery-secret"), "{said}");
    std::fs::write(muster.path().join("guess"), "not the secret at all").unwrap();
    let said = muster.exits(1, &["ca", "rollover", "start", "--recovery-secret", "guess"]);
    assert!(said.contains("--recovery-secret FILE"), "{said}");
    muster.exits(
        1,
        &[
            "ca",
            "create",
            "lab",
            "--name",
            "Lab",
            "--recovery-secret",
            "guess",
        ],
    );
    let keys = |dir: &str| std::fs::read_dir(muster.data().join(dir)).unwrap().count();
    assert_eq!((keys("root-keys"), keys("keys")), (2, 2), "no key was made");
    assert_eq!(stages(&muster).len(), 2, "nothing was made");
    muster.ok(&[
        "ca",
        "rollover",
        "start",
        "--recovery-secret",
        away.to_str().unwrap(),
    ]);
    assert_eq!(stage(&muster, 2), "standby");
    // Serving never needs it.
    muster.serve();
    muster.ok(&[
        "cert", "issue", "site-001", "--kind", "client", "--out", "site-001",
    ]);
    verifies(&muster, "site-001");
}

#[test]
fn the_servers_own_certificate_does_not_hold_up_the_end() {
    let mut muster = Muster::start();
    muster.stop();
    muster.ok(&["ca", "rollover", "start"]);
    muster.serve();
    muster.ok(&["ca", "rollover", "activate"]);
    muster.ok(&["ca", "rollover", "finish"]);
    assert_eq!(two_stages(&muster), ("retired".into(), "active".into()));
    let https = Https::new(muster.api, &muster.root());
    wait_for("the server to have a certificate of the new one", || {
        muster.json(&["device", "show", "muster-ca"])["certificates"][0]["generation"] == 2
    });
    https.get("/health").expect(200, "");
}

#[test]
fn what_is_revoked_holds_up_the_end_as_what_lives_does() {
    let muster = without_server();
    issue(&muster, "site-001", "30d");
    muster.ok(&["ca", "rollover", "start"]);
    muster.ok(&["ca", "rollover", "activate"]);
    for _ in 0..2 {
        let said = muster.exits(4, &["ca", "rollover", "finish"]);
        assert!(said.contains("live until"), "{said}");
        muster.run(&["device", "revoke", "site-001", "--yes"]);
    }
}

#[test]
fn no_two_issuing_cas_bear_one_name() {
    let muster = Muster::stopped(&[]);
    if foreign_ca(&muster, P256, P256).is_none() {
        return;
    }
    // One that went on elsewhere to its second issuing CA, which is the first here.
    let request = "[req]\nprompt = no\ndistinguished_name = dn\n[dn]\nCN = Elsewhere-Root Issuing CA 2\n";
    std::fs::write(muster.path().join("second.cnf"), request).unwrap();
    openssl(
        &muster,
        "req -new -config second.cnf -key issuing.key -out issuing.csr",
    );
    let sign =
        "x509 -req -in issuing.csr -CA root.crt -CAkey root.key -set_serial 9 -days 1800 -extfile ca.ext";
    openssl(&muster, &format!("{sign} -out issuing.crt"));
    let certificates = ["--root-cert", "root.crt", "--issuing-cert", "issuing.crt"];
    let keys = ["--root-key", "root.key", "--issuing-key", "issuing.key"];
    muster.ok(&[&["init", "--yes"][..], &certificates, &keys].concat());
    let next = muster.json(&["ca", "rollover", "start"]);
    assert_eq!(next["subject"], "Elsewhere-Root Issuing CA 3");
    muster.ok(&["ca", "rollover", "activate"]);
    issue(&muster, "site-001", "30d");
    verifies(&muster, "site-001");
}

/// Programs that check the whole chain go by the root's list, which takes the root's key.
#[test]
fn the_roots_list_names_the_issuing_ca_whose_key_somebody_else_has() {
    let mut muster = Muster::start();
    issue(&muster, "site-001", "30d");
    muster.stop();
    muster.ok(&["ca", "rollover", "start"]);
    muster.serve();
    muster.ok(&["ca", "rollover", "activate"]);
    let said = muster.exits(0, &["ca", "rollover", "revoke", "--yes"]);
    assert!(said.contains("muster ca root-crl"), "{said}");
    let todos = |muster: &Muster| {
        let output = muster.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["todos"].to_string()
    };
    let asked = "does not name the issuing CA default 1";
    assert!(todos(&muster).contains(asked), "{}", todos(&muster));
    let roots_list = |muster: &Muster| {
        muster.ok(&["ca", "crl", "--generation", "0", "--out", "root.crl"]);
        muster.ok(&["cert", "inspect", "root.crl"])
    };
    let list = roots_list(&muster);
    assert!(
        list.contains("revokes      nothing") || list.contains("revokes      0"),
        "{list}"
    );

    muster.stop();
    muster.ok(&["ca", "root-crl"]);
    muster.serve();
    let list = roots_list(&muster);
    assert!(list.contains("revokes      1"), "{list}");
    assert!(!todos(&muster).contains(asked));
    let lists = muster.ok(&["ca", "crl"]);
    std::fs::write(muster.path().join("lists.pem"), lists).unwrap();
    let verify = ["cert", "verify", "site-001/site-001.crt", "--crl", "lists.pem"];
    let said = muster.exits(1, &verify);
    assert!(said.contains("revoked"), "{said}");
}

/// Without a server, and with the recovery secret where the first run put it, there is nothing left to do.
#[test]
fn where_the_roots_key_is_at_hand_its_list_is_made_at_once() {
    let muster = without_server();
    issue(&muster, "site-001", "30d");
    muster.ok(&["ca", "rollover", "start"]);
    muster.ok(&["ca", "rollover", "activate"]);
    let output = muster.run(&["ca", "rollover", "revoke", "--yes", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one answer");
    assert!(answer["issuing"].is_string(), "{answer}");
    let said = text(&output.stderr);
    assert!(
        said.contains("The CRL of the root of default is good until"),
        "{said}"
    );
    muster.ok(&["ca", "crl", "--generation", "0", "--out", "root.crl"]);
    assert!(
        muster
            .ok(&["cert", "inspect", "root.crl"])
            .contains("revokes      1")
    );
}

/// It shuts out all that it has issued, so it is asked for as many are that are revoked at once.
#[test]
fn an_issuing_ca_goes_with_its_count_and_if_set_with_a_second_operator() {
    let mut muster = Muster::start_with(&[], "[web]\nrevoke_limit = 1\n");
    for name in ["site-1", "site-2"] {
        issue(&muster, name, "30d");
    }
    muster.stop();
    muster.ok(&["ca", "rollover", "start"]);
    muster.serve();
    muster.ok(&["ca", "rollover", "activate"]);
    let revoke = ["ca", "rollover", "revoke", "--yes"];
    for more in [&[][..], &["--count", "1"], &["--dry-run"]] {
        let said = muster.exits(2, &[&revoke, more].concat());
        assert!(said.contains("these are 2"), "{said}");
    }
    assert_eq!(two_stages(&muster), ("retiring".into(), "active".into()));
    let would = muster.ok(&[&revoke[..], &["--count", "2", "--dry-run"]].concat());
    assert!(would.contains("would be retired"), "{would}");
    // The step that has no gate is no more.
    let mut wire = Wire::local(&muster.data()).unwrap();
    let step = b"POST /api/v1/authorities/default/rollover/revoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(wire.exchange(step).unwrap().0, 404);
    assert_eq!(two_stages(&muster), ("retiring".into(), "active".into()));

    muster.stop();
    let toml = muster.data().join("muster.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(
        &toml,
        text.replace("revoke_limit = 1", "revoke_limit = 1\nsecond_operator = true"),
    )
    .unwrap();
    muster.serve();
    let waits = muster.exits(5, &[&revoke[..], &["--count", "2", "--note", "lost"]].concat());
    assert!(waits.contains("has to agree"), "{waits}");
    assert_eq!(two_stages(&muster), ("retiring".into(), "active".into()));
    let (_, waiting) = Wire::local(&muster.data())
        .unwrap()
        .get("/api/v1/revocations")
        .unwrap();
    let waiting: serde_json::Value = serde_json::from_slice(&waiting).unwrap();
    assert_eq!(
        (
            &waiting[0]["issuing_of"],
            &waiting[0]["count"],
            &waiting[0]["note"]
        ),
        (&"default".into(), &2.into(), &"lost".into())
    );
    muster.exits(2, &[&revoke[..], &["--count", "2"]].concat());
}

/// The root's key at hand is another CA's than the one that was told to withdraw its issuing CA.
#[test]
fn a_ca_elsewhere_has_no_list_made_here() {
    let mut far = Muster::start();
    let key = far.ok(&["user", "create", "ops", "--role", "admin"]);
    far.stop();
    far.ok(&["ca", "rollover", "start"]);
    far.serve();
    far.ok(&["ca", "rollover", "activate"]);
    let here = without_server();
    let roots_list = || here.json(&["ca", "crl", "--generation", "0"])["number"].clone();
    let before = roots_list();
    let mut command = here.command(&["ca", "rollover", "revoke", "--yes", "--url", &far.url()]);
    command.env("MUSTER_ROOT", far.root());
    let output = command.env("MUSTER_API_KEY", key.trim()).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("The root's list does not name it yet") && !said.contains("good until"),
        "{said}"
    );
    assert_eq!(stage(&far, 1), "retired");
    assert_eq!(roots_list(), before);
}

#[test]
fn whose_issuer_is_to_be_retired_renews_sooner() {
    let mut fleet = Fleet::start("");
    let key = new_key();
    let first = fleet
        .enrol(&fleet.token(&["site-001"]), "site-001", &key)
        .expect(200, "");
    let holder = fleet.holder(&first, &key);
    let plan = || {
        let plan = holder.get("/api/v1/agent/plan").expect(200, "").json();
        ["renew_at", "renew_from", "now"]
            .map(|what| plan[what].as_str().unwrap().parse::<Timestamp>().unwrap())
    };
    let life = SignedDuration::from_hours(30 * 24);
    let [slot, from, now] = plan();
    assert!(
        slot >= now + life / 3 - SignedDuration::from_mins(1) && slot < now + life * 3 / 5,
        "{slot}"
    );
    assert_eq!(from, slot);
    // The root's key is not for who serves.
    fleet.muster.stop();
    fleet.muster.ok(&["ca", "rollover", "start"]);
    fleet.muster.serve();
    assert_eq!(plan()[..2], [slot, slot], "nothing is distrusted yet");
    fleet.muster.ok(&["ca", "rollover", "activate"]);
    let [soon, from, now] = plan();
    assert!(soon >= now && soon < now + life / 10, "{soon}");
    assert!(from <= now, "who asks once a day need not wait for that");
    assert_eq!(plan()[0], soon, "asking does not move it");
}
