//! `query = { .. }`: a question to an index of AI Search.

use filefleet_shared::config::Section;

use super::{
    Action, compile,
    fields::{index_name, text},
};
use crate::service::search::{Node, QueryConfig, VectorQuery};

/// Documents of an answer, where the configuration does not say.
const TOP: u32 = 5;
/// Nearest documents that are looked at, at least: what is found by words as well is among them.
const NEAR: u32 = 50;

pub(super) fn read(mut section: Section<'_>, earlier: &[String]) -> Option<Action> {
    let index = index_name(&mut section);
    let search = section.opt_string("search");
    let search = search.map(|source| compile(&section, "search", &source, earlier));
    let filter = section.opt_string("filter");
    let filter = filter.map(|source| compile(&section, "filter", &source, earlier));
    let select = section.opt_texts("select").unwrap_or_default();
    if select
        .iter()
        .any(|field| field.is_empty() || field.contains(','))
    {
        section.error("select", "must be a list of fields");
    }
    let top = section.opt_integer("top", 1..=1000).unwrap_or(TOP);
    let count = section.opt_bool("count").unwrap_or(false);
    let vector = read_vector(&mut section, top, earlier);
    if search.is_none() && vector.is_none() {
        let message = "what to look for? write `search`, `vector` or both";
        section.error("search", message);
    }
    section.finish();
    Some(Action::Query(Box::new(QueryConfig {
        index: index?,
        search: transposed(search)?,
        vector: transposed(vector)?,
        filter: transposed(filter)?,
        select,
        top,
        count,
    })))
}

/// Nothing if it is wrong.
#[expect(
    clippy::option_option,
    reason = "absent is right, and wrong is neither"
)]
fn transposed<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => Some(Some(value?)),
    }
}

#[expect(
    clippy::option_option,
    reason = "absent is right, and wrong is neither"
)]
fn read_vector(
    section: &mut Section<'_>,
    top: u32,
    earlier: &[String],
) -> Option<Option<VectorQuery>> {
    let source = section.opt_string("vector");
    let field = section.opt_string("vector_field");
    let k = section.opt_integer("k", 1..=10_000);
    let Some(source) = source else {
        for key in ["vector_field", "k"] {
            if section.has(key) {
                section.error(key, "belongs to a `vector`, which is missing");
            }
        }
        return None;
    };
    section.require("vector_field");
    let vector = match text(section, "vector", &source, earlier) {
        Some(Node::Text(_)) => {
            let message = "must be one expression that gives a list of numbers, like \
                           \"{{ embed.chunks[0].vector }}\"";
            section.error("vector", message);
            None
        }
        other => other,
    };
    let query = vector.zip(field).map(|(vector, field)| VectorQuery {
        vector,
        field,
        k: k.unwrap_or(top.max(NEAR)),
    });
    Some(query)
}
