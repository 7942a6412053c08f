//! What was done last to a device or a broker, for who may read the audit log.

use askama::Template;
use askama::filters::HtmlSafe;
use muster_ca::device::DeviceName;
use muster_ca::list::{AuditList, Paging};
use muster_ca::operator::Permission;

use super::components::Icon;
use super::event::Event;
use super::fault::Fault;
use super::visit::Visit;

/// So many acts are shown.
const SHOWN: usize = 12;

/// See the module.
#[derive(Template)]
#[template(path = "components/history.html")]
pub(crate) struct History {
    base: String,
    subject: String,
    acts: Vec<Event>,
}

impl HtmlSafe for History {}

impl History {
    /// The newest acts first; `None` for who may not read them.
    pub(crate) async fn of(visit: &Visit, name: &DeviceName) -> Result<Option<Self>, Fault> {
        if !visit.may(Permission::ReadAudit) {
            return Ok(None);
        }
        let list = AuditList {
            subject: Some(name.to_string()),
            paging: Paging {
                cursor: None,
                limit: SHOWN,
            },
            ..AuditList::default()
        };
        let entries = visit.ca().audit(visit.proof(), list).await?.items;
        Ok(Some(Self {
            base: visit.url(""),
            subject: name.to_string(),
            acts: entries
                .iter()
                .map(|entry| Event::of(entry, visit.now()))
                .collect(),
        }))
    }
}
