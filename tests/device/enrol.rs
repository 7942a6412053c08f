//! `muster agent enrol`: one line, pasted.

use std::process::{Command, Stdio};

use crate::common::{MUSTER, Muster, Running, text, tool, wait_for};
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
    let id = made["id"].as_str().unwrap();
    // What an operator looks at, and what tells of it there.
    let told = || {
        let looked = [
            text(&muster.run(&["status"]).stdout),
            muster.ok(&["token", "list"]),
            muster.json(&["token", "list"]).to_string(),
            muster.json(&["audit", "list"]).to_string(),
            muster.log(),
        ];
        let words = [
            "was shown by another device",
            "used up, shown by another",
            r#""refused":[{"at":"#,
            "token.refused",
            "was shown with another key",
        ];
        std::iter::zip(looked, words)
            .map(|(text, word)| text.contains(word))
            .collect::<Vec<_>>()
    };
    let first = Device::new(&muster, "first");
    first.ok(&["agent", "enrol", code]);
    first.ok(&["agent", "enrol", code]);
    assert_eq!(told(), [false; 5], "nobody but the device has shown it");
    let said = Device::new(&muster, "second").exits(4, &["agent", "enrol", code]);
    let unbind = format!("muster token unbind {id} site-001");
    assert!(
        said.contains("has been used 1 of 1 times (site-001)") && said.contains(&unbind),
        "{said}"
    );
    assert!(!said.contains("mt_"), "{said}");
    assert_eq!(told(), [true; 5]);
    let status = text(&muster.run(&["status"]).stdout);
    for word in [
        &unbind,
        id,
        "from 127.0.0.1 at ",
        "muster device recover site-001",
    ] {
        assert!(status.contains(word), "{word}: {status}");
    }

    // Somebody looks into it: the second is the true one.
    muster.run(&["token", "unbind", id, "site-001"]);
    assert_eq!(told()[..3], [false; 3]);
    Device::new(&muster, "second").ok(&["agent", "enrol", code]);
}

#[test]
fn a_wave_brings_its_own_names() {
    let muster = Muster::start();
    let printed = muster.ok(&["token", "create", "--wave", "spring", "--count", "2"]);
    assert!(printed.trim().ends_with(" --name NAME"), "{printed}");
    let code = code(&muster, &["--wave", "autumn", "--count", "2"]);
    let nameless = Device::new(&muster, "x").exits(2, &["agent", "enrol", &code]);
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
        Device::new(&muster, "bad").exits(2, &["agent", "enrol", &code, "--name", bad]);
    }
    assert!(!muster.path().join("device-bad").join("agent.json").exists());
}

#[test]
fn what_was_mistyped_once_is_not_gone_on_with() {
    let muster = Muster::start();
    let wave = code(&muster, &["--wave", "spring", "--count", "3"]);
    let first = Device::new(&muster, "first");
    first.ok(&["agent", "enrol", &wave, "--name", "site-1"]);
    // The CA refuses that name, and the next try is for another.
    let device = Device::new(&muster, "second");
    device.exits(4, &["agent", "enrol", &wave, "--name", "site-1"]);
    assert!(
        device
            .exits(5, &["agent", "status"])
            .contains("has not ended enrolling")
    );
    device.ok(&["agent", "enrol", &wave, "--name", "site-2"]);
    assert!(device.file("site-2.crt").exists() && !device.file("site-1.crt").exists());
    // A name whose certificate would be ca.crt.
    let said = device.exits(2, &["agent", "enrol", &wave, "--name", "ca"]);
    assert!(said.contains("ca.crt"), "{said}");
    assert!(muster.exits(4, &["token", "create", "ca"]).contains("ca.crt"));
    // Neither is taken, and nothing is written.
    let other = Device::new(&muster, "third");
    let line = ["agent", "enrol", &wave, "--name", "site-3"];
    for broker in ["", ":8883", "[::1", "::1", "a b", "mqtt:0"] {
        other.exits(2, &[&line[..], &["--broker", broker]].concat());
    }
    let said = other.exits(2, &[&line[..], &["--group", "nobody-is-called-so"]].concat());
    assert!(said.contains("there is no group"), "{said}");
    assert!(!other.dir.exists());
    other.exits(3, &["agent", "renew"]);
    assert!(!other.dir.exists());
    // A group that comes later may read the key from then on.
    other.ok(&line);
    assert_eq!(mode(&other.file("site-3.key")), 0o600);
    let group = rustix::process::getegid().as_raw().to_string();
    other.ok(&[&line[..], &["--group", &group]].concat());
    assert_eq!(mode(&other.file("site-3.key")), 0o640);
    assert_eq!(mode(&other.file("agent.json")), 0o640);
}

