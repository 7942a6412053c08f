//! Several users removed at once: first who, then with the count typed.

use std::collections::BTreeSet;

use askama::Template;
use http::StatusCode;
use muster_ca::Error;
use muster_ca::list::MAX_LIMIT;

use crate::web::components::{Field, Icon, Lines, quoted};
use crate::web::fault::Fault;
use crate::web::form::Form;
use crate::web::frame::Frame;
use crate::web::visit::{Answer, Visit, html_with};

#[derive(Template)]
#[template(path = "pages/users/many.html")]
struct Many {
    frame: Frame,
    names: Vec<String>,
    count: Field,
    lines: Lines,
}

/// Shows whom it would remove, and with the count does it.
pub(super) async fn remove(visit: Visit, Form(sent): Form<Vec<(String, String)>>) -> Answer {
    let all = |wanted: &'static str| {
        let named = sent.iter().filter(move |(name, _)| name == wanted);
        named.map(|(_, value)| value.trim().to_owned())
    };
    let names = known(&visit, all("name").collect()).await?;
    let Some(count) = all("count").next() else {
        return page(&visit, names, None);
    };
    if count.parse() != Ok(names.len()) {
        let why = format!("{} are chosen, so nobody was removed", names.len());
        return page(&visit, names, Some(&why));
    }
    let mut done = 0;
    for name in &names {
        match visit.ca().remove_operator(visit.proof(), name).await {
            Ok(()) => done += 1,
            // Somebody else was faster.
            Err(Error::Missing(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(visit.go_and_say("users", &format!("Removed: {}.", counted(done))))
}

/// Those that are there and are somebody else.
async fn known(visit: &Visit, names: BTreeSet<String>) -> Result<Vec<String>, Fault> {
    if names.is_empty() || names.len() > MAX_LIMIT {
        let why = format!("tick 1 to {MAX_LIMIT} users first");
        return Err(Fault::new(StatusCode::BAD_REQUEST, &why));
    }
    for name in &names {
        visit.ca().remove_operator(visit.rehearsal(), name).await?;
    }
    Ok(names.into_iter().collect())
}

fn page(visit: &Visit, names: Vec<String>, refusal: Option<&str>) -> Answer {
    let status = match refusal {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let each: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    let cli = format!(
        "for name in {}; do muster user remove $name; done",
        each.join(" ")
    );
    html_with(
        status,
        &Many {
            frame: visit.frame(&format!("Remove {}", counted(names.len()))),
            count: Field::text("count", "Type how many they are to confirm")
                .required()
                .refused(refusal)
                .with("inputmode", "numeric")
                .with("autocomplete", "off"),
            lines: Lines::new("remove", &cli, "DELETE /operators/NAME"),
            names,
        },
    )
}

fn counted(count: usize) -> String {
    format!("{count} user{}", if count == 1 { "" } else { "s" })
}
