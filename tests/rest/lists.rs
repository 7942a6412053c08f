//! Lists: pages, filters, searches and exports, by the command line and by REST.

use serde_json::Value;

use crate::common::wire::Wire;
use crate::common::{Muster, text, wait_for};
use crate::without_server;

fn issue(muster: &Muster, name: &str, kind: &str) -> Value {
    let args = ["cert", "issue", name, "--kind", kind, "--out", name];
    muster.ok(&args);
    muster.json(&["device", "show", name])["certificates"][0].clone()
}

/// One column of a page.
fn column(page: &Value, key: &str) -> Vec<String> {
    let rows = page["items"].as_array().unwrap().iter();
    rows.map(|row| row[key].as_str().unwrap().to_owned()).collect()
}

fn get(muster: &Muster, path: &str) -> (u16, String) {
    let (status, body) = Wire::local(&muster.data())
        .unwrap()
        .get(&format!("/api/v1{path}"))
        .unwrap();
    (status, text(&body))
}

#[test]
fn a_list_is_filtered_sorted_and_paged_both_ways() {
    let muster = without_server();
    for name in ["site-1", "site-2", "site-3", "other"] {
        issue(&muster, name, "client");
    }
    issue(&muster, "mqtt.example.org", "server");
    muster.exits(5, &["device", "suspend", "site-2"]);
    let list = |args: &[&str]| muster.json(&[&["cert", "list"], args].concat());
    assert_eq!(
        column(&list(&[]), "device"),
        ["mqtt.example.org", "other", "site-3", "site-2", "site-1"]
    );
    for (args, wanted) in [
        (
            &["--search", "SITE", "--sort", "-name"][..],
            &["site-3", "site-2", "site-1"][..],
        ),
        (&["--status", "revoked"], &["site-2"]),
        (&["--status", "active", "--search", "site"], &["site-3", "site-1"]),
        (&["--profile", "server"], &["mqtt.example.org"]),
        (
            &["--expires-within", "31d", "--sort", "name"],
            &["other", "site-1", "site-3"],
        ),
        (&["--expires-until", "2026-01-01"], &[]),
        (&["--how", "operator", "--device", "other"], &["other"]),
        (&["--how", "token"], &[]),
        (&["--search", "sit_"], &[]),
    ] {
        assert_eq!(column(&list(args), "device"), wanted, "{args:?}");
    }
    let first = list(&["--limit", "2", "--sort", "name"]);
    let next = first["next"].as_str().unwrap();
    let second = list(&["--limit", "2", "--sort", "name", "--cursor", next]);
    assert_eq!(column(&second, "device"), ["site-1", "site-2"]);
    let back = second["previous"].as_str().unwrap();
    let again = list(&["--limit", "2", "--sort", "name", "--cursor", back]);
    assert_eq!(column(&again, "device"), ["mqtt.example.org", "other"]);
    let said = muster.exits(2, &["cert", "list", "--sort", "expiry", "--cursor", next]);
    assert!(said.contains("begin without it"), "{said}");
    for bad in [
        &["--limit", "501"][..],
        &["--sort", "size"],
        &["--issued-from", "soon"],
        &["--cursor", "%00"],
    ] {
        muster.exits(2, &[&["cert", "list"], bad].concat());
    }
    let devices = |args: &[&str]| column(&muster.json(&[&["device", "list"], args].concat()), "name");
    assert_eq!(devices(&["--kind", "server"]), ["mqtt.example.org"]);
    assert_eq!(devices(&["--state", "suspended"]), ["site-2"]);
    assert_eq!(
        devices(&["--sort", "-created", "--limit", "2"]),
        ["mqtt.example.org", "other"]
    );
    let log = muster.json(&[
        "audit",
        "list",
        "--subject",
        "site-2",
        "--action",
        "device.suspended",
    ]);
    assert_eq!(column(&log, "subject"), ["site-2"]);
    assert_eq!(
        muster.json(&["audit", "list", "--until", "2020-01-01"])["items"],
        Value::Array(vec![])
    );
}