#[test]
fn an_operator_may_act_beside_an_agent_that_runs() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    let enrol = [
        "agent",
        "enrol",
        &code(&muster, &["site-001"]),
        "--format",
        "mosquitto-bridge",
    ];
    let printed = device.ok(&enrol);
    let mut command = device.command(&["agent", "run"]);
    let _agent = Running(command.stderr(Stdio::null()).spawn().unwrap());
    // The agent says how it goes at the end of each of its steps, and waits then.
    let status = device.file("status.json");
    let has_a_plan = || std::fs::read_to_string(&status).is_ok_and(|text| text.contains("renew_at"));
    wait_for("the agent", has_a_plan);
    assert_eq!(device.ok(&enrol), printed);
    device.ok(&[&enrol[..], &["--hook", "echo >> hooks"]].concat());

    let act = |line: &[&str]| {
        let before = device.read("site-001.key");
        std::fs::remove_file(&status).unwrap();
        device.ok(line);
        assert_ne!(device.read("site-001.key"), before);
        wait_for("the agent to see another certificate", has_a_plan);
        let said: serde_json::Value = serde_json::from_str(&device.read("status.json")).unwrap();
        assert_eq!(
            (&said["renewals"], &said["problem"]),
            (&0.into(), &serde_json::Value::Null)
        );
    };
    act(&["agent", "renew"]);
    let again = code(&muster, &["site-001"]);
    muster.ok(&["device", "rearm", "site-001"]);
    act(&["agent", "enrol", &again]);
    assert_eq!(device.read("hooks"), "\n\n");
}

