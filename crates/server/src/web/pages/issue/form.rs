//! The form: its fields, and what is read from them. Whatever can be wrong with the text itself is found here, all at
//! once; what the authority refuses it says itself.

use jiff::SignedDuration;
use muster_ca::device::DeviceName;
use muster_ca::{About, Wish};
use muster_pki::csr::Csr;
use muster_pki::key::KeyKind;
use muster_pki::name::San;
use muster_pki::time::{format_duration, parse_duration};
use serde::Deserialize;

use crate::files::usual_key;
use crate::web::components::{Field, Lines, lasting, option, quoted};
use crate::web::fault::Fault;
use crate::web::visit::Visit;

/// What the form sends; a link may fill it in.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Sent {
    pub(super) name: String,
    profile: String,
    validity: String,
    sans: String,
    /// `here` or `csr`.
    key: String,
    csr: String,
    /// The same as a file.
    csr_file: String,
}

impl Sent {
    /// Whether what it cannot do without is still missing.
    pub(super) fn is_blank(&self) -> bool {
        let missing = if self.own_key() { self.csr() } else { &self.name };
        missing.trim().is_empty()
    }

    /// The request: what was pasted, else the file.
    fn csr(&self) -> &str {
        if self.csr.trim().is_empty() {
            &self.csr_file
        } else {
            &self.csr
        }
    }

    /// Whether its owner made the key and sends a request.
    pub(super) fn own_key(&self) -> bool {
        self.key == "csr"
    }
}

/// What was read.
pub(super) struct Wished {
    pub(super) name: DeviceName,
    pub(super) wish: Wish,
    /// The request that was sent, DER; empty if the server makes the key.
    pub(super) csr: Vec<u8>,
    /// Which key the server makes.
    pub(super) key: KeyKind,
    life: Option<SignedDuration>,
}

/// The fields that can be refused.
pub(super) const FIELDS: [&str; 5] = ["name", "profile", "validity", "sans", "csr"];

/// Why there is no certificate, and beside which field that belongs.
#[derive(Default)]
pub(super) struct Refusals {
    beside: Vec<(&'static str, String)>,
    /// No field is to blame.
    pub(super) whole: Option<String>,
}

/// Why nothing came of it: what to mend in the form, or what no mending helps against.
pub(super) enum Refused {
    Form(Refusals),
    Fault(Fault),
}

impl Refusals {
    /// Why a field is refused; empty if it is not.
    pub(super) fn of(&self, field: &str) -> &str {
        let found = self.beside.iter().find(|(name, _)| *name == field);
        found.map_or("", |(_, why)| why)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.beside.is_empty() && self.whole.is_none()
    }

