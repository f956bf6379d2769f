//! Microsoft Entra ID: tokens for client secrets, federated assertions and managed identities.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Kind, SimulatorConfig, state::App};

/// In front of every token that is issued here.
const PREFIX: &str = "simulated-token";
/// How a federated assertion is named.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who gets tokens, and for how long. The default gives one to everybody, for an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraConfig {
    /// The only tenant there is.
    pub tenant: Option<String>,
    /// The only application there is; also the only managed identity that can be named.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<String>,
    /// The federated assertion that it trusts.
    pub assertion: Option<String>,
    /// The secret of `/msi/token`, as the environment of an app tells it.
    pub identity_header: Option<String>,
    /// How long a token is good.
    pub lifetime: Duration,
    /// How long it takes to issue one.
    pub latency: Duration,
    /// Every question is answered with 503.
    pub down: bool,
    /// Services refuse every token, as after a change of keys or a role that was taken away.
    pub refused: bool,
}

impl Default for EntraConfig {
    fn default() -> Self {
        Self {
            tenant: None,
            client_id: None,
            client_secret: None,
            assertion: None,
            identity_header: None,
            lifetime: Duration::from_secs(3600),
            latency: Duration::ZERO,
            down: false,
            refused: false,
        }
    }
}

/// Why there is no token: status, OAuth's word, what is said.
type Refused = (StatusCode, &'static str, String);

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(of_client))
        .route("/metadata/identity/oauth2/token", get(of_machine))
        .route("/msi/token", get(of_app))
}

/// Whether a key or token opens a kind of service.
pub(crate) fn admits(app: &App, config: &SimulatorConfig, kind: Kind, key: Option<&str>) -> bool {
    match key.and_then(|key| key.strip_prefix(PREFIX)) {
        Some(token) => {
            let mut parts = token.rsplitn(3, '.').skip(1);
            let expires = parts.next().and_then(|part| part.parse::<u64>().ok());
            let audience = parts.next().and_then(|part| part.strip_prefix('.'));
            let now = app.unix_ms(Instant::now());
            let known = audience == Some(audience_of(kind)) && !config.entra.refused;
            known && expires.is_some_and(|at| now < at)
        }
        None => match &config.require_key {
            Some(required) => key == Some(required),
            None => true,
        },
    }
}

fn audience_of(kind: Kind) -> &'static str {
    match kind {
        Kind::SearchIndex | Kind::SearchQuery | Kind::SearchAdmin => "https://search.azure.com",
        Kind::Chat | Kind::Embeddings | Kind::Vision | Kind::Ocr | Kind::OcrPoll => {
            "https://cognitiveservices.azure.com"
        }
    }
}

async fn of_client(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    body: Bytes,
) -> Response {
    let form = pairs(&body);
    answer(&app, |config| {
        let audience = client(&config.entra, &tenant, &form)?;
        Ok((audience, Shape::Client))
    })
    .await
}

fn client(
    config: &EntraConfig,
    tenant: &str,
    form: &BTreeMap<String, String>,
) -> Result<String, Refused> {
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    let other = |known: &Option<String>, given: &str| known.as_deref().is_some_and(|k| k != given);
    let bad = |word, text: &str| Err((StatusCode::BAD_REQUEST, word, text.to_owned()));
    let client_id = given("client_id");
    if given("grant_type") != "client_credentials" {
        return bad(
            "unsupported_grant_type",
            "AADSTS70003: The app requested an unsupported grant type.",
        );
    }
    if other(&config.tenant, tenant) {
        let text = format!("AADSTS90002: Tenant '{tenant}' not found.");
        return bad("invalid_request", &text);
    }
    if client_id.is_empty() || other(&config.client_id, client_id) {
        let text = format!(
            "AADSTS700016: Application with identifier '{client_id}' was not found in the \
             directory '{tenant}'."
        );
        return bad("unauthorized_client", &text);
    }
    let Some(audience) = given("scope").strip_suffix("/.default") else {
        return bad(
            "invalid_scope",
            "AADSTS1002012: The provided value for scope is not valid. Client credential flows \
             must have a scope value with /.default suffixed to the resource identifier.",
        );
    };
    let locked = |text: &str| Err((StatusCode::UNAUTHORIZED, "invalid_client", text.to_owned()));
    let (secret, assertion) = (given("client_secret"), given("client_assertion"));
    if secret.is_empty() && assertion.is_empty() {
        return locked(
            "AADSTS7000218: The request body must contain the following parameter: \
             'client_assertion' or 'client_secret'.",
        );
    }
    if !secret.is_empty() && other(&config.client_secret, secret) {
        return locked("AADSTS7000215: Invalid client secret provided.");
    }
    let typed = given("client_assertion_type") == ASSERTION_TYPE;
    if !assertion.is_empty() && (!typed || other(&config.assertion, assertion)) {
        return locked(
            "AADSTS700213: No matching federated identity record found for presented assertion.",
        );
    }
    Ok(audience.to_owned())
}

