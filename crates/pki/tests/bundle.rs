//! Bundles and PKCS#12 files, read back by other programs.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::io::{Cursor, Read};

use common::{CLIENT, Lab, SERVER};
use jiff::Timestamp;
use muster_pki::bundle::{Bundle, Error, Parts, Use};
use muster_pki::p12::{self, Pfx, SEED_LEN, pfx};
use zeroize::Zeroizing;

fn parts(lab: &Lab, id: &str, name: &str, kind: Use) -> Parts {
    Parts {
        name: name.to_owned(),
        kind,
        ca_pem: lab.join(&["root.crt", "ca.crt"]),
        chain_pem: lab.join(&[&format!("{id}.crt"), "ca.crt"]),
        key_pem: Some(Zeroizing::new(lab.read(&format!("{id}.key")))),
        broker: Some(("mqtt.ak-sg.com".to_owned(), 8883)),
    }
}

fn text(bundle: &Bundle, file: &str) -> String {
    let file = bundle
        .files()
        .into_iter()
        .find(|found| found.name == file)
        .unwrap();
    String::from_utf8(file.bytes.to_vec()).unwrap()
}

#[test]
fn the_archive_has_what_users_expect() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    let bundle = Bundle::new(parts(&lab, "site", "site-001", Use::Client)).unwrap();
    assert_eq!(bundle.zip_name(), "site-001-certs.zip");
    let modified: Timestamp = "2026-11-21T04:00:02Z".parse().unwrap();
    let bytes = bundle.zip(modified).unwrap();
    assert_eq!(bytes, bundle.zip(modified).unwrap());

    let mut archive = zip::ZipArchive::new(Cursor::new(bytes.as_slice())).unwrap();
    let found: Vec<(String, u32)> = (0..archive.len())
        .map(|index| {
            let file = archive.by_index(index).unwrap();
            assert_eq!(file.last_modified().unwrap().to_string(), "2026-11-21 04:00:02");
            (
                file.name().unwrap().into_owned(),
                file.unix_mode().unwrap() & 0o777,
            )
        })
        .collect();
    let want = [
        ("ca.crt", 0o644),
        ("site-001.crt", 0o644),
        ("site-001.key", 0o600),
        ("README.txt", 0o644),
    ];
    assert_eq!(found, want.map(|(name, mode)| (format!("site-001/{name}"), mode)));
    let mut chain = String::new();
    archive
        .by_name("site-001/site-001.crt")
        .unwrap()
        .read_to_string(&mut chain)
        .unwrap();
    assert_eq!(chain, lab.join(&["site.crt", "ca.crt"]));
    for odd in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        bundle.zip(odd).unwrap();
    }
}

#[test]
fn roots_stand_together_without_the_words_for_each_other() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    lab.root("next", "AK-SG IoT CA 2", "EC -pkeyopt ec_paramgen_curve:P-256");
    lab.write("cross.key", lab.read("next.key"));
    let ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
    lab.certify("cross", "AK-SG IoT CA 2", "root", ca, "-sha256");
    let both = Parts {
        ca_pem: lab.join(&["root.crt", "next.crt", "cross.crt", "ca.crt"]),
        ..parts(&lab, "site", "site-001", Use::Client)
    };
    let bundle = Bundle::new(both).unwrap();
    assert_eq!(
        text(&bundle, "ca.crt"),
        lab.join(&["root.crt", "next.crt", "ca.crt"])
    );
    assert!(text(&bundle, "README.txt").contains("roots that take each other's place, then the issuing CA"));
}

