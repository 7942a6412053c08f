//! Where settings come from, and what is said about those that cannot be meant.

use std::process::Output;

use crate::common::{Muster, text};
use crate::without_server;

fn init_with(muster: &Muster, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = muster.command(&[&["init", "--yes"], args].concat());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn refused_with(variables: &[(&str, &str)], toml: &str) -> String {
    let muster = Muster::stopped(&[]);
    std::fs::create_dir_all(muster.data()).unwrap();
    std::fs::write(muster.data().join("muster.toml"), toml).unwrap();
    let output = init_with(&muster, variables, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(!muster.data().join("muster.db").exists());
    text(&output.stderr)
}

fn root_name(muster: &Muster) -> String {
    let all = muster.json(&["ca", "show"]);
    let default = all
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "default")
        .unwrap();
    default["generations"][0]["subject"].as_str().unwrap().to_owned()
}

fn provisioner_name(muster: &Muster) -> String {
    muster.json(&["ca", "provisioner", "list"])["items"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_file_that_a_variable_names_must_be_there() {
    let said = refused_with(
        &[
            ("MUSTER_NAME_FILE", "/nonexistent"),
            ("DOCKER_STEPCA_INIT_NAME_FILE", "/nowhere"),
        ],
        "",
    );
    assert!(
        said.contains("/nonexistent") && said.contains("/nowhere"),
        "{said}"
    );
}

#[test]
fn the_names_of_the_old_system_are_understood() {
    let muster = Muster::stopped(&[]);
    let old = [
        ("DOCKER_STEPCA_INIT_NAME", "AK-SG IoT CA"),
        (
            "DOCKER_STEPCA_INIT_DNS_NAMES",
            "localhost,ca.ak-sg.com, 10.0.60.10",
        ),
        ("DOCKER_STEPCA_INIT_PROVISIONER_NAME", "iot-old"),
    ];
    let output = init_with(&muster, &old, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(root_name(&muster), "AK-SG IoT CA Root CA");
    assert_eq!(provisioner_name(&muster), "iot-old");
    // They are written down: the next run does not need the variables.
    let toml = std::fs::read_to_string(muster.data().join("muster.toml")).unwrap();
    for word in ["AK-SG IoT CA", "ca.ak-sg.com", "10.0.60.10", "iot-old"] {
        assert!(toml.contains(word), "{word}: {toml}");
    }
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let muster = Muster::stopped(&[]);
    std::fs::create_dir_all(muster.data()).unwrap();
    std::fs::write(
        muster.data().join("muster.toml"),
        "name = \"File\"\nprovisioner = \"file\"\ndns = [\"file.example.org\"]\n",
    )
    .unwrap();
    std::fs::write(muster.path().join("name"), "Variable\n").unwrap();
    let name = muster.path().join("name");
    let variables = [
        ("MUSTER_NAME_FILE", name.to_str().unwrap()),
        ("DOCKER_STEPCA_INIT_NAME", "Old"),
        ("MUSTER_PROVISIONER", "variable"),
    ];
    let output = init_with(&muster, &variables, &["--provisioner", "flag"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        (root_name(&muster).as_str(), provisioner_name(&muster).as_str()),
        ("Variable Root CA", "flag")
    );
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest() {
    let said = refused_with(&[], "name = \"A\"\nprovisoner = \"b\"\n");
    assert!(
        said.contains("muster.toml:2:1: the key provisoner") && said.contains("did you mean provisioner?"),
        "{said}"
    );
    let said = refused_with(&[], "[profile.client]\ndefualt = \"7d\"\n");
    assert!(said.contains("did you mean default?"), "{said}");
}

#[test]
fn a_misspelt_variable_is_refused_with_the_nearest() {
    let said = refused_with(&[("MUSTER_PROVISONER", "x")], "");
    assert!(
        said.contains("MUSTER_PROVISONER") && said.contains("did you mean MUSTER_PROVISIONER?"),
        "{said}"
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let toml = "lisen = 1\nprovisioner = 7\nlisten = \"nowhere\"\npublic_url = \"http://localhost:9080\"\ndns = [\"a b\"]\n\
                [profile.client]\nmin = \"soon\"\n[profile.server]\nmin = \"9d\"\ndefault = \"1d\"\n[profile.x]\nbase = \"emperor\"\n";
    let said = refused_with(&[("MUSTER_NAEM", "x")], toml);
    for words in [
        "MUSTER_NAEM",
        "muster.toml:1:1: the key lisen is not known; did you mean listen?",
        "muster.toml:2:15: provisioner: invalid type",
        "listen:",
        "public_url:",
        "dns:",
        "profile.client.min",
        "profile.server",
        "profile.x.base",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn texts_that_are_no_toml_are_refused_with_their_line() {
    let said = refused_with(&[], "name = \"A\"\nthis is no toml\n");
    assert!(said.contains("muster.toml:2"), "{said}");
}

#[test]
fn a_configured_profile_sets_limits() {
    let muster = without_server();
    let file = muster.data().join("muster.toml");
    let toml = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{toml}\n[profile.visitor]\nmin = \"1h\"\ndefault = \"2h\"\nmax = \"12h\"\ngrace = \"0s\"\nrenewable = false\n")).unwrap();
    let profiles = muster.json(&["ca", "profile"]);
    let visitor = profiles["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "visitor")
        .unwrap()
        .clone();
    assert_eq!(
        (visitor["kind"].as_str(), visitor["default"].as_str()),
        (Some("client"), Some("2h"))
    );
    muster.ok(&["cert", "issue", "guest", "--kind", "visitor", "--out", "guest"]);
    muster.exits(
        4,
        &[
            "cert",
            "issue",
            "guest-2",
            "--kind",
            "visitor",
            "--validity",
            "13h",
        ],
    );
    muster.exits(
        4,
        &[
            "cert",
            "issue",
            "guest-2",
            "--kind",
            "visitor",
            "--validity",
            "30m",
        ],
    );
}

#[test]
fn a_passphrase_can_lie_elsewhere_and_status_is_content() {
    let muster = Muster::stopped(&[]);
    std::fs::write(muster.path().join("passphrase"), "a passphrase of some length\n").unwrap();
    let elsewhere = muster.path().join("passphrase");
    let output = init_with(
        &muster,
        &[("MUSTER_PASSPHRASE_FILE", elsewhere.to_str().unwrap())],
        &[],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!muster.data().join("passphrase").exists());
    let mut command = muster.command(&["status", "--json"]);
    let output = command
        .env("MUSTER_PASSPHRASE_FILE", &elsewhere)
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        !status["todos"].to_string().contains("protects nothing"),
        "{status}"
    );
    let mut wrong = muster.command(&["cert", "issue", "x", "--kind", "client"]);
    std::fs::write(&elsewhere, "another passphrase altogether").unwrap();
    let output = wrong.env("MUSTER_PASSPHRASE_FILE", &elsewhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    // The beside-the-keys default is complained about.
    let careless = without_server();
    assert!(
        careless.json(&["status"])["todos"]
            .to_string()
            .contains("protects nothing")
    );
}

#[test]
fn a_passphrase_file_is_seen_from_the_file_that_names_it() {
    let muster = Muster::stopped(&[]);
    std::fs::create_dir_all(muster.data()).unwrap();
    std::fs::write(muster.path().join("passphrase"), "a passphrase of some length\n").unwrap();
    let toml = "passphrase_file = \"../passphrase\"\n";
    std::fs::write(muster.data().join("muster.toml"), toml).unwrap();
    let output = init_with(&muster, &[], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = muster.command(&["cert", "issue", "site-001", "--out", "out"]);
    let output = command.current_dir(elsewhere.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
