//! One table of a document, read key by key.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Secret, SecretSource, check_name, errors::Sink, parse_bytes, parse_duration, suggest::nearest,
};

/// Where a table stands.
#[derive(Debug, Clone)]
pub(crate) struct Place<'d> {
    pub(crate) sink: &'d Sink<'d>,
    pub(crate) base: &'d Path,
    pub(crate) path: String,
    pub(crate) at: usize,
}

/// A table of the document; an absent one reads as empty.
///
/// A getter answers `None` for a key that is absent, or wrong and reported. Call
/// [`finish`](Self::finish) after the last one: the keys nobody asked for are reported there.
#[derive(Debug)]
pub struct Section<'d> {
    place: Place<'d>,
    table: Option<&'d DeTable<'d>>,
    /// What holds for keys that do not stand here.
    defaults: Option<(Place<'d>, &'d DeTable<'d>)>,
    known: Vec<String>,
}

impl<'d> Section<'d> {
    pub(crate) fn new(place: Place<'d>, table: Option<&'d DeTable<'d>>) -> Self {
        Self {
            place,
            table,
            defaults: None,
            known: Vec::new(),
        }
    }

    /// One of the tables inside this one, for which what stands here holds too, key by key, where
    /// it does not say otherwise.
    #[must_use]
    pub fn defaults_of(&self, inner: Section<'d>) -> Section<'d> {
        Section {
            defaults: self.table.map(|table| (self.place.clone(), table)),
            ..inner
        }
    }

    /// What a table was asked for that [`defaults_of`](Self::defaults_of) made is known here too.
    pub fn learn(&mut self, inner: &Section<'d>) {
        self.known.extend(inner.known.iter().cloned());
    }

    /// The path of a key of this section, like `service.gpt.key`.
    #[must_use]
    pub fn path_of(&self, key: &str) -> String {
        let place = match &self.defaults {
            Some((place, defaults)) if !self.has_own(key) && defaults.contains_key(key) => place,
            _ => &self.place,
        };
        if place.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", place.path)
        }
    }

