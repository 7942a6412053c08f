//! What the holder of a new certificate gets: four files, one of them a letter that says what to do with the others.

mod formats;

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use jiff::Timestamp;
use zeroize::Zeroizing;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::cert::Certificate;
use crate::explain::words;
use crate::name::San;
use crate::snippet::{self, Facts, Snippet};
pub use crate::snippet::{BadName, Use};

/// What a bundle is made of.
#[derive(Clone)]
pub struct Parts {
    /// The device's name, which is the certificate's common name and the name of the files.
    pub name: String,
    /// What the certificate is for.
    pub kind: Use,
    /// The root, others that take its place or gave it theirs, then the issuing CA: what a broker's `cafile` needs, since OpenSSL asks for
    /// the root, and devices that send only their own certificate need the issuing CA there too. Cross-certificates are left out: the
    /// roots for which they vouch stand there themselves. PEM.
    pub ca_pem: String,
    /// The certificate, then the issuing CA. PEM.
    pub chain_pem: String,
    /// The private key, PKCS#8 PEM; `None` if the device made its own.
    pub key_pem: Option<Zeroizing<String>>,
    /// The broker's host and port, if they are known: written into the configuration.
    pub broker: Option<(String, u16)>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why a bundle cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name cannot be a file name and stand in configuration.
    #[error(transparent)]
    Name(#[from] BadName),
    /// One of the PEM texts cannot be read.
    #[error(transparent)]
    Pem(#[from] crate::Error),
    /// A text holds too few certificates, or not the right ones.
    #[error("{0}")]
    Incomplete(&'static str),
    /// The archive cannot be written.
    #[error("the ZIP archive cannot be made: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// The PKCS#12 file cannot be made.
    #[error(transparent)]
    P12(#[from] crate::p12::Error),
}

/// What tells in a bundle whose it is, and what to do with it. Its first line has the name.
pub const README: &str = "README.txt";

/// One file of a bundle.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, without a folder.
    pub name: String,
    /// What is in it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether it must be readable by its owner alone (mode 0600; the others 0644).
    pub secret: bool,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({}, {} bytes)", self.name, self.bytes.len())
    }
}

/// A bundle whose parts fit together.
#[derive(Debug, Clone)]
pub struct Bundle {
    parts: Parts,
    facts: Facts,
    leaf: Certificate,
    root: Certificate,
    /// The root and the CAs below it.
    cas: Vec<Certificate>,
}

impl Bundle {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Refuses names that are no file names or could not stand in a configuration, PEM that cannot be read, a chain without
    /// the issuing CA, a CA file that does not begin with a root, and a certificate for another name.
    pub fn new(mut parts: Parts) -> Result<Self, Error> {
        let chain = Certificate::all_from_pem(&parts.chain_pem)?;
        let cas = without_crosses(Certificate::all_from_pem(&parts.ca_pem)?);
        parts.ca_pem = cas.iter().map(Certificate::to_pem).collect::<Result<_, _>>()?;
        let [leaf, _issuing, ..] = chain.as_slice() else {
            return Err(Error::Incomplete(
                "the chain must hold the certificate and the CA that issued it",
            ));
        };
        let root = cas.first().filter(|ca| ca.verify_issued_by(ca.key()).is_ok());
        let root = root.ok_or(Error::Incomplete("the CA file must begin with the root"))?;
        if leaf.common_name().as_ref() != Some(&parts.name) {
            return Err(Error::Incomplete("the certificate is for another name"));
        }
        let facts = facts(&parts, leaf)?;
        Ok(Self {
            facts,
            leaf: leaf.clone(),
            root: root.clone(),
            cas,
            parts,
        })
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// The same for a broker's host and port, which the configuration then names.
    ///
    /// # Errors
    /// Refuses a host that could not stand in a configuration.
    pub fn for_broker(&self, host: &str, port: u16) -> Result<Self, Error> {
        Ok(Self {
            facts: self.facts.clone().with_broker(host, port)?,
            ..self.clone()
        })
    }

    /// What the archive is to be called: `NAME-certs.zip`.
    pub fn zip_name(&self) -> String {
        format!("{}-certs.zip", self.parts.name)
    }

    /// The configuration for this certificate.
    pub fn snippets(&self) -> Vec<Snippet> {
        snippet::for_kind(&self.facts)
    }

    /// `ca.crt`, `NAME.crt`, `NAME.key` (if the key is there) and `README.txt`.
    pub fn files(&self) -> Vec<File> {
        let name = &self.parts.name;
        let file = |name: String, text: &str, secret| File {
            name,
            bytes: Zeroizing::new(text.as_bytes().to_vec()),
            secret,
        };
        let key = self
            .parts
            .key_pem
            .as_ref()
            .map(|pem| file(format!("{name}.key"), pem, true));
        [
            file("ca.crt".to_owned(), &self.parts.ca_pem, false),
            file(format!("{name}.crt"), &self.parts.chain_pem, false),
        ]
        .into_iter()
        .chain(key)
        .chain([file(README.to_owned(), &self.readme(), false)])
        .collect()
    }

    /// The files as a ZIP archive, in a folder called `NAME`. `modified` becomes their date; with the same one the same
    /// bytes come out.
    ///
    /// # Errors
    /// None in practice: the archive is written to memory.
    pub fn zip(&self, modified: Timestamp) -> Result<Zeroizing<Vec<u8>>, Error> {
        let files = self.files();
        // Room for everything at once, so that growing leaves no copy of the key behind.
        let room = files.iter().map(|file| file.bytes.len() + 1024).sum();
        let mut archive = ZipWriter::new(Cursor::new(Vec::with_capacity(room)));
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip_time(modified));
        for file in &files {
            let mode = if file.secret { 0o600 } else { 0o644 };
            archive.start_file(
                format!("{}/{}", self.parts.name, file.name),
                options.unix_permissions(mode),
            )?;
            archive
                .write_all(&file.bytes)
                .map_err(zip::result::ZipError::from)?;
        }
        Ok(Zeroizing::new(archive.finish()?.into_inner()))
    }

    fn readme(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_readme(&mut text);
        text
    }

    fn write_readme(&self, out: &mut String) -> std::fmt::Result {
        let name = &self.parts.name;
        let title = format!("Certificate of {name}");
        writeln!(out, "{title}\n{}\n", "=".repeat(title.chars().count()))?;
        writeln!(out, "It lets {name} {}.", purpose(self.parts.kind))?;
        writeln!(out, "Issued by    {}", issuer(&self.leaf))?;
        writeln!(out, "Valid from   {}", words::moment(self.leaf.not_before()))?;
        writeln!(out, "Valid until  {}", words::moment(self.leaf.not_after()))?;
        let sans: Vec<String> = self.leaf.sans().iter().map(San::text).collect();
        if !sans.is_empty() {
            writeln!(out, "Good for     {}", words::clean(&sans.join(", ")))?;
        }
        writeln!(out, "Serial       {}", crate::hex(self.leaf.serial()))?;
        writeln!(
            out,
            "CA           SHA-256 {}",
            crate::hex(&self.root.fingerprint())
        )?;
        writeln!(out, "             The same must stand in: muster ca show\n")?;
        self.write_files(out)?;
        self.write_places(out)?;
        self.write_configuration(out)?;
        self.write_later(out)
    }

    fn write_files(&self, out: &mut String) -> std::fmt::Result {
        let name = &self.parts.name;
        heading(out, "The files")?;
        let roots = match self.cas.iter().filter(|ca| is_root(ca)).count() {
            0 | 1 => "the root",
            _ => "the root, roots that take each other's place",
        };
        writeln!(
            out,
            "ca.crt        The CA: {roots}, then the issuing CA. By it one knows whom to trust. Not secret."
        )?;
        writeln!(out, "{name}.crt")?;
        writeln!(
            out,
            "              The certificate, then the issuing CA. It is shown to everybody. Not secret."
        )?;
        if self.parts.key_pem.is_some() {
            writeln!(out, "{name}.key")?;
            writeln!(
                out,
                "              The private key. Whoever has it is {name}: carry it over protected ways only, never by"
            )?;
            writeln!(
                out,
                "              mail, and delete this copy once it is in place. The server did not keep one."
            )?;
        } else {
            writeln!(
                out,
                "              The private key is not here: it was made by its owner and never left."
            )?;
        }
        writeln!(out)
    }

    fn write_places(&self, out: &mut String) -> std::fmt::Result {
        heading(out, "Where they go")?;
        writeln!(
            out,
            "The key must be readable by the broker's own user, which is not root, and by nobody else; the lists likewise.\n"
        )?;
        writeln!(out, "Mosquitto:\n")?;
        self.write_install(out, "/etc/mosquitto/certs", "mosquitto")?;
        if self.parts.kind != Use::Client {
            writeln!(
                out,
                "    sudo install -o mosquitto -g mosquitto -m 0640 muster.acl /etc/mosquitto/   # made from below"
            )?;
            writeln!(
                out,
                "    sudo muster ca crl --out /etc/mosquitto/certs/crl.pem     # renewed before it runs out\n"
            )?;
            writeln!(out, "EMQX:\n")?;
            self.write_install(out, "/etc/emqx/certs", "emqx")?;
        }
        writeln!(out)
    }

    fn write_install(&self, out: &mut String, folder: &str, group: &str) -> std::fmt::Result {
        let name = &self.parts.name;
        writeln!(out, "    sudo install -d -o root -g {group} -m 0750 {folder}")?;
        writeln!(
            out,
            "    sudo install -o root -g {group} -m 0644 ca.crt {name}.crt {folder}/"
        )?;
        writeln!(
            out,
            "    sudo install -o root -g {group} -m 0640 {name}.key {folder}/"
        )
    }

    fn write_configuration(&self, out: &mut String) -> std::fmt::Result {
        for snippet in self.snippets() {
            heading(out, snippet.title)?;
            writeln!(out, "{}:\n", snippet.file)?;
            for line in snippet.text.lines() {
                writeln!(out, "{}", format!("    {line}").trim_end())?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_later(&self, out: &mut String) -> std::fmt::Result {
        let name = &self.parts.name;
        heading(out, "Later")?;
        writeln!(out, "Before {} renew it:", words::date(self.leaf.not_after()))?;
        writeln!(out, "    muster cert renew {name}")?;
        writeln!(
            out,
            "If the key may have got into other hands, shut {name} out at once:"
        )?;
        writeln!(out, "    muster device revoke {name} --reason key-compromise")?;
        writeln!(out, "What is in a file, and whether it holds, in plain words:")?;
        writeln!(out, "    muster cert inspect {name}.crt")?;
        writeln!(out, "    muster cert verify {name}.crt --ca ca.crt")
    }
}

fn is_root(ca: &Certificate) -> bool {
    matches!((ca.subject(), ca.issuer()), (Ok(subject), Ok(issuer)) if subject == issuer)
}

/// A cross-certificate has the name and the key of a root, and another's signature.
fn without_crosses(mut cas: Vec<Certificate>) -> Vec<Certificate> {
    let roots: Vec<_> = cas.iter().filter(|ca| is_root(ca)).cloned().collect();
    let stands_for = |ca: &Certificate, root: &Certificate| {
        ca.common_name() == root.common_name() && ca.key() == root.key()
    };
    cas.retain(|ca| is_root(ca) || !roots.iter().any(|root| stands_for(ca, root)));
    cas
}

fn facts(parts: &Parts, leaf: &Certificate) -> Result<Facts, Error> {
    let sans = leaf.sans();
    let dns = sans.iter().filter_map(|san| {
        if let San::Dns(name) = san {
            Some(name.as_str())
        } else {
            None
        }
    });
    let addresses = sans.iter().filter_map(|san| {
        if let San::Ip(address) = san {
            Some(*address)
        } else {
            None
        }
    });
    let facts = Facts::new(&parts.name, parts.kind)?.with_sans(dns, addresses);
    match &parts.broker {
        Some((host, port)) => Ok(facts.with_broker(host, *port)?),
        None => Ok(facts),
    }
}

fn issuer(leaf: &Certificate) -> String {
    let name = leaf
        .issuer()
        .ok()
        .and_then(|der| crate::name::from_der(&der).ok());
    name.map(|name| words::short_name(&name)).unwrap_or_default()
}

fn purpose(kind: Use) -> &'static str {
    match kind {
        Use::Client => "identify itself to a broker",
        Use::Server => "identify itself to its clients as the broker it is",
        Use::Broker => {
            "identify itself to its clients as the broker it is, and to another broker as a client"
        }
    }
}

fn heading(out: &mut String, title: &str) -> std::fmt::Result {
    writeln!(out, "{title}\n{}\n", "-".repeat(title.chars().count()))
}

/// ZIP's dates run from 1980 to 2107 and have no time zone; UTC is written. What is outside becomes the nearest end.
fn zip_time(at: Timestamp) -> DateTime {
    let civil = at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let year = u16::try_from(civil.year().clamp(1980, 2107)).unwrap_or(1980);
    let part = |value: i8| u8::try_from(value).unwrap_or(0);
    DateTime::from_date_and_time(
        year,
        part(civil.month()),
        part(civil.day()),
        part(civil.hour()),
        part(civil.minute()),
        part(civil.second()),
    )
    .unwrap_or_default()
}
