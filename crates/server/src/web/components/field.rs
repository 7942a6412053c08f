//! One field of a form: a label, the input, a hint, and beside it why it was refused.

use askama::Template;
use askama::filters::HtmlSafe;

/// See the module. `name` is also its id.
#[derive(Template, Debug, Clone, Default)]
#[template(path = "components/field.html")]
pub(crate) struct Field {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    value: String,
    hint: String,
    refusal: Option<String>,
    required: bool,
    /// Whether the place for a refusal is there before there is one, so that a preview can fill it.
    live: bool,
    more: Vec<(&'static str, String)>,
    options: Vec<(String, String)>,
}

impl HtmlSafe for Field {}

impl Field {
    /// A line of text.
    pub(crate) fn text(name: &'static str, label: &'static str) -> Self {
        Self {
            name,
            label,
            kind: "text",
            ..Self::default()
        }
    }

    /// The name under which it is sent.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// A password. Whatever was typed is never sent back.
    pub(crate) fn password(name: &'static str, label: &'static str) -> Self {
        Self {
            kind: "password",
            ..Self::text(name, label)
        }
    }

    /// A day.
    pub(crate) fn day(name: &'static str, label: &'static str) -> Self {
        Self {
            kind: "date",
            ..Self::text(name, label)
        }
    }

    /// Several lines of text.
    pub(crate) fn lines(name: &'static str, label: &'static str) -> Self {
        Self {
            kind: "textarea",
            ..Self::text(name, label)
        }
    }

    /// One of several: value and words.
    pub(crate) fn choice(name: &'static str, label: &'static str, options: Vec<(String, String)>) -> Self {
        Self {
            kind: "select",
            options,
            ..Self::text(name, label)
        }
    }

    /// What stands in it, or is chosen.
    pub(crate) fn value(mut self, value: &str) -> Self {
        if self.kind != "password" {
            value.clone_into(&mut self.value);
        }
        self
    }

    /// What to know before filling it in.
    pub(crate) fn hint(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.hint);
        self
    }

    /// Why it was refused.
    pub(crate) fn refused(mut self, why: Option<&str>) -> Self {
        self.refusal = why.map(str::to_owned);
        self
    }

    /// A preview may say why it would be refused: it swaps the element `NAME-refusal`.
    pub(crate) fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Browsers say so themselves before the form is sent.
    pub(crate) fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Another attribute of the input, such as `autocomplete`.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.more.push((name, value.to_owned()));
        self
    }

    /// Taken as it is typed, such as a name: the browser neither changes it nor offers others.
    pub(crate) fn verbatim(self) -> Self {
        self.with("autocapitalize", "none")
            .with("autocomplete", "off")
            .with("spellcheck", "false")
    }

    /// The ids of the texts that belong to it.
    fn described_by(&self) -> String {
        let mut ids = Vec::new();
        if self.refusal.is_some() || self.live {
            ids.push(format!("{}-refusal", self.name));
        }
        if !self.hint.is_empty() {
            ids.push(format!("{}-hint", self.name));
        }
        ids.join(" ")
    }
}
