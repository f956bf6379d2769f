//! The definition of an index: its fields, and what can be done with each.

use serde_json::{Map, Value, json};

use super::problems;
use crate::{azure::Problem, chance};

/// An index as it was defined.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// The name of the key field.
    pub(super) key: String,
    pub(super) etag: String,
    json: Value,
}

/// A field, with the defaults of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) collection: bool,
    pub(super) searchable: bool,
    pub(super) filterable: bool,
    pub(super) sortable: bool,
    pub(super) retrievable: bool,
    /// Of a vector.
    pub(super) dimensions: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
    Point,
    Complex,
}

impl Definition {
    pub(super) fn parse(json: &Value) -> Result<Self, Problem> {
        let name = json["name"].as_str().unwrap_or_default();
        if !is_name(name) {
            return Err(problems::invalid(
                "index : Invalid index name: only lowercase letters, digits or dashes, no dash \
                 at the ends and 2 to 128 characters.",
            ));
        }
        let given = json["fields"].as_array().map_or(&[][..], Vec::as_slice);
        let fields = given.iter().map(|field| Field::parse(field, json));
        let fields: Vec<Field> = fields.collect::<Result<_, _>>()?;
        let keys: Vec<&Value> = given.iter().filter(|field| field["key"] == true).collect();
        let [key] = keys[..] else {
            return Err(problems::invalid(&format!(
                "index : Found {} key fields in index '{name}'. Each index must have exactly one \
                 key field.",
                keys.len()
            )));
        };
        if key["type"] != "Edm.String" {
            return Err(problems::invalid(
                "index : The key field must be of Edm.String.",
            ));
        }
        let key = key["name"].as_str().unwrap_or_default().to_owned();
        let mut json = json.clone();
        if let Some(json) = json.as_object_mut() {
            // What a client read of an older definition is not part of the new one.
            json.retain(|name, _| !name.starts_with("@odata."));
        }
        for (told, field) in json["fields"]
            .as_array_mut()
            .into_iter()
            .flatten()
            .zip(&fields)
        {
            field.put_defaults(told, field.name == key);
        }
        let hash = chance::hash(json.to_string().as_bytes());
        Ok(Self {
            name: name.to_owned(),
            fields,
            key,
            etag: format!("\"0x{hash:016X}\""),
            json,
        })
    }

    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The definition with all defaults, as the service tells it.
    pub(super) fn told(&self) -> Value {
        let mut told = Map::new();
        told.insert("@odata.etag".to_owned(), json!(self.etag));
        told.extend(self.json.as_object().cloned().unwrap_or_default());
        Value::Object(told)
    }

    /// Refuses to take the place of a definition whose fields it does not keep.
    pub(super) fn succeed(&self, old: &Self) -> Result<(), Problem> {
        for field in &old.fields {
            let kept = self.field(&field.name).is_some_and(|new| {
                let mut new = new.clone();
                // The only property that may change.
                new.retrievable = field.retrievable;
                new == *field
            });
            if !kept {
                return Err(problems::invalid(&format!(
                    "index : Existing field '{}' cannot be changed or deleted.",
                    field.name
                )));
            }
        }
        Ok(())
    }
}

impl Field {
    fn parse(json: &Value, index: &Value) -> Result<Self, Problem> {
        let name = json["name"].as_str().unwrap_or_default();
        let written = json["type"].as_str().unwrap_or_default();
        let inner = written
            .strip_prefix("Collection(")
            .and_then(|rest| rest.strip_suffix(')'));
        let Some(kind) = Type::named(inner.unwrap_or(written)).filter(|_| !name.is_empty()) else {
            return Err(problems::invalid(&format!(
                "index : The field '{name}' has the invalid type '{written}'."
            )));
        };
        let collection = inner.is_some();
        let is_vector = collection && kind == Type::Number;
        let dimensions = json["dimensions"].as_u64();
        if is_vector {
            check_vector(name, dimensions, &json["vectorSearchProfile"], index)?;
        }
        let flag = |property: &str, default| json[property].as_bool().unwrap_or(default);
        let simple = kind != Type::Complex && !is_vector;
        Ok(Self {
            name: name.to_owned(),
            kind,
            collection,
            searchable: flag("searchable", kind == Type::Text || is_vector),
            filterable: flag("filterable", simple),
            sortable: flag("sortable", simple && !collection),
            retrievable: flag("retrievable", !is_vector),
            dimensions: dimensions.and_then(|given| usize::try_from(given).ok()),
        })
    }