async fn of_machine(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    let query = pairs(uri.query().unwrap_or_default().as_bytes());
    answer(&app, |config| {
        let metadata = headers
            .get("metadata")
            .map(|value| value.as_bytes().to_ascii_lowercase());
        // Whatever came through a proxy is not of this machine.
        if metadata.as_deref() != Some(b"true") || headers.contains_key("x-forwarded-for") {
            return Err(unnamed("Required metadata header not specified"));
        }
        Ok((
            managed(&config.entra, &query, "2018-02-01")?,
            Shape::Machine,
        ))
    })
    .await
}

async fn of_app(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    let query = pairs(uri.query().unwrap_or_default().as_bytes());
    answer(&app, |config| {
        let given = headers
            .get("x-identity-header")
            .and_then(|value| value.to_str().ok());
        let known = config.entra.identity_header.as_deref();
        if given.is_none() || known.is_some_and(|known| given != Some(known)) {
            let text = "The identity header is missing or wrong.".to_owned();
            return Err((StatusCode::UNAUTHORIZED, "unauthorized_client", text));
        }
        Ok((managed(&config.entra, &query, "2019-08-01")?, Shape::App))
    })
    .await
}

fn managed(
    config: &EntraConfig,
    query: &BTreeMap<String, String>,
    version: &str,
) -> Result<String, Refused> {
    if query.get("api-version").map(String::as_str) != Some(version) {
        return Err(unnamed("Missing or unknown api-version"));
    }
    let known = config.client_id.as_ref();
    if let (Some(known), Some(given)) = (known, query.get("client_id"))
        && known != given
    {
        return Err(unnamed("Identity not found"));
    }
    let resource = query.get("resource");
    let resource = resource.ok_or_else(|| unnamed("Missing resource"))?;
    Ok(resource.trim_end_matches('/').to_owned())
}

fn unnamed(text: &str) -> Refused {
    (StatusCode::BAD_REQUEST, "invalid_request", text.to_owned())
}

/// Which of the three forms a token is told in.
enum Shape {
    Client,
    Machine,
    App,
}

async fn answer(
    app: &App,
    judge: impl FnOnce(&SimulatorConfig) -> Result<(String, Shape), Refused>,
) -> Response {
    let config = app.config();
    app.books().ledger.asked_for_token();
    sleep(config.entra.latency).await;
    if config.entra.down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match judge(&config) {
        Ok((audience, shape)) => {
            let number = app.books().ledger.issued_token();
            Json(token(app, &config.entra, &audience, number, &shape)).into_response()
        }
        Err((status, error, description)) => {
            let told = json!({"error": error, "error_description": description});
            (status, Json(told)).into_response()
        }
    }
}

fn token(app: &App, config: &EntraConfig, audience: &str, number: u64, shape: &Shape) -> Value {
    let lifetime = u64::try_from(config.lifetime.as_millis()).unwrap_or(u64::MAX);
    let expires = app.unix_ms(Instant::now()).saturating_add(lifetime);
    let token = format!("{PREFIX}.{audience}.{expires}.{number}");
    let seconds = lifetime / 1000;
    match shape {
        Shape::Client => json!({
            "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds,
            "access_token": token,
        }),
        Shape::Machine => json!({
            "access_token": token, "expires_in": seconds.to_string(),
            "expires_on": (expires / 1000).to_string(), "resource": audience,
            "token_type": "Bearer",
        }),
        Shape::App => json!({
            "access_token": token, "expires_on": (expires / 1000).to_string(),
            "resource": audience, "token_type": "Bearer",
        }),
    }
}

fn pairs(form: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(form).into_owned().collect()
}
