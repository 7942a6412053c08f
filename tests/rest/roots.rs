//! `muster ca create --follows`: a root that another one vouches for, what is handed out with it, and what cannot follow what.

use muster_pki::cert::Certificate;

use crate::begin::{P256, foreign_ca};
use crate::common::Muster;
use crate::common::https::Https;
use crate::{last_act, openssl, without_server};

/// The common names of the subject and the issuer of every certificate.
fn named(pem: &str) -> Vec<(String, String)> {
    let all = Certificate::all_from_pem(pem).unwrap();
    let names = all
        .iter()
        .map(|one| (one.common_name().unwrap(), one.issuer_common_name().unwrap()));
    names.collect()
}

fn pairs(names: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(subject, issuer): &(&str, &str)| ((*subject).to_owned(), (*issuer).to_owned());
    names.iter().map(pair).collect()
}

const OLD: (&str, &str) = ("Test Root CA", "Test Root CA");
const NEW: (&str, &str) = ("Next Root CA", "Next Root CA");
const CROSS: (&str, &str) = ("Next Root CA", "Test Root CA");

fn read(muster: &Muster, file: &str) -> String {
    std::fs::read_to_string(muster.path().join(file)).unwrap()
}

#[test]
fn both_roots_and_the_word_of_the_one_for_the_other_are_handed_out() {
    let mut muster = without_server();
    let toml = read(&muster, "data/muster.toml");
    muster.ok(&["cert", "issue", "before", "--out", "before"]);
    assert_eq!(named(&read(&muster, "before/ca.crt")).len(), 2);
    let before = muster.json(&["cert", "list", "--device", "before"])["items"][0]["serial"].clone();
    muster.ok(&["ca", "create", "next", "--name", "Next", "--follows", "default"]);
    let act = last_act(&muster);
    assert_eq!(
        (&act["action"], &act["subject"]),
        (&"authority.founded".into(), &"next".into())
    );
    assert!(
        act["detail"].to_string().contains("follows"),
        "whom it follows is in the log: {act}"
    );
    let shown = muster.json(&["ca", "show"]);
    let follows = |name: &str| {
        let all = shown.as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["follows"].clone()
    };
    assert_eq!(follows("next"), "default");
    assert_eq!(
        (follows("default").is_null(), follows("internal").is_null()),
        (true, true)
    );
    assert!(muster.ok(&["ca", "show"]).contains("root, follows default"));

    let profile = "[profile.after]\nbase = \"client\"\nauthority = \"next\"\n";
    std::fs::write(muster.data().join("muster.toml"), format!("{toml}\n{profile}")).unwrap();
    muster.ok(&["cert", "issue", "after", "--kind", "after", "--out", "after"]);
    let after = muster.json(&["cert", "list", "--device", "after"])["items"][0]["serial"].clone();
    let cases = [
        ("before", before, OLD, NEW, ("Test Issuing CA 1", "Test Root CA")),
        ("after", after, NEW, OLD, ("Next Issuing CA 1", "Next Root CA")),
    ];
    for (name, serial, own, other, issuing) in cases {
        // One that was issued before has what there is now, too.
        let shown = muster.json(&["cert", "show", serial.as_str().unwrap()]);
        assert_eq!(
            named(shown["root"].as_str().unwrap()),
            pairs(&[own, other, CROSS])
        );
        assert_eq!(named(shown["issuing"].as_str().unwrap()), pairs(&[issuing]));
        muster.ok(&["cert", "download", name, "--out", "loaded"]);
        assert_eq!(
            named(&read(&muster, "loaded/ca.crt")),
            pairs(&[own, other, issuing])
        );
        assert_eq!(
            named(&read(&muster, &format!("loaded/{name}.crt"))),
            pairs(&[(name, issuing.0), issuing])
        );
        let sent = Certificate::all_from_pem(shown["root"].as_str().unwrap()).unwrap();
        for (file, one) in ["own.crt", "other.crt", "cross.crt"].iter().zip(&sent) {
            std::fs::write(muster.path().join(file), one.to_pem().unwrap()).unwrap();
        }
        let [first, second, cross] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(cross.not_after(), first.not_after().min(second.not_after()));
        assert_eq!(cross.not_before(), first.not_before().max(second.not_before()));
        assert!(cross.may_sign_crls() && cross.authority() == Some(None));
    }
    // The new one alone, and the old one alone with its word for the new one.
    let verify = "verify -x509_strict -purpose sslclient -no-CAfile -no-CApath";
    for trusted in ["-CAfile own.crt", "-CAfile other.crt -untrusted cross.crt"] {
        let line = format!("{verify} {trusted} -untrusted loaded/after.crt loaded/after.crt");
        openssl(&muster, &line);
    }

    // A third one, and `step` is told of all of them.
    muster.ok(&["ca", "create", "third", "--name", "Third", "--follows", "next"]);
    muster.serve();
    let https = Https::new(muster.api, &muster.root());
    let roots = https.get("/roots").json();
    let roots: String = roots["crts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    let third = ("Third Root CA", "Third Root CA");
    assert_eq!(named(&roots), pairs(&[OLD, NEW, third]));
    let shown = muster.json(&["cert", "list", "--device", "after"])["items"][0]["serial"].clone();
    let shown = muster.json(&["cert", "show", shown.as_str().unwrap()]);
    assert_eq!(
        named(shown["root"].as_str().unwrap()),
        pairs(&[NEW, OLD, third, CROSS, ("Third Root CA", "Next Root CA")])
    );
}

#[test]
fn what_cannot_vouch_or_has_vouched_is_not_followed() {
    let muster = without_server();
    if foreign_ca(&muster, P256, P256).is_none() {
        return;
    }
    openssl(
        &muster,
        &format!(
            "req -x509 -newkey {P256} -nodes -keyout flat.key -out flat.crt -days 3650 -subj /CN=Flat \
             -addext basicConstraints=critical,CA:TRUE,pathlen:1 -addext keyUsage=critical,keyCertSign,cRLSign"
        ),
    );
    for line in [
        "ca import elsewhere --root-cert root.crt --issuing-cert issuing.crt --issuing-key issuing.key",
        "ca import flat --root-cert flat.crt --root-key flat.key",
        "ca create lab --name Lab --follows default",
    ] {
        muster.ok(&line.split_whitespace().collect::<Vec<_>>());
    }
    let before = muster.json(&["ca", "show"]);
    for (code, follows, words) in [
        (3, "nobody", "there is no authority \"nobody\""),
        (2, "internal", "nothing follows the authority \"internal\""),
        (
            2,
            "default",
            "lab follows default already; let the new one follow lab",
        ),
        (4, "elsewhere", "the key of the root of elsewhere is not here"),
        (4, "flat", "only one CA may stand below it"),
        (3, "next", "there is no authority \"next\""),
    ] {
        let line = ["ca", "create", "next", "--name", "Next", "--follows", follows];
        for more in [&["--dry-run"][..], &[]] {
            let said = muster.exits(code, &[&line[..], more].concat());
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(muster.json(&["ca", "show"]), before, "{follows}");
    }
    // So many follow one another, and no more.
    let mut last = "lab".to_owned();
    for number in 3..=6 {
        let name = format!("lab-{number}");
        muster.ok(&["ca", "create", &name, "--name", &name, "--follows", &last]);
        last = name;
    }
    let said = muster.exits(2, &["ca", "create", "next", "--name", "Next", "--follows", &last]);
    assert!(said.contains("6 roots follow one another up to lab-6"), "{said}");
    muster.ok(&["ca", "create", "next", "--name", "Next"]);
}