    /// Whether the key stands here or where the defaults are, right or wrong.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key stands here itself, right or wrong.
    #[must_use]
    pub fn has_own(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the key stands here and is a table.
    #[must_use]
    pub fn is_table(&self, key: &str) -> bool {
        matches!(self.entry(key), Some((_, DeValue::Table(_))))
    }

    /// Reports a mistake at a key, or at the head of the section if the key is absent.
    pub fn error(&self, key: &str, message: impl Into<String>) {
        let at = self.entry(key).map_or(self.place.at, |(at, _)| at);
        self.place
            .sink
            .report(at, self.path_of(key), message.into());
    }

    /// A text that must stand there.
    pub fn string(&mut self, key: &str) -> Option<String> {
        self.require(key);
        self.opt_string(key)
    }

    /// A text, not empty.
    pub fn opt_string(&mut self, key: &str) -> Option<String> {
        self.read(key, |value| match text(value)? {
            "" => Err("must not be empty".to_owned()),
            text => Ok(text.to_owned()),
        })
    }

    /// `true` or `false`.
    pub fn opt_bool(&mut self, key: &str) -> Option<bool> {
        self.read(key, |value| {
            value
                .as_bool()
                .ok_or_else(|| expected("true or false", value))
        })
    }

    /// A whole number within a range.
    pub fn opt_integer<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        self.read(key, |value| {
            let integer = value
                .as_integer()
                .ok_or_else(|| expected("a whole number", value))?;
            i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .filter(|number| range.contains(number))
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| format!("must be from {} to {}", range.start(), range.end()))
        })
    }

    /// A number within a range.
    pub fn opt_number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.read(key, |value| number(value, &range))
    }

    /// A duration above zero, like `"20s"`.
    pub fn opt_duration(&mut self, key: &str) -> Option<Duration> {
        self.read(key, |value| {
            if value.is_integer() || value.is_float() {
                return Err("has no unit; write it like \"20s\" or \"5min\"".to_owned());
            }
            match parse_duration(text(value)?)? {
                Duration::ZERO => Err("must be more than 0".to_owned()),
                duration => Ok(duration),
            }
        })
    }

    /// A size above zero, like `"64MiB"`.
    pub fn opt_bytes(&mut self, key: &str) -> Option<u64> {
        self.read(key, |value| {
            if value.is_integer() {
                return Err("has no unit; write it like \"64MiB\" or \"20MB\"".to_owned());
            }
            match parse_bytes(text(value)?)? {
                0 => Err("must be more than 0".to_owned()),
                bytes => Ok(bytes),
            }
        })
    }

    /// One of some words.
    pub fn opt_enum<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.read(key, |value| meaning(value, words))
    }

    /// A path; a relative one is meant from the directory of the configuration file.
    pub fn opt_path(&mut self, key: &str) -> Option<PathBuf> {
        let base = self.place.base;
        self.opt_string(key).map(|path| base.join(path))
    }

    /// A reference to a secret: `{ env = "NAME" }` or `{ file = "PATH" }`.
    pub fn opt_secret(&mut self, key: &str) -> Option<Secret> {
        if matches!(self.entry(key), Some((_, DeValue::String(_)))) {
            self.known.push(key.to_owned());
            self.error(
                key,
                "a secret must not stand in the configuration: \
                 write { env = \"NAME\" } or { file = \"PATH\" }",
            );
            return None;
        }
        let mut reference = self.opt_section(key)?;
        let variable = reference.opt_string("env");
        let file = reference.opt_path("file");
        let one = reference.has("env") != reference.has("file");
        reference.finish();
        if !one {
            self.error(
                key,
                "write either { env = \"NAME\" } or { file = \"PATH\" }",
            );
            return None;
        }
        let source = variable
            .map(SecretSource::Env)
            .or(file.map(SecretSource::File))?;
        Some(Secret::new(self.path_of(key), source))
    }

    /// A table; empty if it is absent.
    pub fn section(&mut self, key: &str) -> Section<'d> {
        self.opt_section(key).unwrap_or_else(|| {
            let place = self.place_of(key, self.place.at);
            Section::new(place, None)
        })
    }

    /// A table, if it is there.
    pub fn opt_section(&mut self, key: &str) -> Option<Section<'d>> {
        self.known.push(key.to_owned());
        let (at, value) = self.entry(key)?;
        let place = self.place_of(key, at);
        let table = self.checked(
            key,
            value.as_table().ok_or_else(|| expected("a table", value)),
        )?;
        Some(Section::new(place, Some(table)))
    }

    /// The tables of an array of tables, `[[key]]`.
    pub fn array_of_tables(&mut self, key: &str) -> Option<Vec<Section<'d>>> {
        self.known.push(key.to_owned());
        let (at, value) = self.entry(key)?;
        let wanted = || Err(format!("write it as [[{}]]", self.path_of(key)));
        let array = self.checked(key, value.as_array().map_or_else(wanted, Ok))?;
        let mut sections = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let name = format!("{key}[{index}]");
            let at = if item.span().is_empty() {
                at
            } else {
                item.span().start
            };
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section::new(self.place_of(&name, at), Some(table)));
                }
                None => {
                    let message = expected("a table", item.get_ref());
                    self.place.sink.report(at, self.path_of(&name), message);
                }
            }
        }
        Some(sections)
    }

    /// The keys of this section, which are words of somebody else's.
    pub fn keys(&mut self) -> Vec<String> {
        let keys: Vec<String> = self
            .table
            .map(|table| table.keys().map(|key| key.get_ref().to_string()).collect())
            .unwrap_or_default();
        self.known.extend(keys.iter().cloned());
        keys
    }

    /// The keys of this section that are tables, known or not.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        let entries = self.table.into_iter().flatten();
        let tables = entries.filter(|(_, value)| value.get_ref().is_table());
        tables.map(|(key, _)| key.get_ref().to_string()).collect()
    }

    /// The keys of this section that are names of the user's choosing; bad ones are reported.
    pub fn names(&mut self) -> Vec<String> {
        self.keys()
            .into_iter()
            .filter(|name| self.checked(name, check_name(name)).is_some())
            .collect()
    }

    /// Reports the keys nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.known.iter().any(|known| known == name) {
                continue;
            }
            let message = match nearest(name, self.known.iter().map(String::as_str)) {
                Some(meant) => format!("unknown key, did you mean `{meant}`?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.place
                .sink
                .report(key.span().start, self.path_of(name), message);
        }
    }

    /// Reports the key if it is absent.
    pub fn require(&self, key: &str) {
        if !self.has(key) && !self.place.sink.damaged {
            self.error(key, "is missing");
        }
    }

    pub(super) fn read<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&'d DeValue<'d>) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(key.to_owned());
        let (_, value) = self.entry(key)?;
        self.checked(key, parse(value))
    }

    fn checked<T>(&self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.error(key, message)).ok()
    }

    pub(super) fn entry(&self, key: &str) -> Option<(usize, &'d DeValue<'d>)> {
        let defaults = self.defaults.as_ref().map(|(_, table)| *table);
        let mut tables = self.table.into_iter().chain(defaults);
        let (key, value) = tables.find_map(|table| table.get_key_value(key))?;
        Some((key.span().start, Spanned::get_ref(value)))
    }

    fn place_of(&self, key: &str, at: usize) -> Place<'d> {
        Place {
            path: self.path_of(key),
            at,
            ..self.place.clone()
        }
    }
}

pub(super) fn text<'d>(value: &'d DeValue<'_>) -> Result<&'d str, String> {
    value.as_str().ok_or_else(|| expected("a string", value))
}

pub(super) fn number(value: &DeValue<'_>, range: &RangeInclusive<f64>) -> Result<f64, String> {
    let digits = match value {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        other => return Err(expected("a number", other)),
    };
    digits
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must be from {} to {}", range.start(), range.end()))
}

pub(super) fn meaning<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let found = text(value)?;
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == found) {
        return Ok(*meaning);
    }
    let list: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    Err(format!("{found:?} is not one of {}", list.join(", ")))
}

pub(super) fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("must be {what}, not {}", found.type_str())
}
