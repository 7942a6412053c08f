//! The same thing as a command and as a call of the API, to copy; what no command does as the call alone.

use askama::Template;
use askama::filters::HtmlSafe;

/// See the module. `id` must be the only one of its page.
#[derive(Template, Debug, Clone)]
#[template(path = "components/lines.html")]
pub(crate) struct Lines {
    id: &'static str,
    cli: Option<String>,
    api: String,
}

impl HtmlSafe for Lines {}

impl Lines {
    /// `cli` is what one types; `api` is the method and the path below `/api/v1`, such as `GET /devices`.
    pub(crate) fn new(id: &'static str, cli: &str, api: &str) -> Self {
        Self {
            cli: Some(cli.to_owned()),
            ..Self::call(id, api)
        }
    }

    /// What only the API does.
    pub(crate) fn call(id: &'static str, api: &str) -> Self {
        let (method, path) = api.split_once(' ').unwrap_or(("GET", api));
        let method = if method == "GET" {
            String::new()
        } else {
            format!("-X {method} ")
        };
        Self {
            id,
            cli: None,
            api: format!(
                "curl --cacert root_ca.crt -H \"Authorization: Bearer $MUSTER_API_KEY\" {method}\
                 \"$MUSTER_URL/api/v1{path}\""
            ),
        }
    }

    /// A call that sends this, as `curl` from 7.82 on takes it.
    pub(crate) fn with_body(mut self, body: &serde_json::Value) -> Self {
        // In a shell nothing but its own end has a meaning between single quotes.
        let body = body.to_string().replace('\'', "'\\''");
        self.api.push_str(&format!(" --json '{body}'"));
        self
    }
}

/// A word as a shell takes it for one, and for nothing else.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:/@%+=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// An option and its value, with the space before; a value that looks like an option itself does not become one.
pub(crate) fn option(name: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!(" --{name}{between}{}", quoted(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("site-001"), "site-001");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("a'; rm -rf $HOME"), r"'a'\''; rm -rf $HOME'");
        assert_eq!(option("search", "a b"), " --search 'a b'");
        assert_eq!(option("search", "-x"), " --search=-x");
    }
}
