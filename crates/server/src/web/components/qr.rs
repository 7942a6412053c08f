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
        for (y, row) in code.to_colors().chunks(width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|one, next| one == next) {
                if run.first() == Some(&Color::Dark) {
                    let (left, top, length) = (x + QUIET, y + QUIET, run.len());
                    // Writing into a string does not fail.
                    let _ = write!(dark, "M{left} {top}h{length}v1h-{length}z");
                }
                x += run.len();
            }
        }
        Self {
            label,
            size: width + 2 * QUIET,
            dark,
        }
    }
}
