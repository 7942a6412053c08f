//! A line to copy: a command, a secret, a fingerprint.

use askama::Template;
use askama::filters::HtmlSafe;

use super::Icon;

/// See the module. `id` must be the only one of its page; `label` says what the button does.
#[derive(Template)]
#[template(
    source = r#"<div class="copied"><code id="{{ id }}" tabindex="0">{{ text.as_str() }}</code><button class="button ghost icon-only only-script" type="button" data-copy="{{ id }}" aria-label="{{ label }}">{{ Icon("copy") }}</button></div>"#,
    ext = "html"
)]
pub(crate) struct Copied {
    id: &'static str,
    text: zeroize::Zeroizing<String>,
    label: &'static str,
}

impl HtmlSafe for Copied {}

impl Copied {
    pub(crate) fn new(id: &'static str, text: &str, label: &'static str) -> Self {
        Self {
            id,
            text: text.to_owned().into(),
            label,
        }
    }
}
