//! Azure AI Search 2024-07-01: indexes, their documents, and queries.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::Response,
};
use serde_json::{Value, json};

use crate::{
    Kind,
    azure::{Answer, Ask, Door, Problem, Scene, exchange},
    quota::Bucket,
    server::no_such_path,
    state::App,
};

mod batch;
mod config;
mod definition;
mod filter;
mod order;
mod problems;
mod query;
mod score;
mod store;
mod target;

pub use config::{SearchConfig, SearchControl};
use definition::Definition;
pub use store::IndexStats;
pub(crate) use store::Indexes;
use store::Written;
use target::Target;

/// The newest ones have the same paths and bodies.
const API_VERSIONS: [&str; 4] = ["2023-11-01", "2024-07-01", "2025-09-01", "2026-04-01"];

/// Serves the paths of search, and says of all others that there is nothing.
pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(target) = Target::parse(uri.path()) else {
        return no_such_path(&app, &method, &uri);
    };
    let door = door(&app, &target);
    let ask = Ask::new(&uri, headers, body);
    exchange(app, door, ask, move |ask, scene| {
        let mut answer = act(ask, scene, &method, &target)?;
        if answer.paid.is_none() && target.kind() != Kind::SearchAdmin {
            answer = answer.paid(0);
        }
        Ok(answer)
    })
    .await
}

fn door(app: &App, target: &Target) -> Door {
    let config = app.config();
    Door {
        kind: target.kind(),
        key_header: "api-key",
        id_header: "request-id",
        api_versions: &API_VERSIONS,
        locked: problems::locked,
        crowded: |_| problems::crowded(),
        quota: config
            .search
            .quotas()
            .filter(|_| target.kind() != Kind::SearchAdmin)
            .map(|quotas| (Bucket::Search, quotas)),
        takes_time: target.kind() != Kind::SearchAdmin,
    }
}

fn act(ask: &Ask, scene: &Scene<'_>, method: &Method, target: &Target) -> Result<Answer, Problem> {
    let indexes = &scene.app.indexes;
    match (method.as_str(), target) {
        ("GET", Target::Indexes) => Ok(list(ask, scene)),
        ("POST", Target::Indexes) => {
            let definition = Definition::parse(&json_of(ask)?)?;
            indexes.create(definition.clone())?;
            Ok(defined(ask, scene, StatusCode::CREATED, &definition))
        }
        ("PUT", Target::Index(name)) => put(ask, scene, name),
        ("GET", Target::Index(name)) => {
            let definition = indexes.read(name, |index| index.definition.clone())?;
            Ok(defined(ask, scene, StatusCode::OK, &definition))
        }
        ("DELETE", Target::Index(name)) => {
            indexes.delete(name, |etag| matches(ask, etag))?;
            Ok(Answer::new(StatusCode::NO_CONTENT, Vec::new()))
        }
        ("GET", Target::Stats(name)) => {
            let count = indexes.read(name, |index| index.documents.len())?;
            let stats = json!({"documentCount": count, "storageSize": 0, "vectorIndexSize": 0});
            Ok(Answer::json(StatusCode::OK, &stats))
        }
        ("POST", Target::Batch(name)) => batch::index(ask, scene, name),
        ("POST", Target::Query(name)) => query::search(ask, scene, name, &json_of(ask)?),
        ("GET", Target::Count(name)) => {
            let count = indexes.read(name, |index| index.documents.len())?;
            Ok(Answer::json(StatusCode::OK, &json!(count)))
        }
        ("GET", Target::Document(name, key)) => {
            let select = ask.query.get("$select");
            let document = indexes.read(name, |index| query::document(index, key, select))??;
            Ok(Answer::json(StatusCode::OK, &document))
        }
        _ => Err(problems::wrong_method()),
    }
}

fn put(ask: &Ask, scene: &Scene<'_>, name: &str) -> Result<Answer, Problem> {
    let mut json = json_of(ask)?;
    if let Some(index) = json.as_object_mut() {
        index.entry("name").or_insert_with(|| name.into());
    }
    let definition = Definition::parse(&json)?;
    if definition.name != name {
        return Err(problems::invalid(
            "The name of the index is not that of the path.",
        ));
    }
    let indexes = &scene.app.indexes;
    let written = indexes.replace(definition.clone(), |etag| matches(ask, etag))?;
    let status = match written {
        Written::New => StatusCode::CREATED,
        Written::Old => StatusCode::OK,
    };
    Ok(defined(ask, scene, status, &definition))
}

fn list(ask: &Ask, scene: &Scene<'_>) -> Answer {
    let definitions = scene.app.indexes.definitions();
    let values: Vec<_> = definitions.iter().map(Definition::told).collect();
    let mut list = json!({"value": values});
    put_context(
        ask,
        &mut list,
        &format!("{}/$metadata#indexes", scene.origin),
    );
    Answer::json(StatusCode::OK, &list)
}

fn defined(ask: &Ask, scene: &Scene<'_>, status: StatusCode, definition: &Definition) -> Answer {
    let mut told = definition.told();
    let context = format!("{}/$metadata#indexes/$entity", scene.origin);
    put_context(ask, &mut told, &context);
    Answer::json(status, &told).header(header::ETAG, definition.etag.clone())
}

/// Whether the conditions of a change hold; `None` is an index that is not there.
fn matches(ask: &Ask, etag: Option<&str>) -> bool {
    let given = |name: &str| ask.header(name).map(str::trim);
    let same = |wanted: &str| etag.is_some_and(|etag| wanted == "*" || wanted == etag);
    given("if-match").is_none_or(same) && !given("if-none-match").is_some_and(same)
}

fn put_context(ask: &Ask, told: &mut Value, context: &str) {
    let accept = ask.header("accept").unwrap_or_default();
    if !accept.contains("odata.metadata=none") {
        told["@odata.context"] = json!(context);
    }
}

fn json_of(ask: &Ask) -> Result<Value, Problem> {
    let body = ask.body.as_ref().map_err(|_| problems::too_large())?;
    if body.len() > batch::LARGEST {
        return Err(problems::too_large());
    }
    serde_json::from_slice(body).map_err(|error| problems::invalid(&error.to_string()))
}
