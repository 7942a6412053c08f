//! Icons: strokes on a grid of sixteen, in the colour of the text around them.

use askama::Template;
use askama::filters::HtmlSafe;

/// An icon by name. It says nothing to a screen reader: there is always a word beside it, or a label on its button.
#[derive(Template, Debug, Clone, Copy, PartialEq, Eq)]
#[template(
    source = r#"<svg class="icon" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path d="{{ self.path() }}"/></svg>"#,
    ext = "html"
)]
pub(crate) struct Icon(pub(crate) &'static str);

impl HtmlSafe for Icon {}

/// Name and path; in the order of the alphabet.
const PATHS: &[(&str, &str)] = &[
    (
        "archive",
        "M2.5 5.2h11v7.3a1 1 0 0 1-1 1h-9a1 1 0 0 1-1-1zM2 2.5h12v2.7H2zM6.5 8h3",
    ),
    ("ban", "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM3.8 3.8l8.4 8.4"),
    (
        "cert",
        "M12.5 7.5V3.2c0-.7-.5-1.2-1.2-1.2H4.7c-.7 0-1.2.500-1.2 1.2v9.6c0 .7.500 1.2 1.2 1.2h2.6M6 5h4M6 7.6h2.5M11 13.2a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM10 12.9V15l1-.7 1 .7v-2.1",
    ),
    (
        "check",
        "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM5.5 8.2l1.7 1.7 3.4-3.7",
    ),
    ("clock", "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 5v3.2l2 1.3"),
    ("columns", "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10"),
    ("copy", "M5.5 5.5h7v7h-7zM3.5 10.5h-1v-8h8v1"),
    (
        "device",
        "M4.5 4.5h7v7h-7zM6.7 2v2.5M9.3 2v2.5M6.7 11.5V14M9.3 11.5V14M2 6.7h2.5M2 9.3h2.5M11.5 6.7H14M11.5 9.3H14",
    ),
    ("down", "M4 6l4 4 4-4"),
    ("download", "M8 2.5v7M5 7l3 3 3-3M3 13h10"),
    ("gauge", "M2.5 11.5a5.5 5.5 0 1 1 11 0M8 11l2.6-3.4M2.5 13.2h11"),
    (
        "half",
        "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 2v12M8 5.2h3.9M8 8h5.6M8 10.8h3.9",
    ),
    (
        "key",
        "M10.5 9a3.5 3.5 0 1 0-3.3-2.3L2 12v2h2.5v-1.5H6V11h1.5l.8-.8c.7.500 1.4.800 2.2.800M11 5.5h.01",
    ),
    ("list", "M3 3.5h10M3 8h10M3 12.5h6"),
    ("profile", "M4 1.8h8v12.4H4zM6.2 5h3.6M6.2 8h3.6M6.2 11h2"),
    ("menu", "M2.5 4.5h11M2.5 8h11M2.5 11.5h11"),
    ("moon", "M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5 5.8 5.8 0 1 0 13.5 9.6z"),
    ("more", "M3.5 8h.01M8 8h.01M12.5 8h.01"),
    ("off", "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM5.5 8h5"),
    ("out", "M6 3H3.5v10H6M7 8h6.5M11 5.5L13.5 8 11 10.5"),
    ("pause", "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6.5 6v4M9.5 6v4"),
    ("plus", "M8 3v10M3 8h10"),
    (
        "renew",
        "M13 6.5A5.3 5.3 0 0 0 3.6 5M3 9.5A5.3 5.3 0 0 0 12.4 11M3.3 2.5V5h2.5M12.7 13.5V11h-2.5",
    ),
    ("search", "M7.2 12.2a5 5 0 1 0 0-10 5 5 0 0 0 0 10zM11 11l3 3"),
    (
        "server",
        "M3 2.8h10a.8.800 0 0 1 .8.800v2.8a.8.800 0 0 1-.8.800H3a.8.800 0 0 1-.8-.8V3.6a.8.800 0 0 1 .8-.8zM3 8.8h10a.8.800 0 0 1 .8.800v2.8a.8.800 0 0 1-.8.800H3a.8.800 0 0 1-.8-.8V9.6a.8.800 0 0 1 .8-.8zM4.8 5h.01M4.8 11h.01",
    ),
    (
        "shield",
        "M8 1.8l5 1.9v4c0 3-2.1 5.4-5 6.5-2.9-1.1-5-3.5-5-6.5v-4zM5.8 8l1.6 1.6 2.9-3.1",
    ),
    (
        "sliders",
        "M2.5 4.5h7M12.5 4.5h1M11 3v3M2.5 11.5h1M6.5 11.5h7M5 10v3",
    ),
    ("sort", "M5.5 6.5L8 4l2.5 2.5M5.5 9.5L8 12l2.5-2.5"),
    (
        "sun",
        "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1.5V3M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1",
    ),
    (
        "ticket",
        "M2 5.2c0-.7.500-1.2 1.2-1.2h9.6c.7 0 1.2.500 1.2 1.2v1.5a1.4 1.4 0 0 0 0 2.6v1.5c0 .7-.5 1.2-1.2 1.2H3.2c-.7 0-1.2-.5-1.2-1.2V9.3a1.4 1.4 0 0 0 0-2.6zM9.5 4v8",
    ),
    ("up", "M4 10l4-4 4 4"),
    (
        "user",
        "M8 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM3 13.5c.5-2.5 2.5-4 5-4s4.5 1.5 5 4",
    ),
    ("warn", "M8 2.5l6 10.7H2zM8 6.5v3M8 11.3h.01"),
    ("wrong", "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6 6l4 4M10 6l-4 4"),
];

impl Icon {
    fn path(&self) -> &'static str {
        PATHS
            .iter()
            .find(|(name, _)| *name == self.0)
            .map_or("", |(_, path)| path)
    }
}
