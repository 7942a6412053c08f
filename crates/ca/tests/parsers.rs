//! Any text into the authority's own small languages: serial numbers, device names, reasons, profiles.
//!
//! Each target takes a second; `BOLERO_RANDOM_TEST_TIME_MS` gives it longer.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::path::{Component, Path};

use muster_ca::certificate::Serial;
use muster_ca::device::{DeviceName, Kind, State};
use muster_ca::operator::Role;
use muster_ca::profile::{Profiles, RawProfile};

/// What is made of these words, so that more than noise gets past the first character.
fn sentence(words: &[&str], choice: &[u8]) -> String {
    choice
        .iter()
        .map(|at| words[usize::from(*at) % words.len()])
        .collect()
}

#[test]
fn any_text_as_a_serial_number() {
    let words = [
        "0",
        "1",
        "7",
        "9",
        "a",
        "F",
        "0x",
        "0X",
        "0o",
        "0b",
        "_",
        ":",
        "-",
        "+",
        " ",
        "é",
        "00000000000000000",
    ];
    bolero::check!()
        .with_type::<(String, Vec<u8>)>()
        .for_each(|(text, choice)| {
            for text in [text.as_str(), &sentence(&words, choice)] {
                for serial in [Serial::from_go_integer(text), Serial::from_hex(text)]
                    .into_iter()
                    .flatten()
                {
                    assert!((1..=20).contains(&serial.as_bytes().len()), "{text}");
                    assert_eq!(
                        Serial::from_go_integer(&serial.decimal()).unwrap(),
                        serial,
                        "{text}"
                    );
                    assert_eq!(
                        Serial::from_go_integer(&format!("0x{}", serial.hex())).unwrap(),
                        serial,
                        "{text}"
                    );
                    assert_eq!(Serial::from_hex(&serial.hex()).unwrap(), serial, "{text}");
                }
            }
        });
}

/// Every way in which Go writes a number leads to the number.
#[test]
fn any_number_as_a_serial_number() {
    bolero::check!().with_type::<u128>().for_each(|number| {
        let want = Serial::from_bytes(&number.to_be_bytes());
        for text in [
            format!("{number}"),
            format!("{number:#x}"),
            format!("{number:#o}"),
            format!("{number:#b}"),
        ] {
            assert_eq!(Serial::from_go_integer(&text), want, "{text}");
        }
        assert_eq!(Serial::from_go_integer(&format!("0{number:o}")), want);
        assert_eq!(Serial::from_hex(&format!("{number:x}")), want);
    });
}

/// A name is a directory, an MQTT topic level and a word on a command line.
#[test]
fn any_text_as_a_device_name() {
    let words = [
        "a", "z", "0", "-", ".", "..", "_", "/", "\\", "+", "#", "$", ":", "A", " ", "\u{0}", "é", "muster",
        "site",
    ];
    bolero::check!()
        .with_type::<(String, Vec<u8>)>()
        .for_each(|(text, choice)| {
            for text in [text.as_str(), &sentence(&words, choice)] {
                let Ok(name) = DeviceName::parse(text) else {
                    continue;
                };
                assert_eq!(name.as_str(), text);
                assert!((1..=64).contains(&text.len()));
                assert!(
                    !text.starts_with(['-', '.', '_']) && !text.contains(['/', '\\', '+', '#', '$', ' ']),
                    "{text}"
                );
                assert!(!text.starts_with("muster-") && text != "muster", "{text}");
                let parts: Vec<_> = Path::new(text).components().collect();
                assert!(
                    matches!(parts[..], [Component::Normal(part)] if part == text),
                    "{text}"
                );
            }
        });
}

#[test]
fn any_text_as_a_profile() {
    let words = [
        "1", "30", "d", "h", "m", "-", "", "client", "server", "x", "99999999", ".", "w",
    ];
    bolero::check!()
        .with_type::<(String, [Option<Vec<u8>>; 6])>()
        .for_each(|(name, texts)| {
            let text = |at: usize| {
                texts[at]
                    .as_ref()
                    .map(|choice| sentence(&words, &choice[..choice.len().min(4)]))
            };
            let mut raw = RawProfile::default();
            (raw.base, raw.min, raw.default, raw.max) = (text(0), text(1), text(2), text(3));
            (raw.grace, raw.authority) = (text(4), text(5));
            match Profiles::new(&BTreeMap::from([(name.clone(), raw)])) {
                Ok(profiles) => {
                    let profile = profiles.get(name).unwrap();
                    let (min, default, max) = profile.validity();
                    assert!(
                        min.is_positive()
                            && min <= default
                            && default <= max
                            && !profile.grace().is_negative()
                    );
                    assert!(profile.kind() != Kind::Client || !profile.usages().server);
                }
                Err(mistakes) => assert!(!mistakes.is_empty()),
            }
            let _ = (Kind::parse(name), State::parse(name), Role::parse(name));
        });
}
