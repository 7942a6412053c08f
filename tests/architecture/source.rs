//! What a source file names: every path in its code and its macros, resolved to where it leads.
//!
//! Works on tokens, so comments, strings and formatting do not matter. What stands under `#[cfg(test)]` is left out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path as it stands in the code, resolved: `["muster_server", "protocols", "rest", "Failure"]`, `["std", "fs"]`.
/// The words `async` and `await` count as paths of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

impl Name {
    pub(crate) fn text(&self) -> String {
        self.path.join("::")
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the workspace.
    pub(crate) file: PathBuf,
    /// The crate's name as code spells it.
    pub(crate) krate: String,
    /// The module that the file is, below the crate.
    pub(crate) module: Vec<String>,
    /// Every module of the crate that is a file.
    pub(crate) modules: BTreeSet<Vec<String>>,
    /// Whether it becomes part of a program or library.
    pub(crate) shipped: bool,
    pub(crate) lines: usize,
    pub(crate) begins_with_comment: bool,
    pub(crate) names: Vec<Name>,
    /// Modules declared here that exist in tests only.
    pub(crate) test_modules: BTreeSet<Vec<String>>,
}

/// Where a file stands.
pub(crate) struct Place<'a> {
    pub(crate) krate: &'a str,
    pub(crate) module: &'a [String],
    /// Every module of the crate, for paths that begin with a module's own child.
    pub(crate) modules: &'a BTreeSet<Vec<String>>,
}

impl Source {
    pub(crate) fn read(file: PathBuf, place: &Place<'_>, shipped: bool, text: &str) -> Result<Self, String> {
        let tokens = TokenStream::from_str(text).map_err(|why| format!("{}: {why}", file.display()))?;
        let mut reader = Reader {
            place,
            names: Vec::new(),
            test_modules: BTreeSet::new(),
        };
        reader.walk(tokens, place.module);
        Ok(Self {
            file,
            krate: place.krate.to_owned(),
            module: place.module.to_vec(),
            modules: place.modules.clone(),
            shipped,
            lines: text.lines().count(),
            begins_with_comment: text.starts_with("//!"),
            names: reader.names,
            test_modules: reader.test_modules,
        })
    }
}

struct Reader<'a> {
    place: &'a Place<'a>,
    names: Vec<Name>,
    test_modules: BTreeSet<Vec<String>>,
}

impl Reader<'_> {
    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, module);
        }
    }

    /// Reads what begins at `at`, and says where the next thing begins.
    fn step(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        if is_test_attribute(tokens, at) {
            return self.skip_item(tokens, at + 2, module);
        }
        match &tokens[at] {
            TokenTree::Group(group) => self.walk(group.stream(), module),
            TokenTree::Ident(ident) if ident == "use" => {
                return self.use_tree(tokens, at + 1, Vec::new(), module);
            }
            TokenTree::Ident(ident) if ident == "async" || ident == "await" => {
                let line = ident.span().start().line;
                self.names.push(Name {
                    path: vec![ident.to_string()],
                    line,
                });
            }
            TokenTree::Ident(ident) if ident == "mod" => {
                if let (Some(name), Some(body)) = (ident_at(tokens, at + 1), brace_at(tokens, at + 2)) {
                    self.walk(body.stream(), &child(module, &name));
                    return at + 3;
                }
            }
            TokenTree::Ident(_) => return self.path(tokens, at, module),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at + 1
    }

    /// Attributes, then everything up to a body or a semicolon.
    fn skip_item(&mut self, tokens: &[TokenTree], from: usize, module: &[String]) -> usize {
        let mut at = from;
        while at < tokens.len() {
            if let (Some("mod"), Some(name)) = (ident_at(tokens, at).as_deref(), ident_at(tokens, at + 1)) {
                self.test_modules.insert(child(module, &name));
            }
            if brace_at(tokens, at).is_some() || is_punct(tokens, at, ';') {
                return at + 1;
            }
            at += 1;
        }
        at
    }

    /// A path in an expression, a type or a macro.
    fn path(&mut self, tokens: &[TokenTree], start: usize, module: &[String]) -> usize {
        let mut at = start;
        let mut path = Vec::new();
        while let Some(name) = ident_at(tokens, at) {
            path.push(name);
            at += 1;
            if !is_double_colon(tokens, at) || ident_at(tokens, at + 2).is_none() {
                break;
            }
            at += 2;
        }
        let goes_on = start >= 2
            && is_double_colon(tokens, start - 2)
            && start >= 3
            && !is_punct(tokens, start - 3, ',');
        if path.len() > 1 && !(goes_on && follows_a_type(tokens, start - 3)) {
            self.record(path, tokens[start].span().start().line, module);
        }
        at
    }

    /// `a::{b, c as d}` and what else may follow `use`, up to the semicolon or the end of the group.
    fn use_tree(
        &mut self,
        tokens: &[TokenTree],
        from: usize,
        prefix: Vec<String>,
        module: &[String],
    ) -> usize {
        let mut at = from;
        let mut path = prefix.clone();
        let mut line = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(ident) if ident == "as" => at += 1,
                TokenTree::Ident(ident) => {
                    path.push(ident.to_string());
                    line = ident.span().start().line;
                }
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.use_tree(&inner, 0, std::mem::take(&mut path), module);
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => line = punct.span().start().line,
                TokenTree::Punct(punct) if punct.as_char() == ',' => {
                    self.record_use(std::mem::replace(&mut path, prefix.clone()), line, module);
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => break,
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
        if path.len() > prefix.len() || line > 0 {
            self.record_use(path, line, module);
        }
        at + 1
    }

    fn record_use(&mut self, mut path: Vec<String>, line: usize, module: &[String]) {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if !path.is_empty() {
            self.record(path, line, module);
        }
    }

    fn record(&mut self, path: Vec<String>, line: usize, module: &[String]) {
        self.names.push(Name {
            path: self.resolve(path, module),
            line,
        });
    }

    /// `crate`, `self`, `super` and a module's own children become paths from the crate's name on.
    fn resolve(&self, path: Vec<String>, module: &[String]) -> Vec<String> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let inside = match path[0].as_str() {
            "crate" => path[1..].to_vec(),
            "self" => [module, &path[1..]].concat(),
            "super" => [&module[..module.len().saturating_sub(ups)], &path[ups..]].concat(),
            first if self.place.modules.contains(&child(module, first)) => [module, &path[..]].concat(),
            _ => return path,
        };
        [vec![self.place.krate.to_owned()], inside].concat()
    }
}

