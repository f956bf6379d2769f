//! Values of the user's own shape: JSON, lists, and tables with keys of any name.

use std::ops::RangeInclusive;

use serde_json::{Map, Number, Value};
use toml::{
    Spanned,
    de::{DeArray, DeValue},
};

use super::section::{Section, expected, meaning, number, text};

impl Section<'_> {
    /// Any value as JSON; dates and times must be written as texts.
    pub fn opt_value(&mut self, key: &str) -> Option<Value> {
        self.read(key, json)
    }

    /// A value as it stands there, whether it is read or not.
    #[must_use]
    pub fn written(&self, key: &str) -> Option<Value> {
        json(self.entry(key)?.1).ok()
    }

    /// A text that may be empty.
    pub fn opt_text(&mut self, key: &str) -> Option<String> {
        self.read(key, |value| text(value).map(str::to_owned))
    }

    /// A list of texts.
    pub fn opt_texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.read(key, |value| {
            let items = list(value)?.iter();
            items
                .map(|item| text(item.get_ref()).map(str::to_owned))
                .collect()
        })
    }

    /// Several of some words, at least one and none twice.
    pub fn opt_enums<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<Vec<T>> {
        self.read(key, |value| {
            let items = some(value)?.iter().map(Spanned::get_ref);
            let texts: Vec<&str> = items.clone().map(text).collect::<Result<_, _>>()?;
            match (1..texts.len()).find(|at| texts[..*at].contains(&texts[*at])) {
                Some(twice) => Err(format!("{:?} stands there twice", texts[twice])),
                None => items.map(|item| meaning(item, words)).collect(),
            }
        })
    }

    /// Numbers within a range, at least one.
    pub fn opt_numbers(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<Vec<f64>> {
        self.read(key, |value| {
            let items = some(value)?.iter();
            items.map(|item| number(item.get_ref(), &range)).collect()
        })
    }

    /// A table of texts under keys of any name, in the order of their names.
    pub fn opt_text_table(&mut self, key: &str) -> Option<Vec<(String, String)>> {
        self.read(key, |value| {
            let table = value.as_table().ok_or_else(|| expected("a table", value))?;
            let entry = |(name, value): (&str, &DeValue<'_>)| match text(value) {
                Ok(text) => Ok((name.to_owned(), text.to_owned())),
                Err(message) => Err(format!("{name:?} {message}")),
            };
            table
                .iter()
                .map(|(name, value)| entry((name.get_ref(), value.get_ref())))
                .collect()
        })
    }

    /// A list of whole numbers within a range.
    pub fn opt_integers<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<Vec<T>> {
        self.read(key, |value| {
            let wrong = || {
                format!(
                    "must have numbers from {} to {}",
                    range.start(),
                    range.end()
                )
            };
            let number = |value: &DeValue<'_>| {
                let number = integer(value).filter(|number| range.contains(number));
                number
                    .and_then(|number| T::try_from(number).ok())
                    .ok_or_else(wrong)
            };
            let items = list(value)?.iter();
            items.map(|item| number(item.get_ref())).collect()
        })
    }
}

fn list<'v, 'd>(value: &'v DeValue<'d>) -> Result<&'v DeArray<'d>, String> {
    value.as_array().ok_or_else(|| expected("a list", value))
}

/// A list with something in it.
fn some<'v, 'd>(value: &'v DeValue<'d>) -> Result<&'v DeArray<'d>, String> {
    let items = list(value)?;
    if items.is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(items)
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn json(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(boolean) => Value::from(*boolean),
        DeValue::Integer(_) => Value::from(integer(value).ok_or("has a number that is too large")?),
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or("has a number that JSON cannot have")?,
        DeValue::Datetime(_) => return Err("has a date or time: write it as a text".to_owned()),
        DeValue::Array(items) => items
            .iter()
            .map(|item| json(item.get_ref()))
            .collect::<Result<_, _>>()?,
        DeValue::Table(table) => {
            let entries = table.iter().map(|(name, value)| {
                let value = json(value.get_ref())?;
                Ok((name.get_ref().to_string(), value))
            });
            Value::Object(entries.collect::<Result<Map<_, _>, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::Document;

    #[test]
    fn values_of_any_shape_become_json() {
        let text = "v = { a = [1, 0x10, -2.5, true], \"x-y\" = { b = \"t\" } }";
        let document = Document::parse("t.toml", text);
        let value = document.root().opt_value("v").unwrap();
        assert_eq!(value, json!({"a": [1, 16, -2.5, true], "x-y": {"b": "t"}}));
    }

    #[test]
    fn lists_and_tables_are_read_or_refused_with_what_is_wrong() {
        let text =
            "l = [\"a\", \"\"]\nn = [1, 700]\nt = { B-c = \"x\" }\nbad = { k = 3 }\nd = 2020-01-01";
        let document = Document::parse("t.toml", text);
        let mut root = document.root();
        assert_eq!(root.opt_texts("l").unwrap(), ["a", ""]);
        let table = root.opt_text_table("t").unwrap();
        assert_eq!(table, [("B-c".to_owned(), "x".to_owned())]);
        assert_eq!(root.opt_integers::<u16>("n", 1..=700).unwrap(), [1, 700]);
        assert_eq!(root.opt_integers::<u16>("n", 1..=599), None);
        assert_eq!(root.opt_text_table("bad"), None);
        assert_eq!(root.opt_value("d"), None);
        root.finish();
        let expected = "t.toml:2: n: must have numbers from 1 to 599
t.toml:4: bad: \"k\" must be a string, not integer
t.toml:5: d: has a date or time: write it as a text";
        assert_eq!(
            document.finish::<()>(None).unwrap_err().to_string(),
            expected
        );
    }
}
