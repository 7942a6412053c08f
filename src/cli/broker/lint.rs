//! `muster broker lint`: what is dangerous in a configuration that is there.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use muster_pki::broker_lint::{Finding, Format, Level, Looked, MAX_FILE, Seen, Source, lint};

use crate::cli::files;
use crate::cli::report::{Exit, Failure, Voice};
use crate::real;

#[derive(clap::Args)]
pub(in crate::cli) struct LintArgs {
    /// The configuration; several files if they belong together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What it is, if it cannot be told
    #[arg(long)]
    format: Option<Word>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    /// mosquitto.conf
    Mosquitto,
    /// Mosquitto's acl_file
    MosquittoAcl,
    /// emqx.conf
    Emqx,
    /// EMQX's acl.conf
    EmqxAcl,
    /// rabbitmq.conf
    Rabbitmq,
    /// RabbitMQ's advanced.config
    RabbitmqAdvanced,
    /// haproxy.cfg
    Haproxy,
    /// rumqttd.toml
    Rumqttd,
}

impl From<Word> for Format {
    fn from(word: Word) -> Self {
        match word {
            Word::Mosquitto => Self::Mosquitto,
            Word::MosquittoAcl => Self::MosquittoAcl,
            Word::Emqx => Self::Emqx,
            Word::EmqxAcl => Self::EmqxAcl,
            Word::Rabbitmq => Self::RabbitMq,
            Word::RabbitmqAdvanced => Self::RabbitMqAdvanced,
            Word::Haproxy => Self::HaProxy,
            Word::Rumqttd => Self::Rumqttd,
        }
    }
}

pub(super) fn run(voice: Voice, args: &LintArgs) -> Result<Exit, Failure> {
    let mut texts = Vec::new();
    for path in &args.files {
        let text = files::text(path)?;
        if text.len() > MAX_FILE {
            let what = format!("{} is longer than 1 MiB", path.display());
            return Err(Failure::usage(what).fix("name a broker's configuration"));
        }
        texts.push((path.display().to_string(), text));
    }
    let sources: Vec<_> = texts
        .iter()
        .map(|(name, text)| Source {
            name,
            text,
            format: args.format.map_or_else(|| Format::guess(text), Format::from),
        })
        .collect();
    let findings = lint(&sources, &look, real::now());
    let text: Vec<_> = findings.iter().map(in_words).collect();
    voice.data(&text.join("\n"), &serde_json::json!({ "findings": findings }))?;
    let dangers = findings.iter().filter(|one| one.level == Level::Danger).count();
    voice.say(&match (dangers, findings.len()) {
        (0, 0) => "Nothing dangerous was found.".into(),
        (0, _) => "Nothing dangerous was found; what to know is above.".into(),
        (1, _) => "1 dangerous line.".into(),
        (several, _) => format!("{several} dangerous lines."),
    });
    Ok(if dangers == 0 { Exit::Ok } else { Exit::Attention })
}

fn in_words(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Danger => "",
        Level::Note => "note: ",
    };
    format!(
        "{}:{}: {level}{}\n    why: {}\n    fix: {}",
        finding.file, finding.line, finding.what, finding.why, finding.fix
    )
}

/// A file that a configuration names, if its directory is on this machine and open to this user.
fn look(path: &str) -> Looked {
    let path = Path::new(path);
    let near = path.is_absolute() && path.parent().is_some_and(|dir| dir.read_dir().is_ok());
    if !near {
        return Looked::Elsewhere;
    }
    let Ok(about) = std::fs::metadata(path) else {
        return Looked::Missing;
    };
    let mut bytes = Vec::new();
    if about.is_file()
        && let Ok(file) = std::fs::File::open(path)
    {
        // What cannot be read to its end is judged by its permissions alone.
        let _ = file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes);
    }
    Looked::There(Seen {
        bytes,
        mode: about.mode(),
        owner: about.uid(),
    })
}
