//! `step ca certificate`: names and lifetimes.

use serde_json::{Value, json};

use crate::world::World;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Seconds from the start of a certificate to its end.
fn length(world: &World, file: &str) -> i64 {
    world.inspect(file)["validity"]["length"].as_i64().unwrap()
}

#[test]
fn a_certificate_of_a_site_with_defaults() {
    let Some(world) = World::shared() else { return };
    world.certificate("site-defaults", "");
    let seen = world.inspect("site-defaults.crt");
    assert_eq!(seen["subject_dn"], "CN=site-defaults");
    assert_eq!(seen["issuer_dn"], "CN=Test Issuing CA 1");
    assert_eq!(
        seen["extensions"]["extended_key_usage"],
        json!({ "client_auth": true })
    );
    assert_eq!(
        seen["extensions"]["key_usage"]["value"], 1,
        "digitalSignature only"
    );
    assert_eq!(
        seen["extensions"]["subject_alt_name"]["dns_names"],
        json!(["site-defaults"])
    );
    assert_eq!(
        length(&world, "site-defaults.crt"),
        30 * DAY + HOUR,
        "30 days, backdated an hour"
    );
    // Leaf and issuing CA, verified by step itself against the root.
    assert_eq!(
        world
            .read("site-defaults.crt")
            .matches("BEGIN CERTIFICATE")
            .count(),
        2
    );
    world.ok(&format!(
        "certificate verify site-defaults.crt --roots {}",
        world.ca.root().display()
    ));
}

#[test]
fn a_certificate_with_address_mail_uri_and_wildcard_names() {
    let Some(world) = World::shared() else { return };
    let sans = "--san *.fleet.example.org --san 10.0.80.50 --san 2001:db8::7 --san ops@example.org --san urn:dev:mac:0024befffe804ff1";
    world.certificate("many-names", sans);
    let names = world.inspect("many-names.crt")["extensions"]["subject_alt_name"].clone();
    assert_eq!(names["dns_names"], json!(["*.fleet.example.org"]));
    assert_eq!(names["ip_addresses"], json!(["10.0.80.50", "2001:db8::7"]));
    assert_eq!(names["email_addresses"], json!(["ops@example.org"]));
    assert_eq!(
        names["uniform_resource_identifiers"],
        json!(["urn:dev:mac:0024befffe804ff1"])
    );
}

/// As with step-ca: the names are the token's, whatever the subject looks like.
#[test]
fn a_name_with_dots_is_no_alternative_name_unless_the_token_says_so() {
    let Some(world) = World::shared() else { return };
    let names = |name: &str, sans: &str| {
        world.certificate(name, sans);
        world.inspect(&format!("{name}.crt"))["extensions"]["subject_alt_name"].clone()
    };
    let listed = names("pump.listed.example.org", "--san 10.0.80.51");
    assert_eq!(listed, json!({ "ip_addresses": ["10.0.80.51"] }));
    let unlisted = names("pump.unlisted.example.org", "");
    assert_eq!(unlisted["dns_names"], json!(["pump.unlisted.example.org"]));
}

/// On purpose unlike step-ca: whoever has the provisioner's password could otherwise stand for every broker.
#[test]
fn a_wildcard_that_stands_for_servers_is_given_by_an_operator_and_not_for_a_token() {
    let Some(world) = World::shared() else { return };
    let out = world.path("wild");
    let line = [
        "cert",
        "issue",
        "wild.example.org",
        "--kind",
        "server",
        "--san",
        "wild.example.org,*.wild.example.org",
        "--out",
    ];
    world.ca.ok(&[&line[..], &[out.to_str().unwrap()]].concat());
    let names = world.inspect("wild/wild.example.org.crt")["extensions"]["subject_alt_name"].clone();
    assert_eq!(
        names["dns_names"],
        json!(["wild.example.org", "*.wild.example.org"])
    );
    let root = world.ca.root();
    world.ok(&format!(
        "certificate verify wild/wild.example.org.crt --host a.wild.example.org --roots {}",
        root.display()
    ));
    world
        .ca
        .ok(&["device", "create", "other.example.org", "--kind", "server"]);
    for (name, wildcard) in [
        ("other.example.org", "*.other.example.org"),
        ("tame", "*.example.org"),
    ] {
        let line = format!(
            "ca certificate {name} x.crt x.key --san {wildcard} {}",
            world.proof()
        );
        world.refused(&line, wildcard);
    }
}

