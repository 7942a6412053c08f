//! Topics, where something is published, and filters, which say what is received (MQTT 5.0, section 4.7). What begins with `$` is up to the
//! broker.

/// The longest there is, in bytes.
const LONGEST: usize = 65_535;

/// Whether something may be published here.
///
/// # Errors
/// What is wrong with it.
pub fn check_topic(topic: &str) -> Result<(), &'static str> {
    check_text(topic)?;
    if topic.contains(['+', '#']) {
        return Err("+ and # are for what is received, not for where to publish");
    }
    Ok(())
}

/// Whether it says what to receive.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), &'static str> {
    check_text(filter)?;
    let levels = match filter.strip_prefix("$share/") {
        Some(shared) => match shared.split_once('/') {
            Some((group, levels))
                if !group.is_empty() && !group.contains(['+', '#']) && !levels.is_empty() =>
            {
                levels
            }
            _ => return Err("a shared subscription is $share/GROUP/FILTER"),
        },
        None => filter,
    };
    let mut levels = levels.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "#" if levels.peek().is_some() => return Err("# comes last"),
            "#" | "+" => {}
            _ if level.contains(['+', '#']) => return Err("+ and # stand alone between slashes"),
            _ => {}
        }
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > LONGEST {
        return Err("it is longer than 65,535 bytes");
    }
    if text.contains('\0') {
        return Err("it holds a NUL");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_no_wildcards() {
        for good in ["a", "/", "a//b", "$SYS/health", "fleet/über", " "] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", "#", "a/#", "a/+/b", "a+", "a\0b", &"x".repeat(65_536)] {
            assert!(check_topic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wildcards_stand_alone_and_the_last_one_last() {
        for good in ["#", "+", "a/#", "+/+/#", "/+", "$share/g/a/#", "$SYS/#"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a#",
            "#/a",
            "a/#/b",
            "a+/b",
            "a/+b",
            "\0",
            "$share/g",
            "$share//a",
            "$share/+/a",
            "$share/g/",
        ] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }
}
