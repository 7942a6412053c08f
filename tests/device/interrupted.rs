//! The network is cut after so many bytes of what the CA says, in many enrolments: none is lost, and none is there twice. The long run meets every
//! byte.

use crate::common::Muster;
use crate::cut::Proxy;
use crate::{Device, code};

/// The enrolments of the long run: as many as `scripts/test --full` asks for.
const LONG_RUN: u64 = 2000;

#[test]
fn an_interrupted_enrolment_is_gone_on_with() {
    let rounds: u64 =
        std::env::var("MUSTER_TEST_CUTS").map_or(200, |text| text.parse().expect("a number of enrolments"));
    let muster = Muster::start();
    let proxy = Proxy::to(muster.api);
    let wave = code(&muster, &["--wave", "all", "--count", &(rounds + 1).to_string()]);
    let through = wave.replace(&format!(":{}/", muster.api), &format!(":{}/", proxy.port));
    let enrol = |name: &str| {
        let device = Device::new(&muster, name);
        let output = device.run(&["agent", "enrol", &through, "--name", name]);
        output.status.success()
    };
    // How much there is to cut.
    assert!(enrol("whole"));
    let whole = proxy.cut_after(0);
    assert!(whole > 4000, "an enrolment is {whole} bytes long");
    // In the long run each is cut as often as it takes for all of them to meet every byte.
    let cuts = if rounds < LONG_RUN {
        1
    } else {
        whole.div_ceil(rounds)
    };
    let mut broken = 0;
    for round in 0..rounds {
        let name = format!("site-{round}");
        for cut in 0..cuts {
            proxy.cut_after(whole * (cut * rounds + round) / (cuts * rounds));
            broken += u64::from(!enrol(&name));
        }
        proxy.cut_after(u64::MAX);
        assert!(enrol(&name), "{name} was cut and did not recover");
    }
    eprintln!("measured: {rounds} enrolments of {whole} bytes, {broken} interruptions");
    // What comes after the certificate, which is the answer to the device's thanks, stops no enrolment.
    assert!(
        broken * 10 > rounds * cuts * 7,
        "only {broken} of {} were interrupted",
        rounds * cuts
    );

    let mut living = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut args = vec!["cert", "list", "--status", "active", "--limit", "500"];
        if !cursor.is_empty() {
            args.extend(["--cursor", &cursor]);
        }
        let page = muster.json(&args);
        let rows = page["items"].as_array().unwrap().iter();
        living.extend(rows.map(|row| row["device"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(living.len() as u64, rounds + 1, "certificates that live");
    living.sort();
    living.dedup();
    assert_eq!(living.len() as u64, rounds + 1, "devices that have one");
    let token = &muster.json(&["token", "list"])["items"][0];
    assert_eq!(
        (token["used"].as_u64(), token["status"].as_str()),
        (Some(rounds + 1), Some("used up"))
    );
}
