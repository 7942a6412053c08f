//! Which value counts: defaults < `muster.toml` < environment < flags; and from where it came.

use muster_server::Configured;

use super::{FILE, variable};

/// What is said about a key, in all places.
pub(super) struct Said<'a> {
    pub(super) flag: Option<String>,
    pub(super) variables: &'a [&'a str],
    pub(super) file: Option<String>,
    pub(super) default: &'a str,
}

/// Picks values, and remembers them for whoever asks what is in force.
#[derive(Default)]
pub(super) struct Picker {
    pub(super) picked: Vec<Configured>,
}

impl Picker {
    pub(super) fn pick(&mut self, key: &'static str, said: Said<'_>) -> String {
        let of_environment = || {
            let mut set = said
                .variables
                .iter()
                // What cannot be read is told with the other mistakes.
                .filter_map(|name| Some((variable(name).ok()??, *name)));
            set.next().map(|(value, name)| (value, name.to_owned()))
        };
        let flag = said.flag.map(|value| (value, "flag".to_owned()));
        let file = said.file.map(|value| (value, FILE.to_owned()));
        let picked = flag.or_else(of_environment).or(file);
        let (value, origin) = picked.unwrap_or_else(|| (said.default.to_owned(), "default".to_owned()));
        self.picked.push(Configured {
            key,
            value: value.clone(),
            origin,
        });
        value
    }

    /// The same for a list, which has commas between its entries outside the file.
    pub(super) fn list(
        &mut self,
        key: &'static str,
        flag: &[String],
        variables: &[&str],
        file: Option<Vec<String>>,
        default: &str,
    ) -> Vec<String> {
        let text = self.pick(
            key,
            Said {
                flag: (!flag.is_empty()).then(|| flag.join(",")),
                variables,
                file: file.map(|entries| entries.join(",")),
                default,
            },
        );
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_to_the_operator_counts() {
        let mut picker = Picker::default();
        let mut pick = |flag: Option<&str>, file: Option<&str>| {
            let said = Said {
                flag: flag.map(str::to_owned),
                variables: &["MUSTER_TEST_NOBODY_SETS_THIS"],
                file: file.map(str::to_owned),
                default: "usual",
            };
            let value = picker.pick("key", said);
            (
                value,
                picker.picked.pop().map(|one| one.origin).unwrap_or_default(),
            )
        };
        let told = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(pick(Some("a"), Some("b")), told("a", "flag"));
        assert_eq!(pick(None, Some("b")), told("b", "muster.toml"));
        assert_eq!(pick(None, None), told("usual", "default"));
        let list = picker.list("dns", &[], &[], Some(vec!["a".into(), " b".into()]), "c");
        assert_eq!(list, ["a", "b"]);
    }
}
