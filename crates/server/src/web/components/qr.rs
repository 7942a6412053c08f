//! QR codes as SVG.

use std::fmt::Write;

use askama::Template;
use askama::filters::HtmlSafe;
use qrcode::{Color, EcLevel, QrCode};

/// A QR code; empty if the text is too long for one.
#[derive(Template, Debug, Clone)]
#[template(
    source = r#"<svg class="qr" viewBox="0 0 {{ size }} {{ size }}" role="img" aria-label="{{ label }}"><rect class="paper" width="{{ size }}" height="{{ size }}"/><path d="{{ dark }}"/></svg>"#,
    ext = "html"
)]
pub(crate) struct Qr {
    label: &'static str,
    size: usize,
    dark: String,
}

impl HtmlSafe for Qr {}

/// The white around it that readers need (ISO/IEC 18004, section 6.3.8).
const QUIET: usize = 4;

impl Qr {
    pub(crate) fn new(text: &str, label: &'static str) -> Self {
        let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::M) else {
            return Self {
                label,
                size: 0,
                dark: String::new(),
            };
        };
        let width = code.width();
        let mut dark = String::new();
        for (at, colour) in code.to_colors().iter().enumerate() {
            if *colour == Color::Dark {
                let (x, y) = (at % width + QUIET, at / width + QUIET);
                // Writing into a string does not fail.
                let _ = write!(dark, "M{x} {y}h1v1h-1z");
            }
        }
        Self {
            label,
            size: width + 2 * QUIET,
            dark,
        }
    }
}
