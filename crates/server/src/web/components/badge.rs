//! A state at a glance: an icon, a word and a colour, so that nobody depends on one of them.

use askama::Template;
use askama::filters::HtmlSafe;

use muster_ca::device::State;

use super::Icon;

/// What a state means to whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should be.
    Good,
    /// Needs somebody soon.
    Warning,
    /// Does not work, or is shut out.
    Bad,
    /// Neither good nor bad.
    Quiet,
}

impl Mood {
    /// The word in style sheets.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }

    /// The icon that goes with it if nothing says more.
    pub(crate) fn icon(self) -> Icon {
        Icon(match self {
            Self::Good => "check",
            Self::Warning => "warn",
            Self::Bad => "wrong",
            Self::Quiet => "off",
        })
    }
}

/// See the module.
#[derive(Template, Debug, Clone)]
#[template(
    source = r#"<span class="badge {{ mood.class() }}">{{ icon }}{{ word }}</span>"#,
    ext = "html"
)]
pub(crate) struct Badge {
    mood: Mood,
    icon: Icon,
    word: String,
}

impl HtmlSafe for Badge {}

impl Badge {
    pub(crate) fn new(mood: Mood, word: &str) -> Self {
        Self {
            mood,
            icon: mood.icon(),
            word: word.to_owned(),
        }
    }

    /// With another icon than its mood's.
    pub(crate) fn icon(self, name: &'static str) -> Self {
        Self {
            icon: Icon(name),
            ..self
        }
    }

    /// A device's state.
    pub(crate) fn device(state: State) -> Self {
        match state {
            State::New => Self::new(Mood::Quiet, "New").icon("clock"),
            State::Active => Self::new(Mood::Good, "Active"),
            State::Suspended => Self::new(Mood::Warning, "Suspended").icon("pause"),
            State::Revoked => Self::new(Mood::Bad, "Revoked").icon("ban"),
            State::Retired => Self::new(Mood::Quiet, "Retired").icon("archive"),
        }
    }

    /// A certificate's status, in the words of `/api/v1`.
    pub(crate) fn status(status: &str) -> Self {
        match status {
            "active" => Self::new(Mood::Good, "Active"),
            "expired" => Self::new(Mood::Warning, "Expired").icon("clock"),
            "revoked" => Self::new(Mood::Bad, "Revoked").icon("ban"),
            "on hold" => Self::new(Mood::Warning, "On hold").icon("pause"),
            // A certificate that is damaged says so.
            _ => Self::new(Mood::Bad, "Error"),
        }
    }
}
