//! The program that is printed for Python, run as it is printed.

use std::process::Command;

use rustix::process::Signal;

use crate::common::{python, text, wait_for};
use crate::mqtt::{Client, mqtt, world};
use crate::{Device, code};

#[test]
fn the_printed_program_connects_hears_comes_back_and_is_said_offline() {
    let Some(python) = python(&["paho"]) else { return };
    let Some((fleet, central)) = world() else { return };
    let watch = Client::watch(&fleet, central.port);
    let device = Device::new(&fleet.muster, "site-003");
    let broker = format!("localhost:{}", central.port);
    let enrol = ["agent", "enrol", &code(&fleet.muster, &["site-003"])];
    let printed = device.ok(&[&enrol[..], &["--broker", &broker, "--format", "paho"]].concat());
    std::fs::write(device.file("client.py"), printed).unwrap();
    let mut command = Command::new(python);
    command.arg("-u").arg(device.file("client.py"));
    let program = Client::start(command, &fleet.path("paho.log"));
    let states = || {
        let lines = watch.printed().into_iter();
        let words = lines.filter_map(|line| line.strip_prefix("status/site-003 ").map(str::to_owned));
        words.collect::<Vec<_>>()
    };
    wait_for("it to be online", || states() == ["online"]);
    let hears = |words: &str| {
        let publish = ["pub", "fleet/site-003/down/set", words];
        let sent = mqtt(&fleet, "ops", central.port, &publish).output().unwrap();
        assert!(sent.status.success(), "{}", text(&sent.stderr));
        program.sees(&format!("fleet/site-003/down/set b'{words}'"));
    };
    hears("hello");
    device.ok(&["agent", "renew"]);
    wait_for("it to come back", || states() == ["online", "online"]);
    hears("again");
    program.signal(Signal::KILL);
    wait_for("its last will", || states() == ["online", "online", "offline"]);
}
