//! What is written for people is true: links lead somewhere, and every command that a page or an error message names
//! exists with every flag it is given.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command's help, and the commands below it.
struct Help {
    text: String,
    below: Vec<String>,
}

/// Every command by its words: `""`, `"cert"`, `"cert issue"`.
type Tree = BTreeMap<String, Help>;

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let inside = !path.is_empty() && !link.contains("://");
            if inside && !page.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn commands_on_pages_exist() {
    let tree = commands();
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for line in text.lines().flat_map(commands_in_a_line) {
            count += 1;
            wrong
                .extend(mistake(&tree, &line).map(|why| format!("{}: muster {line}: {why}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 20, "only {count} commands were found on the pages");
}

/// An error says what helps; that must be there, too.
#[test]
fn commands_in_messages_exist() {
    let tree = commands();
    let mut wrong = Vec::new();
    let mut count = 0;
    let sources = rust_files(&root().join("src"))
        .into_iter()
        .chain(rust_files(&root().join("crates")));
    for file in sources.filter(|file| !file.components().any(|part| part.as_os_str() == "tests")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for rest in text.split("muster ").skip(1) {
            let line: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || " -".contains(*c))
                .collect();
            let first = line.split(' ').next().unwrap_or_default();
            // Else it is a sentence about Muster.
            if tree.get(first).is_none_or(|help| help.below.is_empty()) {
                continue;
            }
            count += 1;
            wrong
                .extend(mistake(&tree, &line).map(|why| format!("{}: muster {line}: {why}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 10, "only {count} commands were found in messages");
}

#[test]
fn what_does_not_exist_is_noticed() {
    let tree = commands();
    for good in [
        "cert issue NAME",
        "cert",
        "cert issue a --kind client --out . && ls",
        "--help",
        "ca crl",
    ] {
        assert_eq!(mistake(&tree, good), None, "{good}");
    }
    for bad in [
        "cert isue NAME",
        "certs",
        "cert issue a --knd client",
        "ca rollover begin",
    ] {
        assert!(mistake(&tree, bad).is_some(), "{bad}");
    }
}

/// What is wrong with a command line, without its `muster`.
fn mistake(tree: &Tree, line: &str) -> Option<String> {
    let mut path = String::new();
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next_if(|word| tree[&path].below.iter().any(|name| name == word)) {
        path = format!("{path} {word}").trim_start().to_owned();
    }
    let help = &tree[&path];
    let is_word =
        |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    if let Some(word) = words
        .peek()
        .filter(|word| !help.below.is_empty() && is_word(word))
    {
        return Some(format!("there is no {word:?} below {path:?}"));
    }
    let own = words.take_while(|word| !["&&", "||", "|", "#", ">", "\\", "…"].contains(word));
    let mut flags = own
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().unwrap_or(word));
    flags
        .find(|flag| !help.text.contains(flag))
        .map(|flag| format!("{path:?} does not take {flag}"))
}

/// Commands on a line: in backquotes, or the whole line, perhaps after a prompt.
fn commands_in_a_line(line: &str) -> Vec<String> {
    let whole = line.trim_start().trim_start_matches("$ ");
    let quoted = line.split('`').skip(1).step_by(2);
    let found = std::iter::once(whole)
        .chain(quoted)
        .filter_map(|text| text.strip_prefix("muster "));
    found.map(str::to_owned).collect()
}

/// What is there for those who measure, and is not in the help.
const HIDDEN: &str = "seed";

/// Asks the program itself.
fn commands() -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![String::new()];
    while let Some(path) = open.pop() {
        let output = Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(path.split_whitespace())
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "muster {path} --help");
        let text = String::from_utf8(output.stdout).unwrap();
        let list = text
            .split_once("\nCommands:\n")
            .map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
        let listed = list.lines().filter_map(|line| line.split_whitespace().next());
        let hidden = path.is_empty().then_some(HIDDEN);
        let below: Vec<String> = listed.chain(hidden).map(str::to_owned).collect();
        let deeper = below.iter().filter(|name| *name != "help");
        open.extend(deeper.map(|name| format!("{path} {name}").trim_start().to_owned()));
        if below.iter().any(|name| name == "help") {
            let help = format!("{path} help").trim_start().to_owned();
            tree.insert(
                help,
                Help {
                    text: String::new(),
                    below: Vec::new(),
                },
            );
        }
        tree.insert(path, Help { text, below });
    }
    tree
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs")];
    let files = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut pages: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
