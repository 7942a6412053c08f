//! What pages are made of. Each is a type that fills its own small template; `{{ it }}` puts it into a page.

mod badge;
mod chart;
mod copied;
mod field;
mod icon;
mod lines;
mod qr;
mod when;

pub(crate) use self::badge::{Badge, Mood};
pub(crate) use self::chart::{Days, Lane, Lanes};
pub(crate) use self::copied::Copied;
pub(crate) use self::field::Field;
pub(crate) use self::icon::Icon;
pub(crate) use self::lines::{Lines, quoted};
pub(crate) use self::qr::Qr;
pub(crate) use self::when::When;
