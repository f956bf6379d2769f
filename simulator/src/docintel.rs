//! Azure AI Document Intelligence 2024-11-30: documents are sent, read for a while, and asked for.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
    response::Response,
    routing::{get, post},
};

use crate::{
    Kind, Quirk,
    azure::{Answer, Ask, Door, Problem, Scene, exchange},
    quota::Bucket,
    state::App,
};

mod blocks;
mod config;
mod fields;
mod operations;
mod options;
mod pdf;
mod problems;
mod render;
mod result;
mod source;
mod spans;

pub use config::{OcrConfig, OcrControl, OcrQuotas};
pub(crate) use operations::Operations;
use operations::{Outcome, Wanted};
use options::Options;
use source::Source;

pub(crate) const API_VERSION: &str = "2024-11-30";

const MODELS: [&str; 20] = [
    "prebuilt-read",
    "prebuilt-layout",
    "prebuilt-invoice",
    "prebuilt-receipt",
    "prebuilt-idDocument",
    "prebuilt-contract",
    "prebuilt-creditCard",
    "prebuilt-check.us",
    "prebuilt-bankStatement.us",
    "prebuilt-payStub.us",
    "prebuilt-healthInsuranceCard.us",
    "prebuilt-marriageCertificate.us",
    "prebuilt-mortgage.us.1003",
    "prebuilt-mortgage.us.1004",
    "prebuilt-mortgage.us.closingDisclosure",
    "prebuilt-tax.us",
    "prebuilt-tax.us.w2",
    "prebuilt-tax.us.1040",
    "prebuilt-tax.us.1098",
    "prebuilt-tax.us.1099",
];

pub(crate) fn routes() -> Router<Arc<App>> {
    let models = "/documentintelligence/documentModels";
    Router::new()
        .route(&format!("{models}/{{model}}"), post(send))
        .route(
            &format!("{models}/{{model}}/analyzeResults/{{result}}"),
            get(ask_for).delete(forget),
        )
}

fn door(app: &App, kind: Kind, bucket: Bucket) -> Door {
    let quotas = app.config().ocr.quotas;
    Door {
        kind,
        key_header: "ocp-apim-subscription-key",
        id_header: "apim-request-id",
        api_versions: &[API_VERSION],
        locked: problems::locked,
        crowded: problems::crowded,
        quota: quotas.map(|quotas| (bucket, quotas.of(bucket))),
        takes_time: kind == Kind::Ocr,
    }
}

async fn send(
    State(app): State<Arc<App>>,
    Path(target): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let door = door(&app, Kind::Ocr, Bucket::OcrPosts);
    let ask = Ask::new(&uri, headers, body);
    exchange(app, door, ask, move |ask, scene| {
        let model = target.strip_suffix(":analyze");
        analyze(ask, scene, model.ok_or_else(problems::no_such_path)?)
    })
    .await
}

fn analyze(ask: &Ask, scene: &Scene<'_>, model: &str) -> Result<Answer, Problem> {
    if !exists(scene, model) {
        return Err(problems::no_such_model());
    }
    let options = Options::parse(&ask.query)?;
    let source = Source::of(ask)?;
    let sheets = options.select(source.sheets)?;
    let pages = sheets.len() as u64;
    let failed = fails(scene, &sheets);
    let wanted = Wanted {
        model: model.to_owned(),
        options,
        shape: source.shape,
        sheets,
    };
    let outcome = if failed {
        Outcome::Failed
    } else {
        Outcome::Read(wanted)
    };
    let operations = &scene.app.operations;
    operations.begin(&scene.uuid, model, outcome, scene.now_ms);
    let location = format!(
        "{}/documentintelligence/documentModels/{model}/analyzeResults/{}?api-version={API_VERSION}",
        scene.origin, scene.uuid
    );
    let accepted = Answer::new(StatusCode::ACCEPTED, Vec::new())
        .header(HeaderName::from_static("operation-location"), location)
        .header(header::RETRY_AFTER, "1");
    // What cannot be read is not billed.
    Ok(if failed {
        accepted
    } else {
        accepted.paid(pages)
    })
}

/// Every prebuilt model; of the others, those that the service is configured to have.
fn exists(scene: &Scene<'_>, model: &str) -> bool {
    if model.starts_with("prebuilt-") {
        return MODELS.contains(&model);
    }
    let named = scene.config.models.as_ref();
    named.is_none_or(|names| names.iter().any(|name| name == model))
}

fn fails(scene: &Scene<'_>, sheets: &[source::Sheet]) -> bool {
    if !scene.config.has(Quirk::Markers) {
        return scene.config.has(Quirk::OcrFailed);
    }
    let lines = sheets.iter().flat_map(|sheet| &sheet.lines);
    let marker = Quirk::OcrFailed.marker();
    marker.is_some_and(|marker| lines.into_iter().any(|line| line.contains(marker)))
}

async fn ask_for(
    State(app): State<Arc<App>>,
    Path((model, result)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let door = door(&app, Kind::OcrPoll, Bucket::OcrGets);
    let ask = Ask::new(&uri, headers, Ok(Bytes::new()));
    exchange(app, door, ask, move |_, scene| {
        let operations = &scene.app.operations;
        let operation = operations
            .get(&result, &model)
            .ok_or_else(problems::no_such_operation)?;
        let (body, done) = operation.tell(scene.config.ocr.processing, scene.now_ms);
        let answer = Answer::json(StatusCode::OK, &body);
        Ok(if done {
            answer
        } else {
            answer.header(header::RETRY_AFTER, "1")
        })
    })
    .await
}

async fn forget(
    State(app): State<Arc<App>>,
    Path((model, result)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let door = door(&app, Kind::OcrPoll, Bucket::OcrGets);
    let ask = Ask::new(&uri, headers, Ok(Bytes::new()));
    exchange(app, door, ask, move |_, scene| {
        if scene.app.operations.remove(&result, &model) {
            Ok(Answer::new(StatusCode::NO_CONTENT, Vec::new()))
        } else {
            Err(problems::no_such_operation())
        }
    })
    .await
}
