//! `haproxy.cfg`.

use super::{At, Report, files};

/// Less than this, and devices with the usual keepalive of a minute are cut off.
const LEAST_SECONDS: u64 = 90;

#[derive(Debug)]
struct Line<'a> {
    at: At,
    words: Vec<&'a str>,
}

impl Line<'_> {
    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// What follows a word.
    fn after(&self, word: &str) -> Option<&str> {
        let place = self.words.iter().position(|one| *one == word)?;
        self.words.get(place + 1).copied()
    }

    fn starts(&self, words: &[&str]) -> bool {
        self.words.starts_with(words)
    }
}

#[derive(Debug)]
struct Section<'a> {
    kind: &'a str,
    name: &'a str,
    at: At,
    lines: Vec<Line<'a>>,
}

impl Section<'_> {
    fn mentions(&self, text: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.words.iter().any(|word| word.contains(text)))
    }
}

fn read<'a>(sources: &[(usize, &'a str)]) -> Vec<Section<'a>> {
    let mut sections: Vec<Section<'a>> = Vec::new();
    for (source, text) in sources {
        for (number, line) in text.lines().enumerate() {
            let at = (*source, number + 1);
            let code = if line.trim_start().starts_with('#') {
                ""
            } else {
                line
            };
            let code = code.split(" #").next().unwrap_or_default();
            let words: Vec<&str> = code.split_whitespace().collect();
            match words.first().copied() {
                None => {}
                Some(
                    kind @ ("global" | "defaults" | "frontend" | "backend" | "listen" | "resolvers"
                    | "userlist" | "peers" | "cache" | "program"),
                ) => {
                    sections.push(Section {
                        kind,
                        name: words.get(1).copied().unwrap_or_default(),
                        at,
                        lines: Vec::new(),
                    });
                }
                Some(_) => {
                    if let Some(section) = sections.last_mut() {
                        section.lines.push(Line { at, words });
                    }
                }
            }
        }
    }
    sections
}

pub(super) fn lint(report: &mut Report<'_>, sources: &[(usize, &str)]) {
    let sections = read(sources);
    let global = || sections.iter().filter(|section| section.kind == "global");
    let cache = global()
        .flat_map(|section| &section.lines)
        .rev_find("tune.ssl.cachesize");
    let no_cache = cache.is_some_and(|line| line.words.get(1) == Some(&"0"));
    for (number, section) in sections.iter().enumerate() {
        if !["frontend", "listen"].contains(&section.kind) {
            continue;
        }
        let binds = section
            .lines
            .iter()
            .filter(|line| line.words.first() == Some(&"bind"));
        let binds: Vec<_> = binds.filter(|bind| bind.has("ssl") || is_mqtt(bind)).collect();
        let Some(first) = binds.first() else { continue };
        let defaults = sections[..number]
            .iter()
            .rev()
            .find(|section| section.kind == "defaults");
        passes_mqtt(report, section, defaults, first.at);
        for bind in &binds {
            if bind.has("ssl") {
                ends_tls(report, section, bind, no_cache);
            }
        }
        for backend in sections.iter().filter(|backend| leads_to(section, backend)) {
            timeout(report, backend, defaults, "server");
            proxied(report, backend);
        }
        if binds.iter().any(|bind| bind.has("ssl")) {
            let to: Vec<_> = sections
                .iter()
                .filter(|backend| leads_to(section, backend))
                .collect();
            let told = to.iter().any(|backend| backend.mentions("send-proxy-v2-ssl"));
            if !told && !section.mentions("client_identifier") {
                report.danger(
                    section.at,
                    format!("{} {} ends TLS and holds nobody to a name", section.kind, section.name),
                    "the broker behind sees no certificate, so any device takes any client id",
                    "compare mqtt_field_value(connect,client_identifier) with ssl_c_s_dn(cn), as muster broker config haproxy NAME shows",
                );
            }
        }
    }
}

trait Last<'a> {
    fn rev_find(self, word: &str) -> Option<&'a Line<'a>>;
}

impl<'a, I: Iterator<Item = &'a Line<'a>>> Last<'a> for I {
    fn rev_find(self, word: &str) -> Option<&'a Line<'a>> {
        self.filter(|line| line.words.first() == Some(&word)).last()
    }
}

fn is_mqtt(bind: &Line<'_>) -> bool {
    let address = bind.words.get(1).copied().unwrap_or_default();
    [":8883", ":1883"].iter().any(|port| address.ends_with(port))
}

fn leads_to(section: &Section<'_>, backend: &Section<'_>) -> bool {
    if section.kind == "listen" {
        return section.at == backend.at;
    }
    let leads = |line: &Line<'_>| {
        ["default_backend", "use_backend"].contains(line.words.first().unwrap_or(&""))
            && line.words.get(1) == Some(&backend.name)
    };
    backend.kind == "backend" && section.lines.iter().any(leads)
}

