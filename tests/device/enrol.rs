//! `muster agent enrol`: one line, pasted.

use std::process::{Command, Stdio};

use crate::common::{MUSTER, Muster, text, tool};
use crate::{Device, code, living, mode};

#[test]
fn the_printed_line_is_pasted_and_pasted_again() {
    let muster = Muster::start();
    let printed = muster.ok(&["token", "create", "site-001", "--lifetime", "1h"]);
    let words: Vec<&str> = printed.split_whitespace().collect();
    assert_eq!(words[..3], ["muster", "agent", "enrol"], "{printed}");
    let device = Device::new(&muster, "site-001");
    let said = device.ok(&words[1..]);
    let files = ["ca.crt", "site-001.crt", "site-001.key"];
    assert_eq!(
        said.trim(),
        files
            .map(|name| device.file(name).display().to_string())
            .join("\n")
    );
    let modes = files.map(|name| mode(&device.file(name)));
    assert_eq!(modes, [0o644, 0o644, 0o600]);
    assert_eq!(device.read("ca.crt").matches("BEGIN CERTIFICATE").count(), 2);
    let whole = device.read("site-001.crt");
    muster.ok(&[
        "cert",
        "verify",
        device.file("site-001.crt").to_str().unwrap(),
        "--ca",
        device.file("ca.crt").to_str().unwrap(),
        "--purpose",
        "client",
    ]);

    // The same line again changes nothing, and needs nobody.
    let mut muster = muster;
    muster.stop();
    let again = device.run(&words[1..]);
    assert!(
        again.status.success() && text(&again.stderr).contains("has enrolled before"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(device.read("site-001.crt"), whole);
    muster.serve();
    assert_eq!(living(&muster, "site-001").len(), 1);
    let left: Vec<_> = std::fs::read_dir(&device.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.ends_with(".next") || name.ends_with(".previous")),
        "{left:?}"
    );
    assert!(
        !device.read("agent.json").contains("mt_"),
        "the secret is not kept"
    );
}

#[test]
fn a_second_device_is_refused_and_the_operator_sees_it() {
    let muster = Muster::start();
    let made = muster.json(&["token", "create", "site-001"]);
    let code = made["code"].as_str().unwrap();
    Device::new(&muster, "first").ok(&["agent", "enrol", code]);
    let said = Device::new(&muster, "second").exits(4, &["agent", "enrol", code]);
    assert!(
        said.contains("has been used 1 of 1 times") && said.contains("muster token unbind"),
        "{said}"
    );
    assert!(!said.contains("mt_"), "{said}");
    assert_eq!(muster.json(&["token", "list"])["items"][0]["status"], "used up");
}

#[test]
fn a_wave_brings_its_own_names() {
    let muster = Muster::start();
    let printed = muster.ok(&["token", "create", "--wave", "spring", "--count", "2"]);
    assert!(printed.trim().ends_with(" --name NAME"), "{printed}");
    let code = code(&muster, &["--wave", "autumn", "--count", "2"]);
    let nameless = Device::new(&muster, "x").exits(1, &["agent", "enrol", &code]);
    assert!(nameless.contains("--name NAME"), "{nameless}");
    for name in ["site-1", "site-2"] {
        Device::new(&muster, name).ok(&["agent", "enrol", &code, "--name", name]);
        assert_eq!(living(&muster, name).len(), 1);
    }
    Device::new(&muster, "site-3").exits(4, &["agent", "enrol", &code, "--name", "site-3"]);
    // A directory belongs to one device, and a name cannot lead out of it.
    let said = Device::new(&muster, "site-1").exits(1, &["agent", "enrol", &code, "--name", "site-2"]);
    assert!(said.contains("belongs to site-1 already"), "{said}");
    for bad in ["../x", "a/b", ".", ""] {
        Device::new(&muster, "bad").exits(1, &["agent", "enrol", &code, "--name", bad]);
    }
    assert!(!muster.path().join("device-bad").join("agent.json").exists());
}

#[test]
fn nobody_else_than_the_right_ca_is_believed() {
    let (muster, other) = (Muster::start(), Muster::start());
    let code = code(&muster, &["site-001"]);
    let elsewhere = code.replace(&format!(":{}/", muster.api), &format!(":{}/", other.api));
    let device = Device::new(&muster, "site-001");
    let said = device.exits(1, &["agent", "enrol", &elsewhere]);
    assert!(!said.contains("mt_"), "{said}");
    assert!(!device.file("site-001.key.next").exists() && !device.file("site-001.key").exists());
    // The secret was shown to nobody: the token is as good as new.
    device.ok(&["agent", "enrol", &code]);
    for bad in ["", "mt_x", "muster agent enrol", &code[1..code.len() - 1]] {
        let said = device.exits(2, &["agent", "enrol", bad]);
        assert!(
            said.contains("enrolment code") && !said.contains("mt_x"),
            "{said}"
        );
    }
}

#[test]
fn a_re_armed_device_gets_another_key_in_the_same_place() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    let (certificate, key) = (device.read("site-001.crt"), device.read("site-001.key"));
    let second = code(&muster, &["site-001"]);
    let said = device.exits(4, &["agent", "enrol", &second]);
    assert!(said.contains("muster device recover site-001"), "{said}");
    assert_eq!(
        (device.read("site-001.crt"), device.read("site-001.key")),
        (certificate.clone(), key.clone())
    );
    muster.ok(&["device", "rearm", "site-001"]);
    device.ok(&["agent", "enrol", &second]);
    assert_ne!(
        (device.read("site-001.crt"), device.read("site-001.key")),
        (certificate, key)
    );
    assert_eq!(living(&muster, "site-001").len(), 1);
}