#[test]
fn the_letter_names_dates_files_and_the_ca() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    lab.issue("mqtt", "mqtt.ak-sg.com", "ca", SERVER);
    let site = text(
        &Bundle::new(parts(&lab, "site", "site-001", Use::Client)).unwrap(),
        "README.txt",
    );
    let fingerprint = lab.openssl("x509 -in root.crt -noout -fingerprint -sha256");
    let fingerprint = fingerprint
        .trim()
        .split('=')
        .next_back()
        .unwrap()
        .replace(':', "")
        .to_lowercase();
    for want in [
        "It lets site-001 identify itself to a broker.",
        &format!("SHA-256 {fingerprint}\n"),
        "    address mqtt.ak-sg.com:8883\n",
        "    mosquitto_pub -h mqtt.ak-sg.com -p 8883 --cafile ca.crt --cert site-001.crt --key site-001.key",
        "muster cert verify site-001.crt",
        "Issued by    AK-SG IoT CA issuing CA 1\n",
    ] {
        assert!(site.contains(want), "{want:?} is not in:\n{site}");
    }
    assert!(!site.contains("PRIVATE KEY") && site.lines().all(|line| line.trim_end() == line));
    let server = text(
        &Bundle::new(parts(&lab, "mqtt", "mqtt.ak-sg.com", Use::Server)).unwrap(),
        "README.txt",
    );
    for want in [
        "listeners.ssl.default",
        "server mqtt.ak-sg.com 10.0.80.50:8883 check",
        "listener 8883\n",
        "Good for     mqtt.ak-sg.com",
    ] {
        assert!(server.contains(want), "{want:?} is not in:\n{server}");
    }
    let mut without = parts(&lab, "site", "site-001", Use::Client);
    without.key_pem = None;
    let without = Bundle::new(without).unwrap();
    assert!(without.files().iter().all(|file| !file.secret));
    assert!(text(&without, "README.txt").contains("made by its owner and never left"));
}

#[test]
fn other_programs_read_the_other_forms() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    let good = parts(&lab, "site", "site-001", Use::Client);
    let bundle = Bundle::new(good.clone()).unwrap();
    let utf8 = |file: &muster_pki::bundle::File| String::from_utf8(file.bytes.to_vec()).unwrap();

    let pem = bundle.pem();
    assert_eq!((pem.name.as_str(), pem.secret), ("site-001.pem", true));
    assert_eq!(
        utf8(&pem),
        lab.join(&["site.key", "site.crt", "ca.crt", "root.crt"])
    );

    lab.write("one.der", bundle.der().bytes.as_slice());
    assert_eq!(lab.openssl("x509 -inform DER -in one.der"), lab.read("site.crt"));
    lab.write("key.der", bundle.key_der().unwrap().unwrap().bytes.as_slice());
    let key = lab.openssl("pkey -inform DER -in key.der");
    assert_eq!(key, lab.openssl("pkey -in site.key"));

    let seed: [u8; SEED_LEN] = std::array::from_fn(|index| index as u8);
    let p12 = bundle.p12("a-password", &seed).unwrap().unwrap();
    lab.write("site.p12", p12.bytes.as_slice());
    let all = lab.openssl("pkcs12 -in site.p12 -passin pass:a-password -nodes");
    assert_eq!(all.matches("BEGIN CERTIFICATE").count(), 3);

    let secret = bundle.kubernetes().unwrap();
    assert_eq!(
        (secret.name.as_str(), secret.secret),
        ("site-001-secret.yaml", true)
    );
    let yaml = utf8(&secret);
    assert!(
        yaml.contains("kind: Secret\ntype: kubernetes.io/tls\nmetadata:\n  name: site-001\n"),
        "{yaml}"
    );
    for (key, file) in [("tls.key", "site.key"), ("ca.crt", "cas.crt")] {
        lab.write("cas.crt", lab.join(&["root.crt", "ca.crt"]));
        let found = yaml
            .lines()
            .find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
        lab.write("base64", format!("{}\n", found.unwrap()));
        assert_eq!(lab.openssl("base64 -d -A -in base64"), lab.read(file), "{key}");
    }

    // Without a key nothing is secret, and what needs one is not made.
    let open = Bundle::new(Parts {
        key_pem: None,
        ..good
    })
    .unwrap();
    assert!(!open.pem().secret && !utf8(&open.pem()).contains("PRIVATE"));
    assert!(open.kubernetes().is_none() && open.key_der().unwrap().is_none());
    assert!(open.p12("a-password", &seed).unwrap().is_none());
    assert!(!open.c_header().secret && !utf8(&open.c_header()).contains("PRIVATE"));
}

