//! A whole server on loopback, over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod api;
mod api_widened;
mod attacks;
mod bad_requests;
mod clock;
mod common;
mod slots;
mod step;
mod web;