#[test]
fn not_after_in_hours() {
    let Some(world) = World::shared() else { return };
    world.certificate("one-hour", "--not-after 1h");
    let length = length(&world, "one-hour.crt");
    assert!(
        (HOUR..HOUR + 60).contains(&length),
        "{length}: a short life is hardly backdated"
    );
}

#[test]
fn not_after_as_rfc_3339() {
    let Some(world) = World::shared() else { return };
    let end = jiff::Timestamp::from_second(crate::world::now() + 2 * DAY)
        .unwrap()
        .to_string();
    world.certificate("until", &format!("--not-after {end}"));
    assert_eq!(world.inspect("until.crt")["validity"]["end"], Value::from(end));
}

#[test]
fn not_before_in_the_future() {
    let Some(world) = World::shared() else { return };
    world.certificate("later", "--not-before 1h --not-after 3h");
    assert_eq!(
        length(&world, "later.crt"),
        3 * HOUR,
        "a relative end counts from the start, as with step-ca"
    );
}

#[test]
fn not_after_too_long_is_forbidden() {
    refused("too-long", "--not-after 9000h", 403, "at most 366d");
}

#[test]
fn not_after_too_short_is_forbidden() {
    refused("too-short", "--not-after 1m", 403, "at least 5m");
}

#[test]
fn not_after_in_the_past_is_a_bad_request() {
    refused("past", "--not-after -1h", 400, "in the past");
}

/// `step` shows the reason, whose beginning tells 400 from 403; nothing is written and nothing is registered.
fn refused(name: &str, more: &str, status: u16, words: &str) {
    let Some(world) = World::shared() else { return };
    let line = format!(
        "ca certificate {name} {name}.crt {name}.key {} {more}",
        world.proof()
    );
    world.refused(&line, words);
    let beginning = if status == 403 {
        "The request was forbidden by the certificate authority: "
    } else {
        "The request could not be completed: "
    };
    world.refused(&line, beginning);
    assert!(!world.path(&format!("{name}.crt")).exists());
    world.ca.exits(3, &["device", "show", name]);
}

#[test]
fn a_broker_registered_by_an_operator_gets_a_server_certificate() {
    let Some(world) = World::shared() else { return };
    world
        .ca
        .ok(&["device", "create", "mqtt.step.example.org", "--kind", "server"]);
    world.certificate(
        "mqtt.step.example.org",
        "--san mqtt.step.example.org --san 10.0.80.50",
    );
    let seen = world.inspect("mqtt.step.example.org.crt");
    assert_eq!(
        seen["extensions"]["extended_key_usage"],
        json!({ "server_auth": true })
    );
    assert_eq!(length(&world, "mqtt.step.example.org.crt"), 365 * DAY + HOUR);
}

#[test]
fn a_site_cannot_have_a_registered_brokers_name_in_its_certificate() {
    let Some(world) = World::shared() else { return };
    world
        .ca
        .ok(&["device", "create", "mqtt.taken.example.org", "--kind", "server"]);
    let line = format!(
        "ca certificate thief thief.crt thief.key --san mqtt.taken.example.org {}",
        world.proof()
    );
    world.refused(&line, "another server's name");
}

#[test]
fn a_living_name_is_not_given_to_another_key_until_it_is_rearmed() {
    let Some(world) = World::shared() else { return };
    world.certificate("alive", "");
    let again = format!("ca certificate alive other.crt other.key {}", world.proof());
    world.refused(&again, "has a living certificate with another key");
    world.ca.ok(&["device", "rearm", "alive"]);
    world.ok(&again);
}

#[test]
fn reserved_and_impossible_names_are_forbidden() {
    let Some(world) = World::shared() else { return };
    for (name, words) in [
        ("muster-agent", "reserved"),
        ("Site-001", "cannot be a device's name"),
        ("a/b", "cannot be"),
    ] {
        world.refused(
            &format!("ca certificate {name} bad.crt bad.key {}", world.proof()),
            words,
        );
    }
}
