//! The CA has done its part, and what it says of that is lost; then somebody suspends the device, and lets it go on later.

use crate::common::Muster;
use crate::cut::Proxy;
use crate::{Device, code, living};

fn serials(muster: &Muster) -> Vec<String> {
    let living = living(muster, "site-001");
    living
        .iter()
        .map(|one| one["serial"].as_str().unwrap().to_owned())
        .collect()
}

/// Through a proxy that cuts later each time, until it has come this far and no further.
fn cut_until(proxy: &Proxy, is_there: impl Fn() -> bool, act: impl Fn() -> bool) {
    let mut bytes = 1000;
    while !is_there() {
        proxy.cut_after(bytes);
        assert!(!act(), "the cut comes too late: after {bytes} bytes");
        bytes += 100;
    }
    proxy.cut_after(u64::MAX);
}

fn through(proxy: &Proxy, muster: &Muster, text: &str) -> String {
    text.replace(&format!(":{}", muster.api), &format!(":{}", proxy.port))
}

#[test]
fn a_renewal_that_the_ca_has_ended_is_not_taken_back() {
    let muster = Muster::start();
    let proxy = Proxy::to(muster.api);
    let device = Device::new(&muster, "site-001");
    device.ok(&[
        "agent",
        "enrol",
        &through(&proxy, &muster, &code(&muster, &["site-001"])),
    ]);
    let before = (serials(&muster), device.read("site-001.key"));
    let renews = || device.run(&["agent", "renew"]).status.success();
    cut_until(&proxy, || device.file("site-001.key.previous").exists(), renews);
    let is_ended = || {
        let now = serials(&muster);
        now.len() == 1 && now != before.0
    };
    cut_until(&proxy, is_ended, renews);
    let after = device.read("site-001.key");
    assert!(after != before.1 && device.file("site-001.key.previous").exists());

    muster.exits(5, &["device", "suspend", "site-001"]);
    let said = device.exits(4, &["agent", "renew"]);
    assert!(said.contains("muster device resume site-001"), "{said}");
    assert_eq!(device.read("site-001.key"), after);
    muster.exits(5, &["device", "resume", "site-001"]);
    device.ok(&["agent", "renew"]);
    assert_eq!(device.read("site-001.key"), after);
    assert!(!device.file("site-001.key.previous").exists());
    device.ok(&["agent", "renew"]);
}

#[test]
fn a_recovery_code_that_the_ca_has_bound_is_good_for_its_key() {
    let muster = Muster::start();
    let proxy = Proxy::to(muster.api);
    let device = Device::new(&muster, "site-001");
    device.ok(&["agent", "enrol", &code(&muster, &["site-001"])]);
    let before = serials(&muster);
    let made = muster.json(&["device", "recover", "site-001"]);
    let code = through(&proxy, &muster, made["code"].as_str().unwrap());
    let enrol = ["agent", "enrol", &code];
    cut_until(
        &proxy,
        || {
            let now = serials(&muster);
            !now.is_empty() && now != before
        },
        || device.run(&enrol).status.success(),
    );

    muster.exits(5, &["device", "suspend", "site-001"]);
    let said = device.exits(4, &enrol);
    assert!(said.contains("muster device resume site-001"), "{said}");
    muster.exits(5, &["device", "resume", "site-001"]);
    device.ok(&enrol);
    assert_eq!(serials(&muster).len(), 1);
    device.ok(&["agent", "renew"]);
}