#[test]
fn a_c_compiler_takes_the_header() {
    let Some(lab) = Lab::with_cas() else { return };
    let Some(cc) = common::program("cc") else {
        return common::skipped("cc");
    };
    lab.issue("site", "site-001", "ca", CLIENT);
    let bundle = Bundle::new(parts(&lab, "site", "site-001", Use::Client)).unwrap();
    let header = bundle.c_header();
    assert!(header.secret);
    lab.write(&header.name, header.bytes.as_slice());
    lab.write(
        "main.c",
        "#include <stdio.h>\n#include \"site-001.h\"\n#include \"site-001.h\"\n\
         int main(void) { printf(\"%s%s%s\", muster_ca_pem, muster_cert_pem, muster_key_pem);\n\
         return sizeof muster_key_pem > 100 ? 0 : 1; }\n",
    );
    let run = |program: &std::path::Path, args: &[&str]| {
        let done = std::process::Command::new(program)
            .args(args)
            .current_dir(lab.dir())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    run(&cc, &["-Wall", "-Werror", "-o", "main", "main.c"]);
    let printed = run(&lab.path("main"), &[]);
    assert_eq!(
        printed,
        lab.join(&["root.crt", "ca.crt", "site.crt", "ca.crt", "site.key"])
    );
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    let good = parts(&lab, "site", "site-001", Use::Client);
    for name in ["../site-001", "a/b", "..", "a\0b", "a\nb", ""] {
        assert!(
            Bundle::new(Parts {
                name: name.to_owned(),
                ..good.clone()
            })
            .is_err(),
            "{name:?}"
        );
    }
    let incomplete = |parts: Parts| assert!(matches!(Bundle::new(parts), Err(Error::Incomplete(_))));
    incomplete(Parts {
        name: "site-002".to_owned(),
        ..good.clone()
    });
    incomplete(Parts {
        chain_pem: lab.read("site.crt"),
        ..good.clone()
    });
    incomplete(Parts {
        ca_pem: lab.read("ca.crt"),
        ..good.clone()
    });
    incomplete(Parts {
        ca_pem: String::new(),
        ..good.clone()
    });
    assert!(!format!("{good:?}").contains("PRIVATE"));
}

#[test]
fn openssl_reads_the_pkcs12_file_back() {
    let Some(lab) = Lab::with_cas() else { return };
    lab.issue("site", "site-001", "ca", CLIENT);
    let der = |args: &str| {
        lab.openssl(&format!("{args} -outform DER -out der"));
        std::fs::read(lab.path("der")).unwrap()
    };
    let (leaf, ca, root) = (
        der("x509 -in site.crt"),
        der("x509 -in ca.crt"),
        der("x509 -in root.crt"),
    );
    let key = der("pkcs8 -topk8 -nocrypt -in site.key");
    let chain: [&[u8]; 2] = [&ca, &root];
    let seed: [u8; SEED_LEN] = std::array::from_fn(|index| index as u8);
    let input = Pfx {
        name: "site-001",
        key_pkcs8: &key,
        leaf: &leaf,
        chain: &chain,
        password: "pässwörd",
        seed: &seed,
    };
    lab.write("site.p12", pfx(&input).unwrap().as_slice());

    let info = lab.try_openssl("pkcs12 -in site.p12 -passin pass:pässwörd -info -noout");
    let info = String::from_utf8(info.stderr).unwrap();
    for want in [
        "MAC: sha256, Iteration 100000",
        "PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256",
    ] {
        assert_eq!(
            info.matches(want).count(),
            if want.starts_with("MAC") { 1 } else { 2 },
            "{info}"
        );
    }
    let all = lab.openssl("pkcs12 -in site.p12 -passin pass:pässwörd -nodes");
    assert_eq!(all.matches("BEGIN CERTIFICATE").count(), 3);
    assert_eq!(all.matches("friendlyName: site-001").count(), 2);
    assert_eq!(all.matches("localKeyID").count(), 2);
    lab.write("back.pem", &all);
    assert_eq!(der("pkcs8 -topk8 -nocrypt -in back.pem"), key);
    let own = lab.openssl("pkcs12 -in site.p12 -passin pass:pässwörd -clcerts -nokeys");
    assert!(own.contains(lab.read("site.crt").trim()));
    assert!(
        !lab.try_openssl("pkcs12 -in site.p12 -passin pass:wrong -noout")
            .status
            .success()
    );

    assert_eq!(
        pfx(&Pfx {
            password: "",
            ..input
        }),
        Err(p12::Error::EmptyPassword)
    );
    assert_eq!(
        pfx(&Pfx {
            key_pkcs8: &leaf,
            ..input
        }),
        Err(p12::Error::Key)
    );
    assert_eq!(
        pfx(&Pfx {
            chain: &[&key],
            ..input
        }),
        Err(p12::Error::Certificate(2))
    );
    assert_eq!(
        pfx(&Pfx {
            name: "\u{1f600}",
            ..input
        }),
        Err(p12::Error::Encode("name"))
    );
    assert!(!format!("{input:?}").contains("pässwörd"));
}
