//! Queries: words, vectors or both, filtered, sorted and cut into pages.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    batch::vector,
    definition::{Definition, Field},
    filter::Filter,
    order::Order,
    problems, put_context,
    score::{Ranking, by_vector, by_words, fused, words},
    store::{Document, Index},
};
use crate::azure::{Answer, Ask, Problem, Scene};

/// Results of a page, if the client does not say how many.
const USUAL_PAGE: usize = 50;
/// Results of a page at most.
const LARGEST_PAGE: usize = 1000;

/// The parts of a request that this service knows; others are taken and have no effect.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    search: Option<String>,
    search_fields: Option<String>,
    search_mode: Option<String>,
    filter: Option<String>,
    select: Option<String>,
    orderby: Option<String>,
    top: Option<usize>,
    skip: Option<usize>,
    count: Option<bool>,
    vector_queries: Option<Vec<VectorQuery>>,
    vector_filter_mode: Option<String>,
}

#[derive(Debug, Deserialize)]
struct VectorQuery {
    kind: String,
    #[serde(default)]
    vector: Vec<Value>,
    k: Option<usize>,
    fields: Option<String>,
    weight: Option<f64>,
}

/// Answers a query.
pub(super) fn search(
    ask: &Ask,
    scene: &Scene<'_>,
    name: &str,
    body: &Value,
) -> Result<Answer, Problem> {
    let request = Request::deserialize(body);
    let request = request.map_err(|error| problems::invalid(&error.to_string()))?;
    let indexes = &scene.app.indexes;
    let mut told = indexes.read(name, |index| results(index, &request))??;
    let context = format!("{}/indexes('{name}')/$metadata#docs(*)", scene.origin);
    put_context(ask, &mut told, &context);
    if let Some(next) = told["@search.nextPageParameters"].take().as_object() {
        let mut parameters = body.as_object().cloned().unwrap_or_default();
        parameters.extend(next.clone());
        let version = ask.query.get("api-version").unwrap_or_default();
        told["@odata.nextLink"] = json!(format!(
            "{}/indexes('{name}')/docs/search.post.search?api-version={version}",
            scene.origin
        ));
        told["@search.nextPageParameters"] = Value::Object(parameters);
    } else if let Some(told) = told.as_object_mut() {
        told.remove("@search.nextPageParameters");
    }
    Ok(Answer::json(StatusCode::OK, &told))
}

/// One document, by its key.
pub(super) fn document(index: &Index, key: &str, select: Option<&str>) -> Result<Value, Problem> {
    let fields = selected(&index.definition, select)?;
    let document = index.documents.get(key);
    let document = document.ok_or_else(problems::no_such_document)?;
    Ok(Value::Object(told(document, &fields)))
}

fn results(index: &Index, request: &Request) -> Result<Value, Problem> {
    let definition = &index.definition;
    let fields = selected(definition, request.select.as_deref())?;
    let order = Order::parse(request.orderby.as_deref().unwrap_or_default(), definition)?;
    let mut ranking = rank(index, request)?;
    order.sort(&mut ranking, index);
    let skip = request.skip.unwrap_or(0);
    let wanted = request.top.unwrap_or(USUAL_PAGE);
    let page = wanted.min(LARGEST_PAGE);
    let values: Vec<Value> = ranking
        .iter()
        .skip(skip)
        .take(page)
        .filter_map(|(key, score)| {
            let mut value = Map::new();
            value.insert("@search.score".to_owned(), json!(score));
            value.extend(told(index.documents.get(*key)?, &fields));
            Some(Value::Object(value))
        })
        .collect();
    let mut told = json!({"value": values});
    if request.count == Some(true) {
        told["@odata.count"] = json!(ranking.len());
    }
    let more = ranking.len() > skip.saturating_add(page);
    // What the client wanted whole and cannot get at once, it is told how to go on with.
    if more && (request.top.is_none() || wanted > page) {
        let mut next = json!({"skip": skip + page});
        if let Some(top) = request.top {
            next["top"] = json!(top - page);
        }
        told["@search.nextPageParameters"] = next;
    }
    Ok(told)
}