    pub(super) fn is_vector(&self) -> bool {
        self.dimensions.is_some()
    }

    fn put_defaults(&self, told: &mut Value, key: bool) {
        let simple = self.kind != Type::Complex && !self.is_vector();
        for (property, value) in [
            ("key", key),
            ("retrievable", self.retrievable),
            ("stored", true),
            ("searchable", self.searchable),
            ("filterable", self.filterable),
            ("sortable", self.sortable),
            ("facetable", simple && told["facetable"] != false),
        ] {
            told[property] = json!(value);
        }
    }

    /// Whether the field can have this value.
    pub(super) fn takes(&self, value: &Value) -> bool {
        if value.is_null() {
            return true;
        }
        if !self.collection {
            return self.kind.takes(value);
        }
        let values = value.as_array();
        values.is_some_and(|values| values.iter().all(|value| self.kind.takes(value)))
    }
}

impl Type {
    fn named(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("Edm.")? {
            "String" => Self::Text,
            "Int16" | "Int32" | "Int64" | "SByte" | "Byte" => Self::Integer,
            "Single" | "Double" | "Half" => Self::Number,
            "Boolean" => Self::Boolean,
            "DateTimeOffset" => Self::Date,
            "GeographyPoint" => Self::Point,
            "ComplexType" => Self::Complex,
            _ => return None,
        })
    }

    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Date => value
                .as_str()
                .is_some_and(|date| humantime::parse_rfc3339_weak(date).is_ok() || zoned(date)),
            Self::Point | Self::Complex => value.is_object(),
        }
    }
}

/// A time with another zone than UTC.
fn zoned(date: &str) -> bool {
    let split = date.len().checked_sub(6);
    let halves = split.and_then(|at| date.split_at_checked(at));
    halves.is_some_and(|(time, zone)| {
        zone.starts_with(['+', '-']) && humantime::parse_rfc3339_weak(time).is_ok()
    })
}

fn check_vector(
    name: &str,
    dimensions: Option<u64>,
    profile: &Value,
    index: &Value,
) -> Result<(), Problem> {
    let right = dimensions.is_some_and(|count| (2..=4096).contains(&count));
    let profiles = index["vectorSearch"]["profiles"].as_array();
    let mut known = profiles.into_iter().flatten().map(|known| &known["name"]);
    if !right {
        return Err(problems::invalid(&format!(
            "index : The vector field '{name}' must have the property 'dimensions' set, from 2 \
             to 4096."
        )));
    }
    if !profile.is_string() || !known.any(|known| known == profile) {
        return Err(problems::invalid(&format!(
            "index : The vector field '{name}' must have the property 'vectorSearchProfile' set \
             to a profile of the index."
        )));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    (2..=128).contains(&name.len())
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_one_key_and_known_types() {
        let parse =
            |fields: Value| Definition::parse(&json!({"name": "an-index", "fields": fields}));
        let key = json!({"name": "id", "type": "Edm.String", "key": true});
        let index = parse(json!([key, {"name": "n", "type": "Edm.Int32"}])).unwrap();
        assert_eq!(index.key, "id");
        assert!(index.told()["fields"][1]["filterable"].as_bool().unwrap());
        assert!(!index.field("n").unwrap().takes(&json!("one")));
        for wrong in [
            json!([]),
            json!([key, key]),
            json!([key, {"name": "x", "type": "Edm.Text"}]),
            json!([key, {"name": "v", "type": "Collection(Edm.Single)", "dimensions": 3}]),
        ] {
            assert!(parse(wrong).is_err());
        }
    }

    #[test]
    fn names_of_indexes_are_short_and_plain() {
        for (name, right) in [
            ("my-index-1", true),
            ("A", false),
            ("-a", false),
            ("a_b", false),
        ] {
            assert_eq!(is_name(name), right, "{name}");
        }
    }

    #[test]
    fn dates_may_have_any_zone() {
        for (date, right) in [
            ("2026-01-02T03:04:05Z", true),
            ("2026-01-02T03:04:05.5+01:00", true),
            ("yesterday", false),
        ] {
            assert_eq!(Type::Date.takes(&json!(date)), right, "{date}");
        }
    }
}
