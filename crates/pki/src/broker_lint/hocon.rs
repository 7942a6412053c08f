//! A small reader of HOCON, as EMQX's configuration is written: every value under its whole path.

use super::At;

/// How deep objects and lists go.
const DEEPEST: usize = 32;
/// The most values that are read, and the longest path.
const MOST: usize = 20_000;
const LONGEST: usize = 300;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: At,
    /// Such as `listeners.ssl.default.ssl_options.verify`; elements of a list count as `.0`, `.1`.
    pub(super) path: String,
    pub(super) value: String,
}

/// Every value, in order; of two with one path, the later counts. What is no HOCON is passed over.
pub(super) fn read(source: usize, text: &str) -> Vec<Entry> {
    let mut reader = Reader {
        source,
        rest: text,
        line: 1,
        entries: Vec::new(),
    };
    while !reader.rest.is_empty() && reader.entries.len() < MOST {
        reader.object("", 0);
        // A brace too many.
        reader.take(1);
    }
    reader.entries
}

struct Reader<'a> {
    source: usize,
    rest: &'a str,
    line: usize,
    entries: Vec<Entry>,
}

impl<'a> Reader<'a> {
    /// Up to the closing brace, which is left, or the end.
    fn object(&mut self, path: &str, depth: usize) {
        loop {
            self.skip(true);
            if self.rest.is_empty() || self.rest.starts_with('}') || self.entries.len() >= MOST {
                return;
            }
            let key = self.key();
            let path = join(path, &key);
            self.skip(false);
            match self.rest.chars().next() {
                Some('{') => self.value(&path, depth),
                Some('=' | ':') => {
                    self.take(1);
                    self.value(&path, depth);
                }
                Some('+') => {
                    self.take(2);
                    self.value(&path, depth);
                }
                // No key of anything.
                Some(_) | None => {
                    if key.is_empty() {
                        self.take(1);
                    }
                }
            }
        }
    }

    fn value(&mut self, path: &str, depth: usize) {
        self.skip(true);
        let at = (self.source, self.line);
        match self.rest.chars().next() {
            Some('{') if depth < DEEPEST => {
                self.take(1);
                self.object(path, depth + 1);
                self.take(1);
            }
            Some('[') if depth < DEEPEST => {
                self.take(1);
                self.list(path, depth + 1);
            }
            Some('"') => {
                let value = self.quoted();
                self.add(at, path, value);
            }
            Some(_) => {
                let end = self.rest.find(['\n', ',', '}', ']', '#', '{', '[']);
                let end = end.unwrap_or(self.rest.len()).max(1);
                let value = self.take(end).trim().to_owned();
                self.add(at, path, value);
            }
            None => {}
        }
    }

    fn list(&mut self, path: &str, depth: usize) {
        for number in 0..MOST {
            self.skip(true);
            if self.rest.is_empty() || self.rest.starts_with(['}', ']']) {
                break;
            }
            self.value(&join(path, &number.to_string()), depth);
        }
        if self.rest.starts_with(']') {
            self.take(1);
        }
    }

    fn key(&mut self) -> String {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self
            .rest
            .find(['=', ':', '{', '}', '+', '\n', '#', ',', '[', ']', '"']);
        self.take(end.unwrap_or(self.rest.len())).trim().to_owned()
    }

    fn quoted(&mut self) -> String {
        if let Some(after) = self.rest.strip_prefix("\"\"\"") {
            let end = after.find("\"\"\"").unwrap_or(after.len());
            let text = after[..end].to_owned();
            self.take(end + 6);
            return text;
        }
        let mut text = String::new();
        let mut escaped = false;
        let mut used = 1;
        for letter in self.rest.chars().skip(1) {
            used += letter.len_utf8();
            match letter {
                '\n' => break,
                '"' if !escaped => break,
                '\\' if !escaped => escaped = true,
                letter => {
                    escaped = false;
                    text.push(letter);
                }
            }
        }
        self.take(used);
        text
    }

    /// Blanks and comments; commas and the ends of lines, too, if asked for.
    fn skip(&mut self, lines: bool) {
        loop {
            let blank = |letter: char| {
                (letter.is_whitespace() && (lines || letter != '\n')) || (lines && letter == ',')
            };
            let end = self.rest.find(|letter| !blank(letter)).unwrap_or(self.rest.len());
            self.take(end);
            if !self.rest.starts_with('#') && !self.rest.starts_with("//") {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }

    /// The next bytes; fewer at the end, or where a letter would be cut.
    fn take(&mut self, bytes: usize) -> &'a str {
        let mut end = bytes.min(self.rest.len());
        while !self.rest.is_char_boundary(end) {
            end += 1;
        }
        let (taken, rest) = self.rest.split_at(end);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn add(&mut self, at: At, path: &str, value: String) {
        let path = path.to_owned();
        if self.entries.len() < MOST {
            self.entries.push(Entry { at, path, value });
        }
    }
}

fn join(path: &str, key: &str) -> String {
    let joined = if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    };
    joined.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_under_their_whole_path() {
        let text = "a.b = 1 # one\nc {\n d = \"x # y\"\n e { f : [1, {g = h}]\n } }\n\"q r\" = \"\"\"s\nt\"\"\"\n// no\nlast=z";
        let entries = read(7, text);
        let all: Vec<_> = entries
            .iter()
            .map(|one| (one.path.as_str(), one.value.as_str(), one.at))
            .collect();
        assert_eq!(
            all,
            [
                ("a.b", "1", (7, 1)),
                ("c.d", "x # y", (7, 3)),
                ("c.e.f.0", "1", (7, 4)),
                ("c.e.f.1.g", "h", (7, 4)),
                ("q r", "s\nt", (7, 6)),
                ("last", "z", (7, 9)),
            ]
        );
    }
}