fn rank<'a>(index: &'a Index, request: &Request) -> Result<Ranking<'a>, Problem> {
    let definition = &index.definition;
    let given = request.filter.as_deref().filter(|text| !text.is_empty());
    let filter = given
        .map(|text| Filter::parse(text, definition))
        .transpose()?;
    let passes = |document: &Document| filter.as_ref().is_none_or(|f| f.holds(document));
    let documents: Vec<(&str, &Document)> = index
        .documents
        .iter()
        .map(|(key, document)| (key.as_str(), document))
        .collect();
    let passing: Vec<_> = documents
        .iter()
        .filter(|(_, d)| passes(d))
        .copied()
        .collect();
    let late = match request.vector_filter_mode.as_deref() {
        None | Some("preFilter") => false,
        Some("postFilter") => true,
        Some(mode) => {
            return Err(problems::invalid(&format!(
                "vectorFilterMode '{mode}' is not known."
            )));
        }
    };
    let mut rankings = Vec::new();
    for query in request.vector_queries.iter().flatten() {
        let among = if late { &documents } else { &passing };
        let mut ranking = nearest(query, among, definition)?;
        ranking.retain(|(key, _)| index.documents.get(*key).is_some_and(&passes));
        rankings.push((query.weight.unwrap_or(1.0), ranking));
    }
    if rankings.is_empty() || request.search.is_some() {
        rankings.push((1.0, by_text(&passing, request, definition)?));
    }
    Ok(match <[_; 1]>::try_from(rankings) {
        Ok([(_, ranking)]) => ranking,
        Err(rankings) => fused(&rankings),
    })
}

fn by_text<'a>(
    documents: &[(&'a str, &Document)],
    request: &Request,
    definition: &Definition,
) -> Result<Ranking<'a>, Problem> {
    let can = |field: &Field| field.searchable && !field.is_vector();
    let fields = match request.search_fields.as_deref() {
        None | Some("") => {
            let fields = definition.fields.iter().filter(|field| can(field));
            fields.map(|field| field.name.as_str()).collect()
        }
        Some(names) => named(names, definition, can, "searchFields")?,
    };
    let text = request.search.as_deref().unwrap_or("*").trim();
    if text.is_empty() || text == "*" {
        return Ok(documents.iter().map(|(key, _)| (*key, 1.0)).collect());
    }
    let all = request.search_mode.as_deref() == Some("all");
    Ok(by_words(documents, &words(text), &fields, all))
}

fn nearest<'a>(
    query: &VectorQuery,
    documents: &[(&'a str, &Document)],
    definition: &Definition,
) -> Result<Ranking<'a>, Problem> {
    if query.kind != "vector" {
        return Err(problems::invalid(&format!(
            "A vector query of kind '{}' needs a vectorizer, and the index has none.",
            query.kind
        )));
    }
    let fields = query.fields.as_deref().unwrap_or_default();
    let fields = named(fields, definition, Field::is_vector, "vectorQueries")?;
    let lengths = fields
        .iter()
        .filter_map(|name| definition.field(name)?.dimensions);
    for length in lengths {
        if length != query.vector.len() {
            return Err(problems::invalid(&format!(
                "The vector query has a length of {}, and its field has dimensions of {length}.",
                query.vector.len()
            )));
        }
    }
    let mut ranking = by_vector(documents, &vector(&query.vector), &fields);
    ranking.truncate(query.k.unwrap_or(USUAL_PAGE));
    Ok(ranking)
}

/// The fields of a list, each of which must be able to do what it is named for.
fn named<'a>(
    names: &'a str,
    definition: &Definition,
    can: impl Fn(&Field) -> bool,
    parameter: &str,
) -> Result<Vec<&'a str>, Problem> {
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    for name in &names {
        if !definition.field(name).is_some_and(&can) {
            return Err(problems::invalid(&format!(
                "The field '{name}' in '{parameter}' cannot be used there."
            )));
        }
    }
    Ok(names)
}

fn selected<'a>(
    definition: &'a Definition,
    select: Option<&str>,
) -> Result<Vec<&'a Field>, Problem> {
    let retrievable = || definition.fields.iter().filter(|field| field.retrievable);
    let Some(select) = select.filter(|select| !select.is_empty() && *select != "*") else {
        return Ok(retrievable().collect());
    };
    let names = select.split(',').map(str::trim);
    let fields = names.map(|name| {
        let field = retrievable().find(|field| field.name == name);
        field.ok_or_else(|| {
            problems::invalid_expression(&format!(
                "Could not find a retrievable property named '{name}' on type 'search.document'."
            ))
        })
    });
    fields.collect()
}

fn told(document: &Document, fields: &[&Field]) -> Map<String, Value> {
    let told = fields.iter().map(|field| {
        let value = document.fields.get(&field.name).cloned();
        let vector = || {
            document
                .vectors
                .get(&field.name)
                .map(|vector| json!(vector))
        };
        let value = vector().or(value).unwrap_or_else(|| {
            if field.collection && !field.is_vector() {
                json!([])
            } else {
                Value::Null
            }
        });
        (field.name.clone(), value)
    });
    told.collect()
}
