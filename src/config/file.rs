//! The text of `muster.toml`: every key that is not known, and every value of the wrong type, with its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use muster_ca::profile::RawProfile;
use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};

use super::{FILE, nearest, web};

/// What a file may have in bytes; many times more than every key with an explanation.
const LONGEST: u64 = 1 << 20;
/// So many mistakes are told at once.
const MOST: usize = 50;

/// `muster.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    pub(super) name: Option<String>,
    pub(super) dns: Option<Vec<String>>,
    pub(super) provisioner: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) public_listen: Option<String>,
    pub(super) diagnosis_listen: Option<String>,
    pub(super) public_url: Option<String>,
    pub(super) passphrase_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) web: web::RawWeb,
    #[serde(default)]
    pub(super) profile: BTreeMap<String, RawProfile>,
}

/// Reads the file of a data directory, if there is one. What is a mistake in it counts as not said.
pub(super) fn read(data: &Path, mistakes: &mut Vec<String>) -> RawFile {
    let path = data.join(FILE);
    let mut told = |why: String| mistakes.push(format!("{}:{why}", path.display()));
    let text = match text_of(&path) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return RawFile::default(),
        Err(why) => {
            told(format!(" {why}"));
            return RawFile::default();
        }
    };
    let (file, found) = parse(&text);
    found.into_iter().for_each(&mut told);
    file
}

fn text_of(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > LONGEST {
        return Err(std::io::Error::other("it has more than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

/// Reads the text. Each mistake begins with its line and column. Text that is no TOML is told alone: what else it says is
/// not known.
fn parse(text: &str) -> (RawFile, Vec<String>) {
    let (mut table, broken) = DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        let told = broken.iter().map(|why| {
            let place = why.span().unwrap_or_default();
            format!("{} {}", at(text, place.start), why.message())
        });
        return (RawFile::default(), told.take(MOST).collect());
    }
    let mut mistakes = Vec::new();
    loop {
        let why = match RawFile::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => return (file, mistakes),
            Err(why) => why,
        };
        // What was told is taken out, and the rest is read again.
        let place = why.span().unwrap_or_default();
        let key = take_out(table.get_mut(), &place);
        mistakes.push(format!(
            "{} {}",
            at(text, place.start),
            words(why.message(), key.as_deref())
        ));
        if key.is_none() || mistakes.len() >= MOST {
            return (RawFile::default(), mistakes);
        }
    }
}

/// Line and column, each from 1.
fn at(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{line}:{column}:")
}

/// Takes the innermost entry out that a place is in, and tells what it is called.
fn take_out(table: &mut DeTable<'_>, place: &Range<usize>) -> Option<String> {
    let holds = |span: Range<usize>| span.start <= place.start && place.end <= span.end;
    let inner = table.iter_mut().find_map(|(key, value)| {
        let DeValue::Table(below) = value.get_mut() else {
            return None;
        };
        let found = take_out(below, place)?;
        Some(format!("{}.{found}", key.get_ref()))
    });
    if inner.is_some() {
        return inner;
    }
    let (key, _) = table
        .iter()
        .find(|(key, value)| holds(key.span()) || holds(value.span()))?;
    let key = key.clone();
    table.remove(&key);
    Some(key.into_inner().into_owned())
}

/// What serde says, for whoever wrote the file.
fn words(message: &str, key: Option<&str>) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return format!("{}: {message}", key.unwrap_or("the file"));
    };
    let quoted: Vec<_> = rest.split('`').step_by(2).collect();
    match quoted.split_first() {
        Some((name, known)) => format!(
            "the key {} is not known{}",
            key.unwrap_or(name),
            nearest(name, known)
        ),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use muster_ca::profile::Profiles;

    use super::*;

    #[test]
    fn every_mistake_is_told_with_its_place_and_the_nearest_key() {
        let (file, told) = parse(
            "name = \"a\"\npublic_uri = \"b\"\ndns = [\"a\", 5]\nlisten = 7\n[web]\nlisten = true\nhots = []\n\
             [profile.client]\nmaxx = \"1d\"\nmin = \"1h\"\nrenewable = \"yes\"\n",
        );
        let mut told: Vec<_> = told.iter().map(String::as_str).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                "11:13: profile.client.renewable: invalid type: string \"yes\", expected a boolean",
                "2:1: the key public_uri is not known; did you mean public_url?",
                "3:13: dns: invalid type: integer `5`, expected a string",
                "4:10: listen: invalid type: integer `7`, expected a string",
                "6:10: web.listen: invalid type: boolean `true`, expected a string",
                "7:1: the key web.hots is not known; did you mean hosts?",
                "9:1: the key profile.client.maxx is not known; did you mean max?",
            ]
        );
        assert_eq!(file.name.as_deref(), Some("a"), "the rest is read");
        assert_eq!(file.profile["client"].min.as_deref(), Some("1h"));
    }

    #[test]
    fn text_that_is_no_toml_is_told_with_line_and_column() {
        let (_, told) = parse("name = \"a\"\nthis is no toml\n");
        assert_eq!(told, ["2:6: key with no value, expected `=`"]);
        assert!(
            parse("[profile.short]\nbase = \"client\"\nmax = \"1d\"")
                .1
                .is_empty()
        );
    }

    /// Whatever stands in the file is a configuration, or a mistake with a line.
    #[test]
    fn any_text_as_a_file() {
        const WORDS: [&str; 18] = [
            "name",
            "dns",
            "profile",
            "max",
            "listen",
            "=",
            "\"",
            "\"a\"",
            "[",
            "]",
            "{",
            "}",
            ".",
            ",",
            "\n",
            "#",
            "é",
            "1979-05-27",
        ];
        bolero::check!()
            .with_type::<(String, Vec<u8>)>()
            .for_each(|(text, choice)| {
                let words: String = choice
                    .iter()
                    .map(|at| WORDS[usize::from(*at) % WORDS.len()])
                    .collect();
                for text in [text, &words] {
                    let (file, mistakes) = parse(text);
                    drop(Profiles::new(&file.profile));
                    for mistake in mistakes {
                        let mut place = mistake.split(':').map(str::parse::<usize>);
                        assert!(place.next().unwrap().unwrap() > 0 && place.next().unwrap().unwrap() > 0);
                    }
                }
            });
    }
}
