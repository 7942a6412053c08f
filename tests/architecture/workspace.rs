//! The workspace as it lies on the disk: its packages, its files, its lock file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::source::{Place, Source};

/// A package, as `cargo metadata` tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) manifest_path: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Nothing, `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) sources: Vec<Source>,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Workspace {
    pub(crate) fn read() -> Self {
        let packages = packages();
        let sources = packages.iter().flat_map(read_package).collect();
        Self { packages, sources }
    }
}

fn packages() -> Vec<Package> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    serde_json::from_str::<Metadata>(&output).unwrap().packages
}

fn cargo(args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(args)
        .args(["--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What the programs are built from on this machine: names and versions. The lock file would say more than is built.
pub(crate) fn built_from() -> Vec<(String, String)> {
    let output = cargo(&[
        "tree",
        "--workspace",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let lines: BTreeSet<&str> = output.lines().collect();
    let words = lines.into_iter().filter_map(|line| line.split_once(' '));
    let mut packages: Vec<_> = words
        .map(|(name, rest)| {
            (
                name.to_owned(),
                rest.split(' ').next().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    packages.dedup();
    packages
}

fn read_package(package: &Package) -> Vec<Source> {
    let dir = package.manifest_path.parent().unwrap();
    let krate = package.name.replace('-', "_");
    let shipped = rust_files(&dir.join("src"));
    let modules: BTreeSet<Vec<String>> = shipped
        .iter()
        .map(|file| module_of(&dir.join("src"), file))
        .collect();
    let mut sources: Vec<Source> = shipped
        .iter()
        .map(|file| {
            let module = module_of(&dir.join("src"), file);
            read(
                file,
                &Place {
                    krate: &krate,
                    module: &module,
                    modules: &modules,
                },
                true,
            )
        })
        .collect();
    let tests_only: Vec<_> = sources
        .iter()
        .flat_map(|source| source.test_modules.clone())
        .collect();
    for source in &mut sources {
        source.shipped = !tests_only.iter().any(|module| source.module.starts_with(module));
    }
    let none = BTreeSet::new();
    let other = ["tests", "benches", "examples"]
        .into_iter()
        .flat_map(|folder| rust_files(&dir.join(folder)));
    sources.extend(other.map(|file| {
        read(
            &file,
            &Place {
                krate: &krate,
                module: &[],
                modules: &none,
            },
            false,
        )
    }));
    sources
}

fn read(file: &Path, place: &Place<'_>, shipped: bool) -> Source {
    let text = std::fs::read_to_string(file).unwrap();
    let short = file.strip_prefix(root()).unwrap_or(file).to_owned();
    Source::read(short, place, shipped, &text).unwrap()
}

/// `a/b.rs` and `a/b/mod.rs` are `["a", "b"]`.
fn module_of(src: &Path, file: &Path) -> Vec<String> {
    let parts = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<String> = parts
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        parts.pop();
    }
    parts
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
