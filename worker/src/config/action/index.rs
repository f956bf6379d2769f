//! `index = { .. }`: documents into an index of AI Search.

use std::fs;

use filefleet_shared::config::Section;
use serde_json::Value;

use super::{
    Action,
    fields::{index_name, node, with_item},
};
use crate::service::{
    Path,
    search::{BatchConfig, IndexConfig, Node, Verb},
};

/// Where a new index has its key, and other indexes mostly too.
const KEY: &str = "id";

pub(super) fn read(mut section: Section<'_>, earlier: &[String]) -> Option<Action> {
    const VERBS: &[(&str, Verb)] = &[
        ("upload", Verb::Upload),
        ("merge", Verb::Merge),
        ("mergeOrUpload", Verb::MergeOrUpload),
        ("delete", Verb::Delete),
    ];
    let index = index_name(&mut section);
    let verb = section.opt_enum("action", VERBS).unwrap_or_default();
    let each = read_each(&mut section, earlier);
    let document = read_document(&mut section, earlier);
    if document.is_none() && verb != Verb::Delete {
        section.require("document");
    }
    let create = read_create(&mut section, index.as_deref());
    let key = section.opt_string("key");
    let key = key.or_else(|| create.as_ref().and_then(key_of));
    let batch = read_batch(&mut section);
    section.finish();
    Some(Action::Index(Box::new(IndexConfig {
        index: index?,
        verb,
        each,
        key: key.unwrap_or_else(|| KEY.to_owned()),
        document: document.unwrap_or_default(),
        create,
        batch,
    })))
}

fn read_each(section: &mut Section<'_>, earlier: &[String]) -> Option<Path> {
    let text = section.opt_string("each")?;
    let Some(path) = Path::parse(&text) else {
        section.error("each", "must be the way to a list, like \"embed.chunks\"");
        return None;
    };
    if !earlier.iter().any(|step| step == path.first()) {
        let message = format!("there is no step `{}` before this one", path.first());
        section.error("each", message);
        return None;
    }
    Some(path)
}

fn read_document(section: &mut Section<'_>, earlier: &[String]) -> Option<Vec<(String, Node)>> {
    let known = if section.has("each") {
        with_item(section, "each", earlier)
    } else {
        earlier.to_vec()
    };
    let json = section.opt_value("document")?;
    let Value::Object(fields) = json else {
        section.error("document", "must be a table of fields");
        return None;
    };
    let field = |(name, value)| Some((name, node(section, "document", value, &known)?));
    Some(fields.into_iter().filter_map(field).collect())
}

/// The definition of an index, from a file.
fn read_create(section: &mut Section<'_>, index: Option<&str>) -> Option<Value> {
    let path = section.opt_path("create")?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            section.error("create", message);
            return None;
        }
    };
    let mut definition: Value = match serde_json::from_str(&text) {
        Ok(definition @ Value::Object(_)) => definition,
        Ok(_) => {
            section.error("create", "must have an object, the definition of an index");
            return None;
        }
        Err(error) => {
            section.error("create", format!("{}: {error}", path.display()));
            return None;
        }
    };
    let index = index?;
    match definition.get("name").and_then(Value::as_str) {
        None => definition["name"] = index.into(),
        Some(name) if name == index => {}
        Some(name) => section.error("create", format!("is the definition of {name:?}")),
    }
    if key_of(&definition).is_none() {
        section.error("create", "has no field with `\"key\": true`");
    }
    Some(definition)
}

fn key_of(definition: &Value) -> Option<String> {
    let fields = definition["fields"].as_array()?;
    let key = fields.iter().find(|field| field["key"] == true)?;
    key["name"].as_str().map(str::to_owned)
}

fn read_batch(section: &mut Section<'_>) -> BatchConfig {
    let default = BatchConfig::default();
    let mut batch = section.section("batch");
    let documents = batch.opt_integer("documents", 1..=1000);
    let bytes = batch.opt_bytes("bytes");
    let most = 64_000_000;
    if bytes.is_some_and(|bytes| bytes == 0 || bytes > most) {
        batch.error("bytes", "must be from 1B to 64MB");
    }
    let linger = batch.opt_duration("linger");
    if linger.is_some_and(|linger| linger.as_secs() > 10) {
        batch.error("linger", "must not be more than 10s");
    }
    batch.finish();
    BatchConfig {
        documents: documents.unwrap_or(default.documents),
        bytes: bytes.map_or(default.bytes, |bytes| {
            usize::try_from(bytes).unwrap_or(default.bytes)
        }),
        linger: linger.unwrap_or(default.linger),
    }
}
