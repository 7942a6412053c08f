//! The house plan as a test: who may see whom, between crates and inside them, and what a crate never touches.
//!
//! `rules` holds the plan and nothing else; `source` reads what a file names; `judge` compares the two. The plan is read
//! from the workspace as it is, so a new crate or folder is judged without anybody listing it, and the judge is itself
//! tried on small made-up crates: a test that cannot fail holds nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod judge;
mod rules;
mod source;
mod workspace;

use source::Source;
use workspace::Workspace;

/// Fails with every breach, each with its file, line and rule.
fn none(breaches: Vec<String>) {
    assert!(
        breaches.is_empty(),
        "{} breaches of the house plan:\n  {}",
        breaches.len(),
        breaches.join("\n  ")
    );
}

#[test]
fn crates_depend_on_each_other_as_the_plan_says() {
    none(judge::dependencies(&Workspace::read().packages));
}

#[test]
fn modules_see_each_other_as_the_plan_says() {
    let workspace = Workspace::read();
    assert!(
        workspace.sources.len() > 50,
        "only {} files were found: is this the workspace?",
        workspace.sources.len()
    );
    // Else the walls would stand around nothing.
    for (krate, module) in [("muster_backends", "store"), ("muster_server", "protocols")] {
        let inside = |source: &&Source| {
            source.krate == krate && source.module.first().is_some_and(|first| first == module)
        };
        assert!(
            workspace.sources.iter().filter(inside).count() > 3,
            "{krate} has no {module}"
        );
    }
    none(workspace.sources.iter().flat_map(judge::walls).collect());
}

#[test]
fn no_crate_touches_what_it_must_not() {
    none(Workspace::read().sources.iter().flat_map(judge::bans).collect());
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    none(Workspace::read().sources.iter().flat_map(judge::shape).collect());
}

#[test]
fn there_is_one_tls_stack() {
    none(judge::tls_stacks(&workspace::built_from()));
}
