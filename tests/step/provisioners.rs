//! `step ca provisioner list` and tokens of several provisioners.

use serde_json::Value;

use crate::world::{PROVISIONER, World};

fn names(world: &World) -> Vec<String> {
    let list: Value = serde_json::from_str(&world.ok("ca provisioner list")).unwrap();
    let rows = list.as_array().cloned().unwrap_or_default();
    rows.iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect()
}

fn add(world: &World, name: &str) -> String {
    world
        .ca
        .ok(&[
            "ca",
            "provisioner",
            "add",
            name,
            "--password-file",
            &format!("{name}.password"),
        ])
        .trim()
        .to_owned()
}

#[test]
fn a_list_of_none() {
    let Some(world) = World::own("") else { return };
    world.ca.ok(&["ca", "provisioner", "remove", PROVISIONER]);
    assert!(names(&world).is_empty());
    world.refused("ca token somebody", "");
    world.https().get("/provisioners").expect(200, "");
}

#[test]
fn a_list_of_one_hides_the_encrypted_key_and_shows_limits_in_go_durations() {
    let Some(world) = World::shared() else { return };
    let list = world.https().get("/provisioners").expect(200, "").json();
    let row = &list["provisioners"][0];
    assert_eq!(
        (row["type"].as_str(), row["name"].as_str()),
        (Some("JWK"), Some(PROVISIONER))
    );
    assert!(row.get("encryptedKey").is_none());
    assert_eq!(row["claims"]["minTLSCertDuration"], "5m0s");
    assert_eq!(row["claims"]["defaultTLSCertDuration"], "720h0m0s");
    assert_eq!(row["claims"]["maxTLSCertDuration"], "8784h0m0s");
    assert_eq!(names(&world), [PROVISIONER]);
}

#[test]
fn lists_of_20_and_of_101_come_in_pages_and_in_order() {
    let Some(world) = World::own("") else { return };
    let mut all = vec![PROVISIONER.to_owned()];
    let named = |number: usize| format!("p{number:03}");
    for number in 1..20 {
        add(&world, &named(number));
        all.push(named(number));
    }
    assert_eq!(names(&world), all, "in the order in which they were added");
    // Two at once, since each costs the PBKDF2 that `step` wants; either may be first.
    for number in (20..=100).step_by(2) {
        std::thread::scope(|scope| {
            for number in number..(number + 2).min(101) {
                let (world, named) = (&world, &named);
                scope.spawn(move || add(world, &named(number)));
                all.push(named(number));
            }
        });
    }
    let mut listed = names(&world);
    listed[20..].sort();
    assert_eq!(listed, all);
    assert_eq!(page_sizes(&world, ""), [20, 20, 20, 20, 20, 1]);
    assert_eq!(page_sizes(&world, "&limit=100"), [100, 1]);
    assert_eq!(page_sizes(&world, "&limit=5000"), [100, 1]);
    assert_eq!(page_sizes(&world, "&limit=-1"), [20, 20, 20, 20, 20, 1]);
    world.https().get("/provisioners?limit=many").expect(400, "limit");
}

/// Follows the cursors as any client does; no row may come twice.
fn page_sizes(world: &World, query: &str) -> Vec<usize> {
    let (mut sizes, mut seen, mut cursor) = (Vec::new(), std::collections::HashSet::new(), String::new());
    loop {
        let page = world
            .https()
            .get(&format!("/provisioners?cursor={cursor}{query}"))
            .expect(200, "")
            .json();
        let rows = page["provisioners"].as_array().unwrap();
        assert!(rows.iter().all(|row| seen.insert(row["name"].to_string())));
        sizes.push(rows.len());
        cursor = page["nextCursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            return sizes;
        }
    }
}

#[test]
fn tokens_of_two_provisioners_by_name_and_by_kid() {
    let Some(world) = World::own("") else { return };
    let kid = add(&world, "second");
    let second = world.ca.path().join("second.password");
    let token = world.ok(&format!(
        "ca token by-name --provisioner second --password-file {}",
        second.display()
    ));
    world.ok(&format!(
        "ca certificate by-name by-name.crt by-name.key --token {}",
        token.trim()
    ));
    let token = world.ok(&format!(
        "ca token by-kid --kid {kid} --password-file {}",
        second.display()
    ));
    world.ok(&format!(
        "ca certificate by-kid by-kid.crt by-kid.key --token {}",
        token.trim()
    ));
    // With two to choose from the first one must be named, too.
    world.certificate("by-first", "");
    let how = world.ca.json(&["device", "show", "by-kid"])["certificates"][0]["how"].clone();
    assert_eq!(how, "step:second");
    world.ca.ok(&["ca", "provisioner", "remove", "second"]);
    let csr = world.csr("late", "ec -pkeyopt ec_paramgen_curve:P-256", &[]);
    if csr.is_some() {
        world
            .sign(token.trim(), "late.csr")
            .expect(401, "provisioner is not known");
    }
}

#[test]
fn a_wrong_password_opens_no_key() {
    let Some(world) = World::shared() else { return };
    std::fs::write(world.path("wrong"), "not the password at all").unwrap();
    world.refused(
        &format!("ca certificate guess guess.crt guess.key --provisioner {PROVISIONER} --provisioner-password-file wrong"),
        "decrypt",
    );
    assert!(!world.path("guess.crt").exists());
}

#[test]
fn a_provisioner_with_a_weak_password_is_not_made() {
    let Some(world) = World::shared() else { return };
    std::fs::write(world.ca.path().join("weak"), "secret").unwrap();
    let said = world.ca.exits(
        4,
        &["ca", "provisioner", "add", "weak", "--password-file", "weak"],
    );
    assert!(said.contains("too weak"), "{said}");
}
