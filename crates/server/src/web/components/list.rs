//! What stands around the rows of a list: heads that sort, what narrows it, which columns, which page. All of it is in the
//! address, so that a list can be sent to somebody else.

use askama::Template;
use askama::filters::HtmlSafe;

use super::{Field, Icon, Lines, Toolbar, Tools, option};
use crate::lists::Listing;
use crate::web::form::escape;
use crate::web::query::Filters;
use crate::web::visit::Visit;

/// A list and what its address says.
pub(crate) struct Listed<'a> {
    /// What every link begins with: the base path and the page's.
    url: String,
    filters: &'a Filters,
}

/// A link that is one of several.
struct Choice {
    link: String,
    words: String,
    current: bool,
}

/// Links of which one is chosen.
#[derive(Template)]
#[template(
    source = r#"<nav class="chips" aria-label="{{ label }}">{% for one in choices %}<a href="{{ one.link }}"{% if one.current %} aria-current="true"{% endif %}>{{ one.words }}</a>{% endfor %}</nav>"#,
    ext = "html"
)]
pub(crate) struct Chips {
    label: &'static str,
    choices: Vec<Choice>,
}

impl HtmlSafe for Chips {}

/// The heads of the columns; one that the list can be sorted by is a link to that, and turns it round.
#[derive(Template)]
#[template(
    source = r#"{% for head in heads %}{% if let Some((link, state)) = head.sort %}<th scope="col" aria-sort="{{ state }}"><a href="{{ link }}">{{ head.words }}{% if *state == "ascending" %}{{ Icon("up") }}{% else if *state == "descending" %}{{ Icon("down") }}{% else %}{{ Icon("sort") }}{% endif %}</a></th>{% else %}<th scope="col">{{ head.words }}</th>{% endif %}{% endfor %}"#,
    ext = "html"
)]
pub(crate) struct Heads {
    heads: Vec<Head>,
}

impl HtmlSafe for Heads {}

struct Head {
    words: &'static str,
    sort: Option<(String, &'static str)>,
}

/// Which columns are shown: a menu, and what of it is chosen.
#[derive(Template)]
#[template(
    source = r#"<details class="menu"><summary class="button small">{{ Icon("columns") }}Columns</summary>
<form class="stack" action="{{ url }}">
{% for (name, value) in kept %}<input type="hidden" name="{{ name }}" value="{{ value }}">{% endfor %}
{% for (name, words, shown) in all %}<label class="tick"><input type="checkbox" name="show" value="{{ name }}"{% if *shown %} checked{% endif %}> {{ words }}</label>{% endfor %}
<button class="button small" type="submit">Show these</button>
</form></details>"#,
    ext = "html"
)]
pub(crate) struct Columns {
    url: String,
    kept: Vec<(String, String)>,
    all: Vec<(&'static str, &'static str, bool)>,
}

impl HtmlSafe for Columns {}

impl Columns {
    pub(crate) fn shows(&self, column: &str) -> bool {
        self.all.iter().any(|(name, _, shown)| *name == column && *shown)
    }
}

/// What a list can be narrowed by besides its chips and its search: a menu with fields, and what is given of them, each with
/// the link that takes it away.
#[derive(Template)]
#[template(
    source = r#"<details class="menu"><summary class="button small">{{ Icon("sliders") }}Filter</summary>
<form class="stack" action="{{ url }}">
{% for (name, value) in kept %}<input type="hidden" name="{{ name }}" value="{{ value }}">{% endfor %}
{% for field in fields %}{{ field }}{% endfor %}
<button class="button small" type="submit">Filter</button>
</form></details>"#,
    ext = "html"
)]
pub(crate) struct Narrow {
    url: String,
    kept: Vec<(String, String)>,
    fields: Vec<Field>,
}

impl HtmlSafe for Narrow {}

impl Narrow {
    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }
}

/// What a list is narrowed by, each a link that takes it away.
#[derive(Template)]
#[template(
    source = r#"{% if !given.is_empty() %}<nav class="chips given" aria-label="Narrowed by">{% for one in given %}<a href="{{ one.link }}" aria-current="true">{{ one.words }} {{ Icon("wrong") }}<span class="hidden">take away</span></a>{% endfor %}</nav>{% endif %}"#,
    ext = "html"
)]
pub(crate) struct Given {
    given: Vec<Choice>,
}

impl HtmlSafe for Given {}