#[test]
fn brokers_provisioners_and_profiles_are_lists_like_the_others() {
    let muster = Muster::start();
    for (name, program) in [("east", "gate"), ("west", "mosquitto")] {
        muster.ok(&["broker", "add", name, "--program", program]);
    }
    let brokers = |args: &[&str]| {
        // One that has not joined needs attention.
        let output = muster.run(&[&["broker", "list", "--json"], args].concat());
        assert_eq!(output.status.code(), Some(5), "{args:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = brokers(&["--limit", "1", "--sort", "-name"]);
    assert_eq!(column(&first, "name"), ["west"]);
    let next = first["next"].as_str().unwrap();
    let second = brokers(&["--limit", "1", "--sort", "-name", "--cursor", next]);
    assert_eq!(column(&second, "name"), ["east"]);
    assert_eq!(column(&brokers(&["--program", "gate"]), "name"), ["east"]);
    assert_eq!(
        column(&brokers(&["--search", "we", "--state", "waiting"]), "name"),
        ["west"]
    );
    let csv = muster.ok(&["broker", "list", "--csv", "--search", "east"]);
    assert!(
        csv.starts_with("name,program,state,") && csv.contains("\neast,gate,waiting,"),
        "{csv}"
    );
    muster.ok(&["broker", "retire", "east"]);
    muster.ok(&["broker", "list", "--state", "retired"]);
    muster.exits(2, &["broker", "list", "--sort", "size"]);

    let list = |args: &[&str]| column(&muster.json(args), "name");
    assert_eq!(
        list(&["ca", "profile", "--sort", "-name"]),
        ["server", "client", "broker"]
    );
    assert_eq!(list(&["ca", "profile", "--kind", "server"]), ["server"]);
    muster.ok(&[
        "ca",
        "provisioner",
        "add",
        "makers",
        "--password-file",
        "makers.password",
        "--profile",
        "client",
    ]);
    assert_eq!(
        list(&[
            "ca",
            "provisioner",
            "list",
            "--search",
            "mak",
            "--profile",
            "client"
        ]),
        ["makers"]
    );
    assert!(
        muster
            .ok(&["ca", "provisioner", "list", "--csv"])
            .starts_with("name,kid,profiles,")
    );
}

#[test]
fn a_search_finds_names_serial_numbers_and_fingerprints() {
    let muster = Muster::start();
    let one = issue(&muster, "site-001", "client");
    issue(&muster, "site-002", "client");
    let found = |what: &str| muster.json(&["search", what]);
    let names = found("site-0");
    assert_eq!(names["devices"].as_array().unwrap().len(), 2);
    assert_eq!(names["certificates"].as_array().unwrap().len(), 2);
    let (serial, fingerprint) = (
        one["serial"].as_str().unwrap(),
        one["fingerprint"].as_str().unwrap(),
    );
    let wanted = |found: &Value| {
        let certificates = found["certificates"].as_array().unwrap();
        certificates.len() == 1 && certificates[0]["serial"] == serial
    };
    let colons: Vec<_> = (0..serial.len())
        .step_by(2)
        .map(|at| &serial[at..at + 2])
        .collect();
    for what in [serial, &colons.join(":"), one["serial_decimal"].as_str().unwrap()] {
        assert!(wanted(&found(what)), "{what}");
    }
    let (status, _) = get(&muster, &format!("/search?q={fingerprint}"));
    assert_eq!(status, 200);
    wait_for("the fingerprint to be findable", || {
        let (_, body) = get(&muster, &format!("/search?q={}", &fingerprint[..12]));
        wanted(&serde_json::from_str(&body).unwrap())
    });
    muster.exits(3, &["search", "nobody"]);
    assert_eq!(get(&muster, "/search?q=%20").0, 400);
}

#[test]
fn an_export_has_every_row_that_fits() {
    let muster = Muster::start();
    for name in ["site-1", "site-2", "other"] {
        issue(&muster, name, "client");
    }
    let csv = muster.ok(&[
        "cert", "list", "--search", "site", "--sort", "name", "--limit", "1", "--csv",
    ]);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(lines[0].starts_with("device,status,profile,"), "{csv}");
    assert!(
        lines[1].starts_with("site-1,active,client,") && lines[2].starts_with("site-2,"),
        "{csv}"
    );
    // HTTP/1.0 has no chunks.
    let mut wire = Wire::local(&muster.data()).unwrap();
    wire.send(b"GET /api/v1/devices HTTP/1.0\r\nHost: localhost\r\nAccept: application/jsonl\r\n\r\n")
        .unwrap();
    let answer = text(&wire.rest());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("filename=\"devices.jsonl\""), "{head}");
    let rows = body
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let names: Vec<_> = rows.map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["other", "site-1", "site-2"]);
    assert_eq!(get(&muster, "/devices?format=xml").0, 400);
    assert!(
        muster
            .ok(&["audit", "list", "--csv", "--action", "certificate.issued"])
            .lines()
            .count()
            >= 4
    );
    assert!(
        muster
            .ok(&["token", "list", "--csv"])
            .starts_with("id,device,wave,")
    );
}

#[test]
fn what_runs_out_says_whether_it_needs_somebody() {
    let muster = Muster::start();
    issue(&muster, "site-1", "client");
    issue(&muster, "site-2", "client");
    let (status, body) = get(&muster, "/expiries?days=40");
    assert_eq!(status, 200, "{body}");
    let days: Vec<Value> = serde_json::from_str(&body).unwrap();
    assert_eq!(days.len(), 40);
    let sum = |key: &str| days.iter().map(|day| day[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(
        (sum("needs_you"), sum("by_itself")),
        (2, 0),
        "an operator issued it"
    );
    let status = muster.json(&["status"]);
    assert_eq!(status["devices"], 2);
    assert_eq!(
        status["devices_by"],
        serde_json::json!([{ "kind": "client", "state": "active", "count": 2 }])
    );
}

#[test]
fn a_certificate_says_when_it_was_issued() {
    let muster = Muster::start();
    issue(&muster, "site-1", "client");
    let listed = muster.json(&["cert", "list"])["items"][0].clone();
    let (issued, begins) = (
        listed["issued"].as_str().unwrap(),
        listed["not_before"].as_str().unwrap(),
    );
    assert!(issued > begins, "backdated: {listed}");
    let table = muster.ok(&["cert", "list"]);
    assert!(table.contains(issued) && !table.contains(begins), "{table}");
    // What a rehearsal would issue is not there.
    let would = muster.json(&["cert", "issue", "site-2", "--dry-run"]);
    assert_eq!(
        (&would["device"], would.get("pem")),
        (&Value::from("site-2"), None)
    );
}