#[test]
fn a_command_waits_for_an_agent_that_is_at_work() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    let lock = std::fs::File::open(device.file("lock")).unwrap();
    lock.try_lock().unwrap();
    let log = muster.path().join("renew.log");
    let mut command = device.command(&["agent", "renew"]);
    let mut renewal = Running(
        command
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let before = device.read("site-001.key");
    wait_for("it to wait", || {
        std::fs::read_to_string(&log).is_ok_and(|said| said.contains("waiting: another agent works with"))
    });
    assert_eq!(device.read("site-001.key"), before);
    drop(lock);
    assert!(renewal.0.wait().unwrap().success());
    assert_ne!(device.read("site-001.key"), before);
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
fn a_profile_may_issue_from_another_authority() {
    let mut muster = Muster::start();
    muster.stop();
    muster.ok(&["ca", "create", "lab", "--name", "Lab"]);
    let settings = muster.data().join("muster.toml");
    let told = std::fs::read_to_string(&settings).unwrap();
    let profile = "[profile.lab]\nbase = \"client\"\nauthority = \"lab\"\n";
    std::fs::write(&settings, format!("{told}\n{profile}")).unwrap();
    muster.serve();
    let device = Device::new(&muster, "site-001");
    let enrol = [
        "agent",
        "enrol",
        &code(&muster, &["site-001", "--profile", "lab"]),
    ];
    device.ok(&enrol);
    let chain = muster.ok(&["ca", "root", "--authority", "lab", "--chain"]);
    let holds = |muster: &Muster| {
        assert_eq!(device.read("ca.crt"), chain);
        let [certificate, anchors] = ["site-001.crt", "ca.crt"].map(|name| device.file(name));
        let verify = ["cert", "verify", certificate.to_str().unwrap(), "--ca"];
        muster.ok(&[&verify[..], &[anchors.to_str().unwrap(), "--purpose", "client"]].concat());
    };
    holds(&muster);
    // The CA's address is still vouched for by the root of the code.
    let before = device.read("agent.json");
    device.ok(&["agent", "renew"]);
    holds(&muster);
    device.ok(&enrol);
    assert_eq!(device.read("agent.json"), before);
    assert_eq!(living(&muster, "site-001").len(), 1);
    // What a device has lost of that, the CA says again.
    std::fs::remove_file(device.file("ca.crt")).unwrap();
    let mut run = device.command(&["agent", "run"]);
    let agent = Running(run.stderr(Stdio::null()).spawn().unwrap());
    wait_for("ca.crt", || {
        std::fs::read_to_string(device.file("ca.crt")).is_ok_and(|text| text == chain)
    });
    drop(agent);
    // Nobody vouches for the root of another authority to a device that has enrolled.
    std::fs::write(
        &settings,
        format!("{told}\n{}", profile.replace("\"lab\"", "\"default\"")),
    )
    .unwrap();
    muster.stop();
    muster.serve();
    device.ok(&["agent", "renew"]);
    assert_eq!(
        device.read("ca.crt"),
        muster.ok(&["ca", "root", "--authority", "default", "--chain"])
    );
    muster.stop();
    std::fs::write(&settings, format!("{told}\n{profile}")).unwrap();
    muster.serve();
    let said = device.exits(1, &["agent", "renew"]);
    assert!(said.contains("muster device recover"), "{said}");
    let recovered = muster.json(&["device", "recover", "site-001"]);
    device.ok(&["agent", "enrol", recovered["code"].as_str().unwrap()]);
    holds(&muster);
    // With a password, too.
    muster.ok(&["device", "create", "site-002", "--profile", "lab"]);
    let (print, file) = (
        muster.ok(&["ca", "fingerprint"]),
        muster.data().join("provisioner-password"),
    );
    let other = Device::new(&muster, "site-002");
    let sign = [
        "agent",
        "sign",
        "site-002",
        "--ca-url",
        &muster.url(),
        "--fingerprint",
        print.trim(),
    ];
    for _ in 0..2 {
        other.ok(&[&sign[..], &["--password-file", file.to_str().unwrap()]].concat());
        assert_eq!(other.read("ca.crt"), chain);
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

#[test]
fn a_mistake_in_what_is_to_be_logged_is_told() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    for (told, code) in [
        ("loud", 2),
        ("warn,loud", 2),
        ("warn,muster_agent=loud", 2),
        ("debug,rustls=info", 3),
        ("", 3),
    ] {
        let mut command = device.command(&["agent", "status"]);
        let output = command.env("MUSTER_LOG", told).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert_eq!(text(&output.stderr).contains("MUSTER_LOG"), code == 2, "{told}");
    }
}

#[test]
fn a_code_in_a_file_that_cannot_be_read_is_told_and_a_bridge_hears_what_it_lacks() {
    let muster = Muster::start();
    let device = Device::new(&muster, "site-001");
    let from = |path: &std::path::Path, more: &[&str]| {
        let mut command = device.command(&[&["agent", "enrol"], more].concat());
        command.env("MUSTER_CODE_FILE", path).output().unwrap()
    };
    let (file, long) = (muster.path().join("code"), muster.path().join("long"));
    std::fs::write(&long, vec![b'x'; 70_000]).unwrap();
    for (path, why) in [(&file, "No such file"), (&long, "more than 64 KiB")] {
        let said = from(path, &[]);
        let words = text(&said.stderr);
        assert!(
            said.status.code() == Some(2) && words.contains("MUSTER_CODE_FILE") && words.contains(why),
            "{words}"
        );
    }
    std::fs::write(&file, code(&muster, &["site-001"])).unwrap();
    let bare = from(&file, &["--format", "mosquitto-bridge"]);
    let told = text(&bare.stderr);
    assert!(
        told.contains("--group mosquitto") && told.contains("without --broker"),
        "{told}"
    );
    assert!(text(&bare.stdout).contains("restart it, or wait"));
    let group = rustix::process::getegid().as_raw().to_string();
    let whole = from(
        &file,
        &[
            "--format",
            "mosquitto-bridge",
            "--group",
            &group,
            "--broker",
            "mqtt.example.org",
        ],
    );
    assert!(
        !text(&whole.stderr).contains("Note: Mosquitto"),
        "{}",
        text(&whole.stderr)
    );
    assert!(!text(&whole.stderr).contains("without --broker"));
    let printed = text(&whole.stdout);
    assert!(
        printed.contains("makes this bridge reconnect") && !printed.contains("restart it"),
        "{printed}"
    );
}