#[test]
fn the_code_comes_from_a_file_and_configuration_is_printed() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    let file = muster.path().join("code");
    std::fs::write(&file, code(&muster, &["site-001"])).unwrap();
    let mut command = device.command(&[
        "agent",
        "enrol",
        "--broker",
        "mqtt.example.org",
        "--format",
        "mosquitto-bridge",
    ]);
    let output = command.env("MUSTER_CODE_FILE", &file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bridge = text(&output.stdout);
    let dir = device.dir.display();
    for line in [
        "address mqtt.example.org:8883".to_owned(),
        format!("bridge_certfile {dir}/site-001.crt"),
        format!("bridge_keyfile {dir}/site-001.key"),
        format!("bridge_cafile {dir}/ca.crt"),
        "remote_clientid site-001".into(),
    ] {
        assert!(bridge.lines().any(|found| found == line), "{line}\n{bridge}");
    }
    // Or it is typed, where nobody else sees it; a recovery code is by itself for that.
    let recovery = muster.ok(&["device", "recover", "site-001"]);
    assert!(recovery.starts_with("site-001:mt_"), "{recovery}");
    std::fs::write(&file, &recovery).unwrap();
    let mut typing = device.command(&["agent", "enrol"]);
    let typed = typing
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(typed.status.success(), "{}", text(&typed.stderr));
    assert_eq!(living(&muster, "site-001").len(), 1);
    let code = std::fs::read_to_string(&file).unwrap();
    let paho = device.ok(&["agent", "enrol", &code, "--format", "paho"]);
    assert!(
        paho.contains("client.connect(\"mqtt.example.org\", 8883)"),
        "{paho}"
    );
    if let Some(python) = tool("python3") {
        let source = muster.path().join("client.py");
        std::fs::write(&source, &paho).unwrap();
        let compiled = Command::new(python)
            .args(["-m", "py_compile"])
            .arg(&source)
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", text(&compiled.stderr));
    }
    let options = device.ok(&["agent", "enrol", &code, "--format", "mosquitto"]);
    assert!(
        options.contains("--cert ") && options.contains("\n-i site-001\n"),
        "{options}"
    );
    let mut bare = Command::new(MUSTER);
    let bare = bare
        .args(["agent", "enrol"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(bare.status.code(), Some(2), "{}", text(&bare.stderr));
}

#[test]
fn a_code_that_gets_nothing_leaves_a_device_as_it_is() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    let ran = muster.path().join("ran");
    let hook = format!("echo >> {}", ran.display());
    let first = code(&muster, &["site-001"]);
    let flags = ["--broker", "mqtt.example.org", "--hook", &hook];
    device.ok(&[&["agent", "enrol", &first], &flags[..]].concat());
    let runs = || std::fs::read(&ran).unwrap().len();
    assert_eq!(runs(), 1);
    let all = || ["agent.json", "ca.crt", "site-001.crt", "site-001.key"].map(|name| device.read(name));
    let before = all();
    // Mistyped, and used up.
    let at = first.find("mt_").unwrap() + 3;
    let other = if first[at..].starts_with('A') { "B" } else { "A" };
    let mistyped = format!("{}{other}{}", &first[..at], &first[at + 1..]);
    let used = code(&muster, &["--wave", "spring", "--count", "1"]);
    Device::new(&muster, "site-002").ok(&["agent", "enrol", &used, "--name", "site-002"]);
    for args in [vec![mistyped.as_str()], vec![used.as_str(), "--name", "site-001"]] {
        let args = [&["agent", "enrol"], &args[..], &["--broker", "wrong.example.org"]].concat();
        let output = device.run(&args);
        assert!(!output.status.success(), "{args:?}");
        assert_eq!(all(), before);
        device.ok(&["agent", "status"]);
        device.ok(&["agent", "renew", "--dry-run"]);
    }
    // A recovery keeps what the device was told, and tells the application.
    let recovery = muster.json(&["device", "recover", "site-001"]);
    device.ok(&["agent", "enrol", recovery["code"].as_str().unwrap()]);
    let settings: serde_json::Value = serde_json::from_str(&device.read("agent.json")).unwrap();
    assert_eq!(
        (settings["broker"].as_str(), settings["hook"].as_str()),
        (Some("mqtt.example.org:8883"), Some(hook.as_str()))
    );
    assert_ne!(device.read("site-001.key"), before[3]);
    assert_eq!(runs(), 2);
    let left = ["agent.json.next", "site-001.key.enrol", "site-001.key.next"];
    assert!(!left.iter().any(|name| device.file(name).exists()));
}
