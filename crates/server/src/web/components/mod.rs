//! What pages are made of. Each is a type that fills its own small template; `{{ it }}` puts it into a page.

mod badge;
mod field;
mod icon;
mod lines;
mod qr;
mod when;

pub(crate) use self::badge::{Badge, Mood};
pub(crate) use self::field::Field;
pub(crate) use self::icon::Icon;
#[allow(unused_imports, reason = "pages that use the rest of it are being written")]
pub(crate) use self::lines::Lines;
pub(crate) use self::qr::Qr;
#[allow(unused_imports, reason = "pages that use the rest of it are being written")]
pub(crate) use self::when::When;