fn passes_mqtt(report: &mut Report<'_>, section: &Section<'_>, defaults: Option<&Section<'_>>, first: At) {
    let mode = |section: &Section<'_>| {
        let mut found = section
            .lines
            .iter()
            .filter(|line| line.words.first() == Some(&"mode"));
        found
            .next_back()
            .map(|line| (line.words.get(1).copied().unwrap_or_default().to_owned(), line.at))
    };
    let own = mode(section);
    let at = own.as_ref().map_or(first, |(_, at)| *at);
    if own
        .or_else(|| defaults.and_then(mode))
        .is_some_and(|(mode, _)| mode == "http")
    {
        report.danger(
            at,
            format!("{} {} is in HTTP mode", section.kind, section.name),
            "MQTT is no HTTP: every connection is refused",
            "mode tcp",
        );
    }
    timeout(report, section, defaults, "client");
}

fn timeout(report: &mut Report<'_>, section: &Section<'_>, defaults: Option<&Section<'_>>, which: &str) {
    let find = |section: &Section<'_>| {
        let mut found = section
            .lines
            .iter()
            .filter(|line| line.starts(&["timeout", which]));
        found
            .next_back()
            .map(|line| (seconds(line.words.get(2).copied().unwrap_or_default()), line.at))
    };
    let own = find(section);
    let at = own.map_or(section.at, |(_, at)| at);
    let Some((Some(time), _)) = own.or_else(|| defaults.and_then(find)) else {
        return;
    };
    if time < LEAST_SECONDS {
        report.danger(
            at,
            format!("timeout {which} of {time} s in {} {}", section.kind, section.name),
            "a device that says something once a minute is cut off in between",
            format!("timeout {which} 30m: more than 1.5 times the longest keepalive"),
        );
    }
}

/// HAProxy counts milliseconds unless told otherwise.
fn seconds(text: &str) -> Option<u64> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    Some(match &text[end..] {
        "d" => number.saturating_mul(86_400),
        "h" => number.saturating_mul(3_600),
        "m" => number.saturating_mul(60),
        "s" => number,
        _ => number / 1_000,
    })
}

fn proxied(report: &mut Report<'_>, backend: &Section<'_>) {
    for line in &backend.lines {
        if line.words.iter().any(|word| word.starts_with("send-proxy")) {
            report.note(
                line.at,
                format!("send-proxy in {} {}", backend.kind, backend.name),
                "Mosquitto 2.0 and others that do not understand it refuse every connection",
                "only in front of EMQX, VerneMQ, RabbitMQ or Mosquitto 2.1 that is told to expect it",
            );
        }
    }
}

fn ends_tls(report: &mut Report<'_>, section: &Section<'_>, bind: &Line<'_>, no_cache: bool) {
    let say = |what: &str| format!("bind {} {what}", bind.words.get(1).copied().unwrap_or_default());
    let old = |version: &str| ["SSLv3", "TLSv1.0", "TLSv1.1"].contains(&version);
    if bind.after("ssl-min-ver").is_some_and(old)
        || ["force-sslv3", "force-tlsv10", "force-tlsv11"]
            .iter()
            .any(|word| bind.has(word))
    {
        report.danger(
            bind.at,
            say("allows TLS before 1.2"),
            "it is broken",
            "ssl-min-ver TLSv1.2",
        );
    }
    if let Some(pair) = bind.after("crt") {
        files::server(report, bind.at, pair);
    }
    if bind.after("verify") != Some("required") {
        return report.danger(
            bind.at,
            say("does not require a certificate"),
            "HAProxy lets in clients that show none",
            "verify required ca-file CA.crt crl-file CRLS.pem",
        );
    }
    // A list of serial numbers that is looked at for every connection catches resumed ones, too.
    let by_serial = section.mentions("ssl_c_serial");
    match bind.after("crl-file") {
        None if !by_serial => report.danger(
            bind.at,
            say("has no crl-file"),
            "a certificate that was revoked is accepted",
            "crl-file, with the CRL of every CA of the chain: muster ca crl --out crl.pem",
        ),
        None => {}
        Some(crls) => files::crls(report, bind.at, crls, bind.after("ca-file"), files::Needs::All),
    }
    let resumes = !no_cache || !bind.has("no-tls-tickets");
    if resumes && !by_serial {
        let missing = match (no_cache, bind.has("no-tls-tickets")) {
            (true, _) => "no-tls-tickets",
            (false, true) => "tune.ssl.cachesize 0 in global",
            (false, false) => "no-tls-tickets, and tune.ssl.cachesize 0 in global",
        };
        report.danger(
            bind.at,
            say("resumes sessions"),
            "a device that was revoked resumes its TLS session, and its certificate is not looked at again",
            missing,
        );
    }
}
