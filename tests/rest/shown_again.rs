//! Tokens that a second device shows: who hears of it, how often, and until when.

use serde_json::Value;

use crate::common::requester::new_key;
use crate::fleet::Fleet;

/// What `muster status` says about tokens that were shown again.
fn told(fleet: &Fleet) -> Vec<String> {
    let output = fleet.muster.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let todos = status["todos"].as_array().unwrap().iter();
    let words = todos.map(|todo| todo.as_str().unwrap().to_owned());
    words
        .filter(|text| text.contains("was shown by another"))
        .collect()
}

/// How many entries the audit log has about it.
fn entries(fleet: &Fleet) -> usize {
    let list = ["audit", "list", "--action", "token.refused", "--limit", "500"];
    fleet.muster.json(&list)["items"].as_array().unwrap().len()
}

fn used(fleet: &Fleet, name: &str) -> Value {
    let token = fleet.token(&[name]);
    fleet.enrol(&token, name, &new_key()).expect(200, "");
    token
}

#[test]
fn it_is_told_once_an_hour_until_somebody_has_acted() {
    let fleet = Fleet::start("");
    for (name, act) in [("site-1", "unbind"), ("site-2", "revoke"), ("site-3", "recover")] {
        let token = used(&fleet, name);
        let before = entries(&fleet);
        assert_eq!(told(&fleet), [""; 0]);
        for _ in 0..3 {
            fleet
                .enrol(&token, name, &new_key())
                .expect(403, "has been used 1 of 1 times");
        }
        // Under another name, too, which is refused for another reason.
        fleet.enrol(&token, "site-9", &new_key()).expect(403, "");
        assert_eq!(entries(&fleet), before + 1);
        let id = token["id"].as_str().unwrap();
        let said = told(&fleet);
        assert!(
            said.len() == 1 && said[0].contains(id) && said[0].contains(name),
            "{said:?}"
        );
        match act {
            "recover" => {
                let code = fleet.muster.json(&["device", "recover", name]);
                assert_eq!(
                    told(&fleet).len(),
                    1,
                    "a code that nobody used has mended nothing"
                );
                fleet.enrol(&code, name, &new_key()).expect(200, "");
            }
            "unbind" => drop(fleet.muster.run(&["token", "unbind", id, name])),
            _ => drop(fleet.muster.ok(&["token", "revoke", id])),
        }
        assert_eq!(told(&fleet), [""; 0], "{act}");
    }
}

#[test]
fn who_has_a_token_of_a_wave_does_not_fill_the_audit_log() {
    let fleet = Fleet::start("");
    let wave = fleet.token(&["--wave", "spring", "--count", "2"]);
    fleet.enrol(&wave, "site-1", &new_key()).expect(200, "");
    assert_eq!(entries(&fleet), 0);
    fleet
        .enrol(&wave, "site-1", &new_key())
        .expect(403, "with another key");
    assert_eq!(entries(&fleet), 1, "a name that is somebody else");
    assert!(told(&fleet)[0].contains("muster device recover site-1"));
    fleet.enrol(&wave, "site-2", &new_key()).expect(200, "");
    for number in 0..40 {
        let name = format!("more-{number}");
        fleet
            .enrol(&wave, &name, &new_key())
            .expect(403, "has been used 2 of 2 times");
    }
    assert_eq!(entries(&fleet), 16);
    assert_eq!(told(&fleet).len(), 3);
    let shown = fleet.muster.json(&["token", "list"]);
    assert_eq!(shown["items"][0]["refused"].as_array().unwrap().len(), 16);
    let id = wave["id"].as_str().unwrap();
    assert!(told(&fleet)[0].contains(&format!("muster token revoke {id}")));
    fleet.muster.ok(&["token", "revoke", id]);
    assert_eq!(told(&fleet), [""; 0]);
    fleet.enrol(&wave, "more-1", &new_key()).expect(401, "withdrawn");
    assert_eq!(
        (entries(&fleet), told(&fleet).len()),
        (16, 0),
        "it is known by now"
    );
}
