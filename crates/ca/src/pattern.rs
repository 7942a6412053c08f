//! Patterns of names, such as `site-*`: `*` stands for any characters, also for none.

/// Whether a text is of a pattern. Takes at most as many steps as both lengths multiplied.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much of the text it stands for so far.
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "site"),
            ("site-*", "site-"),
            ("site-*", "site-001"),
            ("*.example.org", "*.example.org"),
            ("a*b*c", "abbc"),
            ("*a*b", "aaab"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("site-*", "site"),
            ("site-*", "my-site-1"),
            ("*.example.org", "example.org"),
            ("a*b*c", "acb"),
            ("*a", "ab"),
            ("a", "A"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_text_takes_no_time() {
        assert!(!matches(&format!("{}b", "*a".repeat(30)), &"a".repeat(20_000)));
    }
}
