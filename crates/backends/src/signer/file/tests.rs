//! Keys that come back, keys that do not, and what OpenSSL thinks of the files.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;

use tempfile::TempDir;

use super::*;

const PASSPHRASE: &[u8] = b"correct horse battery staple";

fn signer(dir: &TempDir, passphrase: &[u8]) -> FileSigner {
    FileSigner::open(&dir.path().join("keys"), Zeroizing::new(passphrase.to_vec())).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_key_is_kept_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = signer(&dir, PASSPHRASE)
        .create("default-1", KeyKind::P256)
        .await
        .unwrap();
    let keys = dir.path().join("keys");
    assert_eq!((mode(&keys), mode(&keys.join("default-1.pem"))), (0o700, 0o600));
    let files: Vec<_> = std::fs::read_dir(&keys)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(files, ["default-1.pem"], "nothing is left beside it");

    let again = signer(&dir, PASSPHRASE);
    assert_eq!(again.public("default-1").await.unwrap(), made);
    let signature = again.key("default-1").await.unwrap().sign(b"message").unwrap();
    made.verify(KeyKind::P256.signature_algorithm(), b"message", &signature)
        .unwrap();
}

#[tokio::test]
async fn names_are_taken_once_and_keys_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let signer = signer(&dir, PASSPHRASE);
    let first = signer.create("root", KeyKind::P384).await.unwrap();
    let taken = Err(SignerError::Exists("root".into()));
    assert_eq!(signer.create("root", KeyKind::P256).await, taken);
    let other = generate(KeyKind::Ed25519).unwrap();
    let import = |name| signer.import(name, Zeroizing::new(other.pkcs8().to_vec()));
    assert_eq!(import("root").await, taken);
    assert_eq!(signer.public("root").await.unwrap(), first);
    assert_eq!(import("imported").await.unwrap(), *other.public());
    assert_eq!(
        signer.public("missing").await,
        Err(SignerError::Missing("missing".into()))
    );
}

#[tokio::test]
async fn a_wrong_passphrase_opens_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    signer(&dir, PASSPHRASE)
        .create("root", KeyKind::P256)
        .await
        .unwrap();
    let locked = signer(&dir, b"wrong").public("root").await.unwrap_err();
    assert_eq!(locked, SignerError::Locked("root".into()));
    assert!(!locked.to_string().contains("wrong"));
}

#[tokio::test]
async fn no_key_is_made_under_another_passphrase_than_those_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    signer(&dir, PASSPHRASE)
        .create("root", KeyKind::P256)
        .await
        .unwrap();
    let locked = SignerError::Locked("root".into());
    let other = signer(&dir, b"wrong");
    assert_eq!(other.prove().await, Err(locked.clone()));
    assert_eq!(other.create("next", KeyKind::P256).await, Err(locked.clone()));
    let brought = Zeroizing::new(generate(KeyKind::P256).unwrap().pkcs8().to_vec());
    assert_eq!(other.import("next", brought).await, Err(locked));
    let again = signer(&dir, PASSPHRASE);
    assert_eq!(
        again.public("next").await,
        Err(SignerError::Missing("next".into()))
    );
    again.create("next", KeyKind::P256).await.unwrap();
}

#[tokio::test]
async fn a_rehearsal_uses_keys_and_writes_none() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let open = |passphrase: &[u8]| FileSigner::rehearse(&keys, Zeroizing::new(passphrase.to_vec()));
    open(PASSPHRASE).create("root", KeyKind::P256).await.unwrap();
    assert!(!keys.exists());
    let root = signer(&dir, PASSPHRASE)
        .create("root", KeyKind::P256)
        .await
        .unwrap();
    let rehearsal = open(PASSPHRASE);
    assert_eq!(rehearsal.public("root").await.unwrap(), root);
    let made = rehearsal.create("next", KeyKind::P256).await.unwrap();
    assert_eq!(rehearsal.public("next").await.unwrap(), made);
    assert_eq!(
        rehearsal.create("root", KeyKind::P256).await,
        Err(SignerError::Exists("root".into()))
    );
    assert_eq!(
        open(b"wrong").create("next", KeyKind::P256).await,
        Err(SignerError::Locked("root".into()))
    );
    assert!(!keys.join("next.pem").exists());
}

#[tokio::test]
async fn names_do_not_lead_out_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let signer = signer(&dir, PASSPHRASE);
    for bad in [
        "",
        "..",
        "../root",
        "a/b",
        ".hidden",
        "A",
        "a b",
        &"x".repeat(129),
    ] {
        assert!(
            matches!(
                signer.create(bad, KeyKind::P256).await,
                Err(SignerError::Failed(_))
            ),
            "{bad}"
        );
        assert!(
            matches!(signer.public(bad).await, Err(SignerError::Failed(_))),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn files_that_hold_no_encrypted_key_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let signer = signer(&dir, PASSPHRASE);
    let plain = generate(KeyKind::P256).unwrap().to_pem().unwrap();
    for text in ["", "rubbish", plain.as_str(), &"x".repeat(100_000)] {
        std::fs::write(dir.path().join("keys/odd.pem"), text).unwrap();
        assert!(matches!(signer.public("odd").await, Err(SignerError::Failed(_))));
    }
}

#[tokio::test]
async fn openssl_reads_what_we_write_and_we_read_what_it_writes() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ours = signer(&dir, PASSPHRASE);
    let secret = dir.path().join("passphrase");
    std::fs::write(&secret, PASSPHRASE).unwrap();
    let pass = format!("file:{}", secret.display());
    for (name, kind) in [
        ("ec", KeyKind::P256),
        ("ed", KeyKind::Ed25519),
        ("rsa", KeyKind::Rsa(2048)),
    ] {
        let public = ours.create(name, kind).await.unwrap();
        let pem = dir.path().join("keys").join(format!("{name}.pem"));
        let read = Command::new("openssl")
            .args(["pkcs8", "-passin", &pass, "-in"])
            .arg(&pem)
            .output()
            .unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        let plain = PrivateKey::from_pem(&String::from_utf8(read.stdout).unwrap()).unwrap();
        assert_eq!(*plain.public(), public);
    }
    let key = dir.path().join("theirs.key");
    std::fs::write(
        &key,
        generate(KeyKind::P521).unwrap().to_pem().unwrap().as_bytes(),
    )
    .unwrap();
    for (name, options) in [
        ("pbkdf2", ["-v2", "aes-256-cbc"].as_slice()),
        ("scrypt", ["-scrypt"].as_slice()),
    ] {
        let written = Command::new("openssl")
            .args(["pkcs8", "-topk8", "-passout", &pass, "-in"])
            .arg(&key)
            .arg("-out")
            .arg(dir.path().join(format!("keys/{name}.pem")))
            .args(options)
            .output()
            .unwrap();
        assert!(
            written.status.success(),
            "{}",
            String::from_utf8_lossy(&written.stderr)
        );
        assert_eq!(ours.public(name).await.unwrap().kind(), KeyKind::P521);
    }
}
