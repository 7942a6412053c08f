//! Figures: medians, the table and the line of JSON.

use serde_json::{Map, Value};

use crate::Result;

/// What a benchmark found.
pub(crate) struct Report {
    lines: String,
    json: Map<String, Value>,
}

impl Report {
    /// A table of these lines, `key | wanted | what` each; a key may be `group.key`.
    pub(crate) fn new(lines: impl Into<String>) -> Self {
        Self {
            lines: lines.into(),
            json: Map::new(),
        }
    }

    /// A figure; `None` (JSON null) if it was not measured.
    pub(crate) fn set(&mut self, key: &str, value: Option<f64>) {
        self.note(key, value.map(rounded));
    }

    /// Something that is no figure, for the JSON alone.
    pub(crate) fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.json.insert(key.to_owned(), value.into());
    }

    /// Prints the table, then the JSON as the last line.
    pub(crate) fn print(self) -> Result<()> {
        println!("{:<20} {:>10}  {:<8} what", "key", "value", "wanted");
        for line in self.lines.lines().filter(|line| !line.is_empty()) {
            let mut cells = line.splitn(3, '|').map(str::trim);
            let (key, wanted) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let value = self
                .json
                .get(key.split('.').next().unwrap_or_default())
                .and_then(|value| match key.split_once('.') {
                    Some((_, inner)) => value.get(inner),
                    None => Some(value),
                })
                .and_then(Value::as_f64)
                .map_or_else(|| "-".to_owned(), readable);
            println!(
                "{key:<20} {value:>10}  {wanted:<8} {}",
                cells.next().unwrap_or_default()
            );
        }
        println!("{}", serde_json::to_string(&self.json)?);
        Ok(())
    }
}

/// Four significant digits: more would be noise.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powf(3.0 - value.abs().log10().floor());
    let result = (value * scale).round() / scale;
    if value.abs() >= 1000.0 {
        value.round()
    } else {
        result
    }
}

fn readable(value: f64) -> String {
    if value.abs() >= 1000.0 {
        thousands(value as u64)
    } else {
        format!("{value}")
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle value; `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(&mut values.into_iter().collect::<Vec<_>>(), 0.5)
}

/// The value below which `share` (0 to 1) of all lie; `None` of nothing. Sorts.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    values.get((last as f64 * share).round() as usize).copied()
}

/// Says on stderr what goes on.
pub(crate) fn progress(text: impl std::fmt::Display) {
    eprintln!("bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::{median, quantile, rounded, thousands};

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert!((rounded(0.012_345_6) - 0.012_35).abs() < 1e-9);
        assert!((rounded(13_140.4) - 13_140.0).abs() < 1e-9);
    }

    #[test]
    fn quantiles() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([]), None);
        let mut hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&mut hundred, 0.99), Some(99.0));
    }
}
