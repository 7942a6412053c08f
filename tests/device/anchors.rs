//! A root takes another one's place: what a device believes, and what it does not. Here another server sends what Muster itself never would;
//! what Muster sends is in `roots.rs`.

use std::sync::{Arc, Mutex};

use crate::Device;
use crate::other_ca::{AUTHORITY, Authority, CLIENT, Scene, serve, shown};

#[test]
fn another_root_is_believed_by_the_word_of_the_one_before_and_that_one_can_go() {
    let place = tempfile::tempdir().unwrap();
    let device = Device {
        dir: place.path().join("device"),
    };
    let always = (-1, 1000);
    let (old, new) = (
        Authority::root("Old root", always),
        Authority::root("New root", always),
    );
    let [old_issuing, new_issuing] = [old.below("Issuing 1"), new.below("Issuing 2")].map(Arc::new);
    let scene = Arc::new(Mutex::new(Scene::new(&old_issuing, old.pem())));
    let change = |change: &dyn Fn(&mut Scene)| change(&mut scene.lock().unwrap());
    let port = serve(scene.clone(), &device.file("ca.crt"));
    device.ok(&[
        "agent",
        "enrol",
        &format!("site-001:mt_x@localhost:{port}/{}", old.fingerprint()),
    ]);
    assert_eq!(device.read("ca.crt"), old.pem() + &old_issuing.pem());

    // Who may not vouch for it, or not now.
    let stranger = Authority::root("Old root", always);
    let late = Authority::root("New root", (-9, -1));
    let vouched = |by: &Authority, role, days| by.issue("New root", new.key.public(), role, days);
    let wrong = [
        ("nobody", None, &new),
        (
            "one of that name",
            Some(vouched(&stranger, AUTHORITY, always)),
            &new,
        ),
        (
            "the issuing CA",
            Some(vouched(&old_issuing, AUTHORITY, always)),
            &new,
        ),
        (
            "it, until yesterday",
            Some(vouched(&old, AUTHORITY, (-9, -1))),
            &new,
        ),
        (
            "it, from tomorrow on",
            Some(vouched(&old, AUTHORITY, (1, 9))),
            &new,
        ),
        ("it, as a client", Some(vouched(&old, CLIENT, always)), &new),
        (
            "it, for another key",
            Some(old.issue("New root", stranger.key.public(), AUTHORITY, always)),
            &new,
        ),
        (
            "it, for a root that ran out",
            Some(old.issue("New root", late.key.public(), AUTHORITY, always)),
            &late,
        ),
    ];
    let all = || ["ca.crt", "agent.json", "site-001.crt", "site-001.key"].map(|name| device.read(name));
    let before = all();
    for (who, cross, root) in &wrong {
        let cross = cross.as_ref().map(|cross| cross.to_pem().unwrap());
        change(&|scene| {
            scene.roots = format!("{}{}{}", old.pem(), root.pem(), cross.clone().unwrap_or_default());
            scene.issuing = new_issuing.clone();
        });
        let said = device.exits(1, &["agent", "renew"]);
        assert!(
            said.contains("not believed") || said.contains("none of the device's roots vouches for"),
            "{who}: {said}"
        );
        assert_eq!(all(), before, "{who}");
        assert_eq!(scene.lock().unwrap().confirmed.len(), 1, "{who}");
    }
    // The right one, and the device has it on the disk before it says so.
    let cross = vouched(&old, AUTHORITY, always).to_pem().unwrap();
    change(&|scene| scene.roots = format!("{}{}{cross}", old.pem(), new.pem()));
    device.ok(&["agent", "renew"]);
    let both = format!("{}{}{}", old.pem(), new.pem(), new_issuing.pem());
    assert_eq!(device.read("ca.crt"), both);
    assert_eq!(scene.lock().unwrap().confirmed.last(), Some(&both));
    // The CA shows itself by the new one.
    change(&|scene| scene.tls = shown(&new_issuing));
    device.ok(&["agent", "renew"]);
    // The old one is not sent any more, and whoever has its key is nobody.
    change(&|scene| scene.roots = new.pem());
    device.ok(&["agent", "renew"]);
    assert_eq!(device.read("ca.crt"), new.pem() + &new_issuing.pem());
    change(&|scene| scene.tls = shown(&old_issuing));
    let heard = scene.lock().unwrap().heard.len();
    let said = device.exits(1, &["agent", "renew"]);
    assert!(said.contains("cannot reach"), "{said}");
    assert_eq!(scene.lock().unwrap().heard.len(), heard, "nothing was sent");
    change(&|scene| scene.tls = shown(&new_issuing));
    device.ok(&["agent", "renew"]);
}
