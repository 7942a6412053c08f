//! A bundle in the forms that other programs want: one PEM file, DER, PKCS#12, a Kubernetes Secret, a C header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Bundle, Error, File};
use crate::key::PrivateKey;
use crate::{p12, pem};

/// The longest name of a Kubernetes object (RFC 1123, as its documentation has it).
const KUBERNETES_NAME: usize = 253;

impl Bundle {
    /// `NAME.pem`: the key (if it is there), the certificate, the issuing CA and the root, as HAProxy and others take them.
    pub fn pem(&self) -> File {
        let parts = &self.parts;
        let key = parts.key_pem.as_ref().map_or("", |pem| pem.as_str());
        let root = pem::encode(pem::CERTIFICATE, self.root.der()).unwrap_or_default();
        self.file(".pem", &[key, &parts.chain_pem, &root], parts.key_pem.is_some())
    }

    /// `NAME.der`: the certificate alone, DER.
    pub fn der(&self) -> File {
        File {
            name: format!("{}.der", self.parts.name),
            bytes: Zeroizing::new(self.leaf.der().to_vec()),
            secret: false,
        }
    }

    /// `NAME.key.der`: the private key, PKCS#8 DER; `None` if it is not there.
    ///
    /// # Errors
    /// The key's PEM cannot be read.
    pub fn key_der(&self) -> Result<Option<File>, Error> {
        let Some(text) = &self.parts.key_pem else {
            return Ok(None);
        };
        Ok(Some(File {
            name: format!("{}.key.der", self.parts.name),
            bytes: Zeroizing::new(PrivateKey::from_pem(text)?.pkcs8().to_vec()),
            secret: true,
        }))
    }

    /// `NAME.p12`: key and certificates under a password; `None` if the key is not there. `seed` is fresh for this file.
    ///
    /// # Errors
    /// The key's PEM cannot be read, or as [`p12::pfx`].
    pub fn p12(&self, password: &str, seed: &[u8; p12::SEED_LEN]) -> Result<Option<File>, Error> {
        let Some(text) = &self.parts.key_pem else {
            return Ok(None);
        };
        let key = PrivateKey::from_pem(text)?;
        let cas: Vec<&[u8]> = self.cas.iter().map(|ca| ca.der()).collect();
        let bytes = p12::pfx(&p12::Pfx {
            name: &self.parts.name,
            key_pkcs8: key.pkcs8(),
            leaf: self.leaf.der(),
            chain: &cas,
            password,
            seed,
        })?;
        Ok(Some(File {
            name: format!("{}.p12", self.parts.name),
            bytes,
            secret: true,
        }))
    }

    /// `NAME-secret.yaml`: a Kubernetes Secret of type `kubernetes.io/tls` with `tls.crt`, `tls.key` and `ca.crt`; `None`
    /// if the key, which that type demands, is not there.
    pub fn kubernetes(&self) -> Option<File> {
        let parts = &self.parts;
        let key = parts.key_pem.as_ref()?;
        let base64 = |text: &str| Zeroizing::new(STANDARD.encode(text));
        Some(self.file(
            "-secret.yaml",
            &[
                "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata:\n  name: ",
                &kubernetes_name(&parts.name),
                "\ndata:\n  ca.crt: ",
                &base64(&parts.ca_pem),
                "\n  tls.crt: ",
                &base64(&parts.chain_pem),
                "\n  tls.key: ",
                &base64(key),
                "\n",
            ],
            true,
        ))
    }

    /// `NAME.h`: the PEM texts as strings for C, as ESP-IDF and Arduino take them; without the key if it is not there.
    pub fn c_header(&self) -> File {
        let parts = &self.parts;
        let ca = c_string("muster_ca_pem", &parts.ca_pem);
        let certificate = c_string("muster_cert_pem", &parts.chain_pem);
        let key = parts.key_pem.as_ref();
        let key = key.map_or_else(Zeroizing::default, |pem| c_string("muster_key_pem", pem));
        let about = format!(
            "/* Certificate of {}. Each text ends with a NUL, as mbedTLS wants it: its length is sizeof. */\n\
             #ifndef MUSTER_IDENTITY_H\n#define MUSTER_IDENTITY_H\n\n",
            parts.name
        );
        self.file(
            ".h",
            &[&about, &ca, &certificate, &key, "#endif\n"],
            parts.key_pem.is_some(),
        )
    }

    /// Puts texts together with room for all of them, so that growing leaves no copy of a key behind.
    fn file(&self, ending: &str, texts: &[&str], secret: bool) -> File {
        let room = texts.iter().map(|text| text.len()).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
        }
        File {
            name: format!("{}{ending}", self.parts.name),
            bytes,
            secret,
        }
    }
}

/// Kubernetes has names of lower-case letters, digits, `-` and `.`; a device's may have other characters.
fn kubernetes_name(name: &str) -> String {
    let plain = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '.') => letter,
        _ => '-',
    };
    let name: String = name.chars().take(KUBERNETES_NAME).map(plain).collect();
    let labels = name.split('.').map(|label| label.trim_matches('-'));
    let labels: Vec<_> = labels.filter(|label| !label.is_empty()).collect();
    if labels.is_empty() {
        "device".to_owned()
    } else {
        labels.join(".")
    }
}

/// PEM has no character that C would take for something else.
fn c_string(name: &str, pem: &str) -> Zeroizing<String> {
    let lines = || pem.lines().filter(|line| !line.is_empty());
    let room = lines().map(|line| line.len() + 8).sum::<usize>() + name.len() + 64;
    let mut text = Zeroizing::new(String::with_capacity(room));
    for part in ["static const char ", name, "[] ="] {
        text.push_str(part);
    }
    for line in lines() {
        for part in ["\n    \"", line, "\\n\""] {
            text.push_str(part);
        }
    }
    text.push_str(";\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_takes_every_name() {
        for (name, want) in [
            ("site-001", "site-001"),
            ("site_1", "site-1"),
            ("tenant:8fa3", "tenant-8fa3"),
            ("a..b-", "a.b"),
            ("_", "device"),
            ("mqtt.ak-sg.com", "mqtt.ak-sg.com"),
        ] {
            assert_eq!(kubernetes_name(name), want);
        }
    }
}
