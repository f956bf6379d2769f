//! Values with units, and names.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Reads a duration like `20s`, `5min` or `1h 30min`.
///
/// # Errors
/// What is wrong, with an example.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("not a duration ({error}); write it like \"20s\" or \"5min\""))
}

/// Reads a size like `64MiB`, `20MB` or `512B`.
///
/// # Errors
/// What is wrong, with an example.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size; write it like \"64MiB\" or \"20MB\"");
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .ok_or_else(bad)?;
    let (count, unit) = text.split_at(split);
    let count: u64 = count.replace('_', "").parse().map_err(|_| bad())?;
    UNITS
        .iter()
        .find(|(name, _)| *name == unit.trim())
        .and_then(|(_, bytes)| count.checked_mul(*bytes))
        .ok_or_else(bad)
}

/// Checks a name of a service, pipeline, step, root or namespace.
///
/// Names become parts of queue names, routing keys and template variables.
///
/// # Errors
/// The rule.
pub fn check_name(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest = bytes.all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
    });
    if first && rest && name.len() <= 63 {
        return Ok(());
    }
    Err(format!(
        "{name:?} is not a name: use a-z, 0-9, _ and -, starting with a letter or digit, at most 63"
    ))
}