/// The pages before and behind, and how long they are.
#[derive(Template)]
#[template(
    source = r#"<div class="foot">{% if cut_short %}<span>Rows that fit are rare here: the next page looks on.</span>{% endif %}<span>Rows</span><span class="chips" role="group" aria-label="Rows on a page">{% for size in sizes %}<a href="{{ size.link }}"{% if size.current %} aria-current="true"{% endif %}>{{ size.words }}</a>{% endfor %}</span>
<nav aria-label="Pages">{% if let Some(previous) = previous %}<a class="button small" href="{{ previous }}" rel="prev">Previous</a>{% endif %}{% if let Some(next) = next %}<a class="button small" href="{{ next }}" rel="next">Next</a>{% endif %}</nav></div>"#,
    ext = "html"
)]
pub(crate) struct Pages {
    sizes: Vec<Choice>,
    previous: Option<String>,
    next: Option<String>,
    cut_short: bool,
}

impl HtmlSafe for Pages {}

/// Chooses every row that fits, not only those that are ticked; the form sends `all` with the query then.
#[derive(Template)]
#[template(
    source = r#"<label class="tick"><input type="checkbox" name="all" value="{{ query }}"> all that fit, not only what is ticked</label>"#,
    ext = "html"
)]
pub(crate) struct All {
    query: String,
}

impl HtmlSafe for All {}

/// How many rows a page may have.
const SIZES: [usize; 4] = [10, 50, 100, 500];

impl Pages {
    pub(crate) fn next(&self) -> Option<&String> {
        self.next.as_ref()
    }

    pub(crate) fn cut_short(&self) -> bool {
        self.cut_short
    }
}

impl<'a> Listed<'a> {
    /// `url` is where the list is, base path included.
    pub(crate) fn new(url: String, filters: &'a Filters) -> Self {
        Self { url, filters }
    }

    /// The same as a command and as a call of the API.
    pub(crate) fn lines<L: Listing>(&self) -> Lines {
        let limit = self.filters.limit();
        let mut cli = format!("{} --limit {limit}", L::COMMAND);
        let mut api = format!("GET /{}?limit={limit}", L::NOUN);
        for name in L::PARAMETERS {
            let value = self.filters.get(name);
            if value.is_empty() {
                continue;
            }
            let called = match *name {
                "q" => "search".to_owned(),
                other => other.replace('_', "-"),
            };
            cli.push_str(&option(&called, value));
            api.push_str(&format!("&{name}={}", escape(value)));
        }
        Lines::new("list", &cli, &api)
    }

    /// Whether anything narrows the list.
    pub(crate) fn is_narrowed<L: Listing>(&self) -> bool {
        let narrowing = L::PARAMETERS.iter().filter(|name| **name != "sort");
        narrowing
            .into_iter()
            .any(|name| !self.filters.get(name).is_empty())
    }

