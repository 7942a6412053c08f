//! A small reader of Erlang terms, as `advanced.config` is written.

/// How deep terms go.
const DEEPEST: usize = 64;
/// The most terms that are read.
const MOST: usize = 50_000;

/// A term and the line it begins in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// An atom, a number or a string.
    Word(String),
    /// A list or a tuple.
    Many(Vec<Term>),
}

impl Term {
    pub(super) fn word(&self) -> Option<&str> {
        match &self.what {
            What::Word(word) => Some(word),
            What::Many(_) => None,
        }
    }

    pub(super) fn parts(&self) -> &[Term] {
        match &self.what {
            What::Word(_) => &[],
            What::Many(parts) => parts,
        }
    }

    /// The pair in this list whose first part is a word: the whole pair.
    pub(super) fn pair(&self, key: &str) -> Option<&Term> {
        let named = |part: &&Term| part.parts().first().and_then(Term::word) == Some(key);
        self.parts().iter().find(named)
    }

    /// What stands second in a pair.
    pub(super) fn second(&self) -> Option<&Term> {
        self.parts().get(1)
    }
}

/// The first term of a text. What is none is passed over.
pub(super) fn read(text: &str) -> Option<Term> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        count: 0,
    };
    reader.term(0)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    count: usize,
}

impl<'a> Reader<'a> {
    fn term(&mut self, depth: usize) -> Option<Term> {
        loop {
            self.skip();
            self.count += 1;
            let line = self.line;
            let what = match self.rest.chars().next()? {
                _ if self.count > MOST || depth > DEEPEST => return None,
                '[' | '{' => {
                    self.take(1);
                    What::Many(self.parts(depth))
                }
                quote @ ('"' | '\'') => What::Word(self.quoted(quote)),
                letter if letter.is_alphanumeric() || "_@-".contains(letter) => {
                    let end = self
                        .rest
                        .find(|letter: char| !letter.is_alphanumeric() && !"_@-.".contains(letter));
                    let word = self.take(end.unwrap_or(self.rest.len()));
                    What::Word(word.trim_end_matches('.').to_owned())
                }
                ']' | '}' => return None,
                _ => {
                    self.take(1);
                    continue;
                }
            };
            return Some(Term { line, what });
        }
    }

    /// Up to the closing bracket, whichever it is.
    fn parts(&mut self, depth: usize) -> Vec<Term> {
        let mut parts = Vec::new();
        while let Some(part) = self.term(depth + 1) {
            parts.push(part);
        }
        if self.rest.starts_with([']', '}']) {
            self.take(1);
        }
        parts
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        let mut escaped = false;
        let mut used = 1;
        for letter in self.rest.chars().skip(1) {
            used += letter.len_utf8();
            match letter {
                letter if letter == quote && !escaped => break,
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

    fn skip(&mut self) {
        loop {
            let end = self
                .rest
                .find(|letter: char| !letter.is_whitespace() && letter != ',');
            self.take(end.unwrap_or(self.rest.len()));
            if !self.rest.starts_with('%') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }

    /// The next bytes; fewer at the end, or more where a letter would be cut.
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]
    use super::*;

    #[test]
    fn pairs_are_found_with_their_lines() {
        let term = read("%% a\n[{rabbit, [\n {x, \"y\"}, {'z-1', [1, a.b]}\n]}].\n").unwrap();
        let rabbit = term.pair("rabbit").unwrap().second().unwrap();
        let x = rabbit.pair("x").unwrap();
        assert_eq!((x.line, x.second().unwrap().word()), (3, Some("y")));
        assert_eq!(rabbit.pair("z-1").unwrap().second().unwrap().parts().len(), 2);
        assert_eq!(rabbit.pair("none"), None);
    }
}
