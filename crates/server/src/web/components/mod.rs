//! What pages are made of. Each is a type that fills its own small template; `{{ it }}` puts it into a page.

mod badge;
mod chart;
mod copied;
mod field;
mod icon;
mod lines;
mod list;
mod qr;
mod toolbar;
mod when;

pub(crate) use self::badge::{Badge, Mood};
pub(crate) use self::chart::{Days, Lane, Lanes};
pub(crate) use self::copied::Copied;
pub(crate) use self::field::Field;
pub(crate) use self::icon::Icon;
pub(crate) use self::lines::{Lines, option, quoted};
pub(crate) use self::list::{All, Heads, Listed, Pages};
pub(crate) use self::qr::Qr;
pub(crate) use self::toolbar::{Search, Toolbar, Tools};
pub(crate) use self::when::{When, lasting};

/// A number as people read it: `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        let texts = [0, 999, 1000, 1_234_567].map(super::thousands);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
