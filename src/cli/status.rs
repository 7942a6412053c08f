//! `muster status`

use muster_api::types::Status;

use super::Common;
use super::connect::Session;
use super::report::{Exit, Failure, Voice};

pub(super) async fn run(common: &Common, voice: Voice) -> Result<Exit, Failure> {
    let session = Session::start(common).await?;
    let status: Status = session.client.get("/status").await?;
    session.finish().await?;
    voice.data(&text(&status), &status)?;
    Ok(if status.ready { Exit::Ok } else { Exit::Attention })
}

fn text(status: &Status) -> String {
    let mut text = if status.ready {
        "All right.".to_owned()
    } else {
        "Not all right:".to_owned()
    };
    if let Some(end) = status.works_until.as_ref().filter(|_| status.ready) {
        text.push_str(&format!(
            "\nEverything keeps working until {}, when {} ends{}.",
            end.at,
            end.what,
            if end.by_itself {
                ", since the device has not renewed it when it should have"
            } else {
                ""
            }
        ));
    }
    if let Some(until) = &status.looked_until {
        text.push_str(&format!(
            "\nCertificates are still being looked through: those that run out until {until} need nobody."
        ));
    }
    for problem in &status.problems {
        text.push_str(&format!("\n  ! {problem}"));
    }
    let counts = &status.certificates;
    text.push_str(&format!(
        "\n\n  certificates  {} active ({} run out within 7 days), {} expired, {} revoked\n  devices       {}",
        counts.active, counts.expiring, counts.expired, counts.revoked, status.devices
    ));
    for authority in &status.authorities {
        for generation in &authority.generations {
            text.push_str(&format!(
                "\n  authority     {} {} ({}), until {}",
                authority.name, generation.subject, generation.stage, generation.not_after
            ));
        }
    }
    if let Some(end) = &status.first_crl_ends {
        text.push_str(&format!("\n  first CRL to run out      {end}"));
    }
    if let Some(due) = &status.first_renewal_due {
        text.push_str(&format!("\n  first renewal due         {due}"));
    }
    if !status.todos.is_empty() {
        text.push_str("\n\nTo do:");
        status
            .todos
            .iter()
            .for_each(|todo| text.push_str(&format!("\n  - {todo}")));
    }
    text
}