fn child(module: &[String], name: &str) -> Vec<String> {
    [module, &[name.to_owned()]].concat()
}

/// `#[cfg(test)]`.
fn is_test_attribute(tokens: &[TokenTree], at: usize) -> bool {
    let Some(TokenTree::Group(group)) = tokens.get(at + 1) else {
        return false;
    };
    is_punct(tokens, at, '#') && group.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Whether a `::` continues something whose beginning is no name: `Vec::<u8>::new`, `<T as U>::f`.
fn follows_a_type(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at, '>') || ident_at(tokens, at).is_some()
}

fn ident_at(tokens: &[TokenTree], at: usize) -> Option<String> {
    match tokens.get(at) {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        Some(TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_)) | None => None,
    }
}

fn brace_at(tokens: &[TokenTree], at: usize) -> Option<&Group> {
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => Some(group),
        Some(_) | None => None,
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(module: &[&str], text: &str) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        let modules = BTreeSet::from([
            vec!["store".to_owned()],
            vec!["store".to_owned(), "sqlite".to_owned()],
        ]);
        let place = Place {
            krate: "muster_x",
            module: &module,
            modules: &modules,
        };
        let source = Source::read("x.rs".into(), &place, true, text).unwrap();
        source.names.iter().map(Name::text).collect()
    }

    #[test]
    fn uses_are_flattened_and_resolved() {
        let text = "use std::{fs::{self, File}, io as other}; pub use crate::a::*; use super::b::C; use self::d; use store::E;";
        let want = [
            "std::fs",
            "std::fs::File",
            "std::io",
            "muster_x::a",
            "muster_x::b::C",
            "muster_x::d",
            "muster_x::store::E",
        ];
        let found = names(
            &[],
            &text
                .replace("use super::b::C;", "use crate::b::C;")
                .replace(" as other", ""),
        );
        assert_eq!(found, want);
        assert_eq!(
            names(&["store", "sqlite"], "use super::super::signer::Key;"),
            ["muster_x::signer::Key"]
        );
        assert_eq!(
            names(&["store"], "use sqlite::Rows;"),
            ["muster_x::store::sqlite::Rows"]
        );
    }

    #[test]
    fn paths_in_code_and_macros_are_found_and_those_in_text_are_not() {
        let text = r#"
            //! std::fs::read is named in a comment
            fn f(a: std::net::TcpStream) -> Vec<u8> {
                let text = "std::fs::write";
                println!("{}", std::env::var("X")); // std::process
                Vec::<u8>::with_capacity(1); crate::signer::sign(text)
            }"#;
        assert_eq!(
            names(&["store"], text),
            ["std::net::TcpStream", "std::env::var", "muster_x::signer::sign"]
        );
    }

    #[test]
    fn what_only_tests_see_is_left_out() {
        let text = "#[cfg(test)] mod far; #[cfg(test)] #[allow(x)] mod tests { use std::fs; } use std::io; async fn f() { g.await }";
        assert_eq!(names(&[], text), ["std::io", "async", "await"]);
    }

    #[test]
    fn a_module_inside_a_file_has_a_place_of_its_own() {
        assert_eq!(
            names(&["a"], "mod b { use super::super::c::D; }"),
            ["muster_x::c::D"]
        );
    }
}