    /// The value, or a note why there is none.
    fn kept<T, E: std::fmt::Display>(&mut self, field: &'static str, read: Result<T, E>) -> Option<T> {
        read.map_err(|why| self.beside.push((field, why.to_string())))
            .ok()
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        if !fault.is_of_the_form() {
            return Self::Fault(fault);
        }
        Self::Form(Refusals {
            whole: Some(whole_text(&fault)),
            ..Refusals::default()
        })
    }
}

/// What the authority says stands beside the field that it is about.
impl From<muster_ca::Error> for Refused {
    fn from(why: muster_ca::Error) -> Self {
        let about = if let muster_ca::Error::Refused(refusal) = &why {
            refusal.about
        } else {
            None
        };
        let fault = Fault::from(why);
        let field = match about {
            Some(About::Name) => "name",
            Some(About::Profile) => "profile",
            Some(About::Validity) => "validity",
            Some(About::Sans) => "sans",
            Some(About::Request) => "csr",
            None => return fault.into(),
        };
        Self::Form(Refusals {
            beside: vec![(field, whole_text(&fault))],
            whole: None,
        })
    }
}

fn whole_text(fault: &Fault) -> String {
    match &fault.fix {
        Some(fix) => format!("{}; {fix}", fault.message),
        None => fault.message.clone(),
    }
}

/// Reads the form; all that is wrong with it is told together.
pub(super) fn read(visit: &Visit, sent: &Sent) -> Result<Wished, Refused> {
    let mut wrong = Refusals::default();
    let csr = wrong.kept("csr", read_csr(sent)).unwrap_or_default();
    let parsed = Csr::from_der(&csr).ok();
    let common_name = parsed.as_ref().and_then(Csr::common_name);
    let name = match (sent.name.trim(), common_name) {
        ("", Some(named)) => named,
        (typed, _) => typed,
    };
    let name = wrong.kept("name", DeviceName::parse(name));
    let life = wrong.kept("validity", read_validity(&sent.validity)).flatten();
    let not_after = life.map(|life| visit.now().checked_add(life)).transpose();
    let not_after = wrong
        .kept("validity", not_after.map_err(|_| "that is too long"))
        .flatten();
    let profile = Some(sent.profile.as_str()).filter(|profile| !profile.is_empty());
    let profile = profile.unwrap_or("client");
    let key = wrong.kept("profile", usual_key(visit.ca(), profile));
    let sans = wrong.kept("sans", read_sans(&sent.sans));
    let (Some(name), Some(sans), Some(key), true) = (name, sans, key, wrong.is_empty()) else {
        return Err(Refused::Form(wrong));
    };
    Ok(Wished {
        wish: Wish {
            name: Some(name.to_string()),
            profile: (!sent.profile.is_empty()).then(|| sent.profile.clone()),
            sans,
            not_after,
            ..Wish::default()
        },
        name,
        csr,
        key,
        life,
    })
}

fn read_csr(sent: &Sent) -> Result<Vec<u8>, muster_pki::Error> {
    if !sent.own_key() {
        return Ok(Vec::new());
    }
    let der = Csr::der_from_pem(sent.csr())?;
    Csr::from_der(&der)?;
    Ok(der)
}

/// A bare number means days, as the old GUI had it.
fn read_validity(text: &str) -> Result<Option<SignedDuration>, String> {
    let text = text.trim().replace(' ', "").to_lowercase();
    let text = text
        .strip_suffix("days")
        .or(text.strip_suffix("day"))
        .unwrap_or(&text);
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.bytes().all(|byte| byte.is_ascii_digit());
    let life = parse_duration(&if bare { format!("{text}d") } else { text.to_owned() });
    match life {
        Ok(life) if life > SignedDuration::ZERO => Ok(Some(life)),
        Ok(_) => Err("a certificate is valid for more than nothing".into()),
        Err(why) => Err(why.to_string()),
    }
}

fn read_sans(text: &str) -> Result<Vec<San>, muster_pki::Error> {
    let words = text.split([',', ';', ' ', '\n', '\r', '\t']);
    words.filter(|word| !word.is_empty()).map(San::parse).collect()
}

pub(super) fn name(sent: &Sent) -> Field {
    Field::text("name", "Site/Device Name")
        .value(&sent.name)
        .required()
        .live()
        .hint(
            "Becomes the certificate's common name (CN), the MQTT username and the client id. \
             Lower-case letters, digits, '-', '.' and '_'. A server's name is the one that clients connect to.",
        )
        .verbatim()
        .with("maxlength", "64")
}

pub(super) fn profile(visit: &Visit, sent: &Sent) -> Field {
    let words = |name: &str, kind: &str| match name {
        "client" => "Client: a site or device that connects to a broker".to_owned(),
        "server" => "Server: an MQTT broker such as EMQX or Mosquitto".to_owned(),
        "broker" => "Broker: a server that also connects to another broker".to_owned(),
        _ => format!("{name} (a {kind})"),
    };
    let profiles = visit.ca().profiles();
    let options = profiles.map(|one| (one.name().to_owned(), words(one.name(), one.kind().as_str())));
    Field::choice("profile", "Certificate Type", options.collect())
        .value(if sent.profile.is_empty() {
            "client"
        } else {
            &sent.profile
        })
        .required()
        .live()
}

pub(super) fn validity(visit: &Visit, sent: &Sent) -> Field {
    let profiles = visit.ca().profiles();
    let says = profiles.map(|one| {
        let (_, usual, most) = one.validity();
        format!(
            "{} for {} (at most {})",
            lasting(usual),
            one.name(),
            lasting(most)
        )
    });
    let says: Vec<_> = says.collect();
    Field::text("validity", "Validity Period")
        .value(&sent.validity)
        .live()
        .hint(&format!("Such as 30d or 12h. Left empty: {}.", says.join(", ")))
        .with("autocomplete", "off")
        .with("size", "12")
}

pub(super) fn sans(sent: &Sent) -> Field {
    Field::text("sans", "Subject Alternative Names")
        .value(&sent.sans)
        .live()
        .hint(
            "Further DNS names and addresses under which clients reach a server, such as mqtt.ak-sg.com, 10.0.80.50. \
             The name above need not be repeated.",
        )
        .verbatim()
}

pub(super) fn csr(sent: &Sent) -> Field {
    Field::lines("csr", "Certificate request (CSR)")
        .value(sent.csr())
        .live()
        .hint("Paste the text that begins with -----BEGIN CERTIFICATE REQUEST-----, or choose its file.")
        .with("autocomplete", "off")
}

/// The same on the command line and as a call.
pub(super) fn lines(sent: &Sent, wished: &Wished) -> Lines {
    let sans: Vec<_> = wished.wish.sans.iter().map(ToString::to_string).collect();
    let profile = wished.wish.profile.as_deref().unwrap_or("client");
    let validity = wished.life.map(format_duration);
    let given =
        |name: &str, value: Option<String>| value.map(|value| option(name, &value)).unwrap_or_default();
    let verb = if sent.own_key() {
        "sign request.csr".to_owned()
    } else {
        format!("issue {}", quoted(wished.name.as_str()))
    };
    let cli = format!(
        "muster cert {verb} --kind {}{}{}",
        quoted(profile),
        given("validity", validity.clone()),
        given("san", (!sans.is_empty()).then(|| sans.join(",")))
    );
    let mut body = serde_json::json!({
        "name": wished.name.as_str(), "profile": profile, "sans": sans, "validity": validity,
    });
    let api = if sent.own_key() {
        body["csr"] = "-----BEGIN CERTIFICATE REQUEST-----…".into();
        "POST /certificates"
    } else {
        "POST /bundles"
    };
    Lines::new("issue", &cli, api).with_body(&body)
}
