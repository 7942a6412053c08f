//! Configuration: defaults < `muster.toml` < environment < flags. Every mistake is reported at once.

mod file;
mod pick;
pub(crate) mod web;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) use muster_agent::cli::variable;
use muster_ca::Settings;
use muster_ca::profile::Profiles;
use muster_pki::name::San;
use serde::Serialize;

use self::pick::{Picker, Said};
use crate::cli::report::Failure;

/// The file inside the data directory.
pub(crate) const FILE: &str = "muster.toml";

/// What a server is told by flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Flags {
    /// Display name of the certification authority, for the first run
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Host names and addresses under which clients reach port 9000
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) dns: Vec<String>,
    /// Name of the provisioner that `step` clients use, for the first run
    #[arg(long, value_name = "NAME")]
    pub(crate) provisioner: Option<String>,
    /// Address of the CA API (HTTPS)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// Address of the public listener: CRLs and CA certificates (plain HTTP)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) public_listen: Option<String>,
    /// Address of the GUI: plain HTTP on loopback, else HTTPS
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) web_listen: Option<String>,
    /// URL under which everybody reaches the public listener; goes into certificates
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// File that holds the passphrase of the issuing keys, outside the data directory
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What the first run writes down of what it was told.
#[derive(Serialize)]
struct FirstFile<'a> {
    name: &'a str,
    dns: &'a [String],
    provisioner: &'a str,
    listen: String,
    public_listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase_file: Option<PathBuf>,
    web: FirstWeb,
}

#[derive(Serialize)]
struct FirstWeb {
    listen: String,
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) name: String,
    pub(crate) provisioner: String,
    pub(crate) listen: SocketAddr,
    pub(crate) public_listen: SocketAddr,
    pub(crate) passphrase_file: Option<PathBuf>,
    pub(crate) web: web::Web,
    pub(crate) settings: Settings,
}

/// Every variable that Muster reads, so that a misspelt one is noticed.
const VARIABLES: [&str; 19] = [
    "MUSTER_DATA",
    "MUSTER_NAME",
    "MUSTER_DNS",
    "MUSTER_PROVISIONER",
    "MUSTER_LISTEN",
    "MUSTER_PUBLIC_LISTEN",
    "MUSTER_DIAGNOSIS_LISTEN",
    "MUSTER_PUBLIC_URL",
    "MUSTER_PASSPHRASE_FILE",
    "MUSTER_WEB_LISTEN",
    "MUSTER_WEB_BASE_PATH",
    "MUSTER_WEB_HOSTS",
    "MUSTER_WEB_TRUSTED_PROXIES",
    "MUSTER_URL",
    "MUSTER_ROOT",
    "MUSTER_API_KEY",
    "MUSTER_API_KEY_FILE",
    "MUSTER_CODE",
    "MUSTER_LOG",
];

impl Config {
    /// Reads everything there is for this data directory.
    pub(crate) fn load(data: &Path, flags: &Flags) -> Result<Self, Failure> {
        // A directory of somebody else's would look like one with a mistake in its file.
        crate::assemble::is_initialised(data)?;
        let mut mistakes = unknown_variables();
        mistakes.extend(unreadable_variables());
        let file = file::read(data, &mut mistakes);
        let mut picker = Picker::default();
        let mut first = |key, flag: &Option<String>, variables: &[&str], file, default: &str| {
            let said = Said {
                flag: flag.clone(),
                variables,
                file,
                default,
            };
            picker.pick(key, said)
        };
        let name = first(
            "name",
            &flags.name,
            &["MUSTER_NAME", "DOCKER_STEPCA_INIT_NAME"],
            file.name,
            "Muster",
        );
        let provisioner = first(
            "provisioner",
            &flags.provisioner,
            &["MUSTER_PROVISIONER", "DOCKER_STEPCA_INIT_PROVISIONER_NAME"],
            file.provisioner,
            "iot-devices",
        );
        let listen = first(
            "listen",
            &flags.listen,
            &["MUSTER_LISTEN"],
            file.listen,
            "0.0.0.0:9000",
        );
        let public = first(
            "public_listen",
            &flags.public_listen,
            &["MUSTER_PUBLIC_LISTEN"],
            file.public_listen,
            "0.0.0.0:9080",
        );
        let diagnosis = first(
            "diagnosis_listen",
            &None,
            &["MUSTER_DIAGNOSIS_LISTEN"],
            file.diagnosis_listen,
            "0.0.0.0:8884",
        );
        let public_url = first(
            "public_url",
            &flags.public_url,
            &["MUSTER_PUBLIC_URL"],
            file.public_url,
            "",
        );
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let passphrase_file = first(
            "passphrase_file",
            &flags.passphrase_file.as_ref().map(path),
            &["MUSTER_PASSPHRASE_FILE"],
            // A path in the file is seen from there, wherever Muster is started.
            file.passphrase_file.map(|there| path(&data.join(there))),
            "",
        );
        let dns = names(flags, file.dns, &mut picker, &mut mistakes);
        let listen = address("listen", &listen, &mut mistakes);
        let public_listen = address("public_listen", &public, &mut mistakes);
        let diagnosis_listen = address("diagnosis_listen", &diagnosis, &mut mistakes);
        let public_url = check_public_url(&public_url, &mut mistakes);
        let profiles = Profiles::new(&file.profile)
            .map_err(|more| mistakes.extend(more))
            .ok();
        let known = web::Known {
            data,
            name: &name,
            dns: &dns,
            api_port: listen.map_or(0, |address| address.port()),
            public_port: public_listen.map_or(0, |address| address.port()),
            public_url: public_url.as_deref(),
            diagnosis_listen,
        };
        let flag = flags.web_listen.clone();
        let web = web::check(file.web, flag, &known, picker, &mut mistakes);
        match (listen, public_listen, profiles, web) {
            (Some(listen), Some(public_listen), Some(profiles), Some(web)) if mistakes.is_empty() => {
                Ok(Self {
                    web,
                    data: data.to_owned(),
                    name,
                    provisioner,
                    listen,
                    public_listen,
                    passphrase_file: (!passphrase_file.is_empty()).then(|| PathBuf::from(passphrase_file)),
                    settings: Settings {
                        dns,
                        public_url,
                        profiles,
                    },
                })
            }
            _ => Err(Failure::usage(format!(
                "the configuration has mistakes:\n  {}",
                mistakes.join("\n  ")
            ))
            .fix(format!(
                "mend {} or the environment, then run this again",
                data.join(FILE).display()
            ))),
        }
    }