    /// Links to each value of a parameter: value and words.
    pub(crate) fn chips(
        &self,
        label: &'static str,
        name: &str,
        values: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Chips {
        let choice = |(value, words): (&str, &str)| Choice {
            link: format!("{}{}", self.url, self.filters.with(name, value)),
            words: words.to_owned(),
            current: self.filters.get(name) == value,
        };
        Chips {
            label,
            choices: values.into_iter().map(choice).collect(),
        }
    }

    /// Links of which each may take another parameter away: parameter, value, words, and the parameter that goes.
    pub(crate) fn mixed_chips<const N: usize>(
        &self,
        label: &'static str,
        values: [(&str, &str, &str, &str); N],
    ) -> Chips {
        let choice = |(name, value, words, other): (&str, &str, &str, &str)| Choice {
            link: format!("{}{}", self.url, self.filters.with_instead(name, value, other)),
            words: words.to_owned(),
            current: self.filters.get(name) == value && self.filters.get(other).is_empty(),
        };
        Chips {
            label,
            choices: values.map(choice).into(),
        }
    }

    /// A field of the menu: one of these, or any.
    pub(crate) fn choice(
        &self,
        name: &'static str,
        label: &'static str,
        options: impl IntoIterator<Item = (String, String)>,
    ) -> Field {
        let any = std::iter::once((String::new(), "Any".to_owned()));
        Field::choice(name, label, any.chain(options).collect()).value(self.filters.get(name))
    }

    /// A field of the menu: one of the profiles.
    pub(crate) fn profiles(&self, visit: &Visit) -> Field {
        let names = visit.ca().profiles().map(|one| one.name().to_owned());
        self.choice("profile", "Profile", names.map(|name| (name.clone(), name)))
    }

    /// Heads of columns: words, and what the list is sorted by with it. `usual` is the order when the address has none.
    pub(crate) fn heads(
        &self,
        usual: &str,
        columns: impl IntoIterator<Item = (&'static str, Option<&'static str>)>,
    ) -> Heads {
        let sorted = match self.filters.get("sort") {
            "" => usual,
            sorted => sorted,
        };
        let head = |(words, order): (&'static str, Option<&str>)| Head {
            words,
            sort: order.map(|order| {
                let down = format!("-{order}");
                let (next, state) = match sorted {
                    now if now == order => (down.as_str(), "ascending"),
                    now if now == down => (order, "descending"),
                    _ => (order, "none"),
                };
                (format!("{}{}", self.url, self.filters.with("sort", next)), state)
            }),
        };
        Heads {
            heads: columns.into_iter().map(head).collect(),
        }
    }

    /// What stands above the rows.
    pub(crate) fn toolbar(&self, tools: Tools<'_>) -> Toolbar {
        Toolbar {
            kept: self.filters.without(&[tools.search.name]),
            typed: self.filters.get(tools.search.name).to_owned(),
            search: tools.search,
            chips: tools.chips,
            given: self.given(tools.given),
            narrow: self.narrow(tools.fields),
            columns: self.columns(tools.columns),
            file: tools.file,
            query: self.filters.with("cursor", ""),
            url: self.url.clone(),
        }
    }

    fn columns(&self, all: &[(&'static str, &'static str, bool)]) -> Columns {
        let chosen: Vec<_> = self.filters.all("show").collect();
        let shown = |name: &str, usual| match chosen.is_empty() {
            true => usual,
            false => chosen.contains(&name),
        };
        Columns {
            url: self.url.clone(),
            kept: self.filters.without(&["show"]),
            all: all
                .iter()
                .map(|(name, words, usual)| (*name, *words, shown(name, *usual)))
                .collect(),
        }
    }

    fn narrow(&self, fields: Vec<Field>) -> Narrow {
        let names: Vec<_> = fields.iter().map(Field::name).collect();
        Narrow {
            url: self.url.clone(),
            kept: self.filters.without(&names),
            fields,
        }
    }

    fn given(&self, names: &[&'static str]) -> Given {
        let given = names.iter().filter(|name| !self.filters.get(name).is_empty());
        let choice = |name: &&str| Choice {
            words: format!("{}: {}", name.replace('_', " "), self.filters.get(name)),
            link: format!("{}{}", self.url, self.filters.with(name, "")),
            current: true,
        };
        Given {
            given: given.map(choice).collect(),
        }
    }

    /// The choice of every row that fits.
    pub(crate) fn all(&self) -> All {
        All {
            query: format!("?{}", self.filters.with("cursor", "").trim_start_matches('?')),
        }
    }

    /// The pages around one.
    pub(crate) fn pages<T>(&self, page: &muster_ca::list::Page<T>) -> Pages {
        let limit = self.filters.limit();
        let size = |size: usize| Choice {
            link: format!("{}{}", self.url, self.filters.with("limit", &size.to_string())),
            words: size.to_string(),
            current: size == limit,
        };
        let turn = |cursor: &muster_ca::list::Cursor| {
            format!("{}{}", self.url, self.filters.with("cursor", &cursor.to_string()))
        };
        Pages {
            sizes: SIZES.map(size).into(),
            previous: page.previous.as_ref().map(turn),
            next: page.next.as_ref().map(turn),
            cut_short: page.cut_short,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_sorts_and_turns_round() {
        let filters = Filters::of(&[("q", "site"), ("sort", "-created"), ("cursor", "x")]);
        let heads = Listed::new("/devices".into(), &filters)
            .heads(
                "name",
                [("Name", Some("name")), ("Made", Some("created")), ("Kind", None)],
            )
            .to_string();
        assert!(
            heads.contains(r#"aria-sort="none"><a href="/devices?q=site&#38;sort=name">Name"#),
            "{heads}"
        );
        assert!(
            heads.contains(r#"aria-sort="descending"><a href="/devices?q=site&#38;sort=created">Made"#),
            "{heads}"
        );
        assert!(heads.contains(r#"<th scope="col">Kind</th>"#), "{heads}");
        let nothing = Filters::default();
        let heads = Listed::new("/devices".into(), &nothing).heads("name", [("Name", Some("name"))]);
        assert!(
            heads
                .to_string()
                .contains(r#"aria-sort="ascending"><a href="/devices?sort=%2Dname""#)
        );
    }
}