    /// Writes `muster.toml` for the first run, unless there is one.
    pub(crate) fn write_first(&self) -> std::io::Result<()> {
        let path = self.data.join(FILE);
        if path.exists() {
            return Ok(());
        }
        let first = FirstFile {
            name: &self.name,
            dns: &self.settings.dns,
            provisioner: &self.provisioner,
            listen: self.listen.to_string(),
            public_listen: self.public_listen.to_string(),
            public_url: self.settings.public_url.as_deref(),
            passphrase_file: self
                .passphrase_file
                .as_deref()
                .and_then(|path| std::path::absolute(path).ok()),
            web: FirstWeb {
                listen: self.web.listen.to_string(),
            },
        };
        let text = toml::to_string(&first).map_err(std::io::Error::other)?;
        std::fs::write(
            path,
            format!("# Written at the first run. Every key is explained in docs/configuration.md.\n{text}"),
        )
    }
}

/// Files that variables point at and that cannot be read: what they hold must not be replaced by a default unheard.
fn unreadable_variables() -> Vec<String> {
    let kept = [
        "PKI_PASSWORD",
        "DOCKER_STEPCA_INIT_NAME",
        "DOCKER_STEPCA_INIT_DNS_NAMES",
        "DOCKER_STEPCA_INIT_PROVISIONER_NAME",
    ];
    let ours = VARIABLES
        .iter()
        .chain(&kept)
        .filter(|name| !name.ends_with("_FILE"));
    ours.filter_map(|name| variable(name).err())
        .map(|why| why.to_string())
        .collect()
}

fn unknown_variables() -> Vec<String> {
    let ours = std::env::vars()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("MUSTER_") && !name.starts_with("MUSTER_TEST_"));
    ours.filter(|name| {
        let base = name.strip_suffix("_FILE").unwrap_or(name);
        !VARIABLES.contains(&name.as_str()) && !VARIABLES.contains(&base)
    })
    .map(|name| {
        format!(
            "the environment variable {name} is not known{}",
            nearest(&name, &VARIABLES)
        )
    })
    .collect()
}

fn nearest(name: &str, known: &[&str]) -> String {
    let best = known
        .iter()
        .max_by(|a, b| strsim::jaro(name, a).total_cmp(&strsim::jaro(name, b)));
    best.map(|best| format!("; did you mean {best}?"))
        .unwrap_or_default()
}

fn names(
    flags: &Flags,
    file: Option<Vec<String>>,
    picker: &mut Picker,
    mistakes: &mut Vec<String>,
) -> Vec<String> {
    let variables = ["MUSTER_DNS", "DOCKER_STEPCA_INIT_DNS_NAMES"];
    let names = picker.list("dns", &flags.dns, &variables, file, "localhost,127.0.0.1");
    for name in &names {
        if !matches!(San::parse(name), Ok(San::Dns(_) | San::Ip(_))) {
            mistakes.push(format!("dns: {name:?} is neither a host name nor an address"));
        }
    }
    names
}

fn address(key: &str, text: &str, mistakes: &mut Vec<String>) -> Option<SocketAddr> {
    let full = if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else {
        text.to_owned()
    };
    full.parse()
        .map_err(|_| {
            mistakes.push(format!(
                "{key}: {text:?} is no address and port, such as 0.0.0.0:9000"
            ))
        })
        .ok()
}

/// It goes into certificates that live for years: a name that only this machine knows would be of no use to anybody.
fn check_public_url(text: &str, mistakes: &mut Vec<String>) -> Option<String> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return None;
    }
    let host = text
        .strip_prefix("http://")
        .map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    match host {
        None | Some("") => mistakes.push(format!(
            "public_url: {text:?} does not begin with http:// and a host name"
        )),
        Some("localhost" | "127.0.0.1") => {
            mistakes.push(
                "public_url: localhost means another machine to everybody else; give the name they use"
                    .into(),
            );
        }
        Some(_) => return Some(text.to_owned()),
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    /// Whatever stands there is an address or a URL, or a mistake.
    #[test]
    fn any_text_as_a_value() {
        bolero::check!().with_type::<String>().for_each(|text| {
            let mut mistakes = Vec::new();
            let both = (
                address("listen", text, &mut mistakes),
                check_public_url(text, &mut mistakes),
            );
            assert!(mistakes.len() <= 2 && (both.0.is_some() || !mistakes.is_empty()));
        });
    }
}
