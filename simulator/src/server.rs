//! Serving: paths, their dialects, and the life of the server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State, rejection::BytesRejection},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

use crate::{
    ConfigError, Control, Down, Kind, Quirk, SimulatorConfig, Stats, chance, docintel,
    embeddings::EmbeddingsRequest,
    entra,
    exchange::{Call, Service, authorize, exchange},
    refusal::{Dialect, Refusal},
    request::ChatRequest,
    search::{self, IndexStats},
    state::App,
    vision::VisionRequest,
};

/// More than any image or document that a service takes.
const LARGEST_BODY: usize = 64 * 1024 * 1024;
/// How long answers in flight may still take at the end.
const GRACE: Duration = Duration::from_millis(500);

/// Why the simulator does not start or change.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A configuration that no service can have.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is taken or not of this machine.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A running service. Dropping it ends it, like [`Simulator::shutdown`] but without waiting.
#[derive(Debug)]
pub struct Simulator {
    app: Arc<App>,
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// Starts a service that behaves as configured; port 0 takes any free port.
///
/// # Errors
/// [`SimulatorError`] if the configuration or the address is impossible.
pub async fn start(config: SimulatorConfig, addr: SocketAddr) -> Result<Simulator, SimulatorError> {
    config.validate()?;
    let bind = |source| SimulatorError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(bind)?;
    let addr = listener.local_addr().map_err(bind)?;
    let app = Arc::new(App::new(config));
    let router = router(Arc::clone(&app));
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused; answers may be late");
        }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async {
                // Sent or dropped: both mean the end.
                stopped.await.ok();
            })
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the simulator ended with an error");
        }
    });
    tracing::debug!(%addr, "the simulator is listening");
    Ok(Simulator {
        app,
        addr,
        stop,
        serving,
    })
}

impl Simulator {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://HOST:PORT`, without a path; works as an OpenAI endpoint as well as with `/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        let mut addr = self.addr;
        if addr.ip().is_unspecified() {
            let local: std::net::IpAddr = if addr.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            };
            addr.set_ip(local);
        }
        format!("http://{addr}")
    }

    /// What was asked, answered and paid so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.app.stats()
    }

    /// What a search index holds, and how often it was written.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<IndexStats> {
        self.app.indexes.stats(name)
    }

    /// The configuration of now.
    #[must_use]
    pub fn config(&self) -> SimulatorConfig {
        SimulatorConfig::clone(&self.app.config())
    }

    /// Replaces the configuration; requests in flight keep the old one.
    ///
    /// # Errors
    /// [`ConfigError`] if no service can be so; nothing is changed then.
    pub fn reconfigure(&self, config: SimulatorConfig) -> Result<(), ConfigError> {
        self.app.change(|_| config)
    }

    /// Ends it. Answers that take longer than half a second more are left behind.
    pub async fn shutdown(self) {
        drop(self.stop);
        let mut serving = self.serving;
        match timeout(GRACE, &mut serving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the simulator broke"),
            Err(_) => serving.abort(),
        }
    }
}

fn router(app: Arc<App>) -> Router {
    docintel::routes()
        .merge(entra::routes())
        .merge(openai_like::<ChatRequest>("chat/completions"))
        .merge(openai_like::<EmbeddingsRequest>("embeddings"))
        .route("/computervision/imageanalysis:analyze", post(azure_vision))
        .route("/v1/models", get(models))
        .route("/models", get(models))
        .route("/openai/v1/models", get(models))
        .route("/health", get(health))
        .route("/_stats", get(stats))
        .route("/_index/{name}", get(index))
        .route("/_reset", post(reset))
        .route("/_control", post(control))
        // Paths of search have a name in the middle of a segment, which no route can have.
        .fallback(search::serve)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(app)
}

/// The paths of OpenAI and of Azure OpenAI that end in `end`.
fn openai_like<S: Service + Send + Sync + 'static>(end: &str) -> Router<Arc<App>> {
    Router::new()
        .route(&format!("/v1/{end}"), post(openai::<S>))
        .route(&format!("/{end}"), post(openai::<S>))
        .route(&format!("/openai/v1/{end}"), post(azure_v1::<S>))
        .route(
            &format!("/openai/deployments/{{deployment}}/{end}"),
            post(azure_classic::<S>),
        )
}

type Body = Result<Bytes, BytesRejection>;

async fn openai<S: Service + Send + Sync>(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let call = call(Dialect::OpenAi, None, &uri, &headers, body);
    exchange::<S>(app, call).await
}

async fn azure_v1<S: Service + Send + Sync>(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let call = call(Dialect::AzureV1, None, &uri, &headers, body);
    exchange::<S>(app, call).await
}

async fn azure_classic<S: Service + Send + Sync>(
    State(app): State<Arc<App>>,
    Path(deployment): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let api_version = api_version(&uri);
    let dialect = Dialect::AzureClassic { api_version };
    exchange::<S>(app, call(dialect, Some(deployment), &uri, &headers, body)).await
}

async fn azure_vision(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let api_version = api_version(&uri);
    let dialect = Dialect::AzureVision { api_version };
    exchange::<VisionRequest>(app, call(dialect, None, &uri, &headers, body)).await
}

fn api_version(uri: &Uri) -> String {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "api-version")
        .map(|(_, version)| version.into_owned())
        .unwrap_or_default()
}

fn call(
    dialect: Dialect,
    deployment: Option<String>,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Call {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    Call {
        deployment,
        key: key(headers, &dialect),
        query: uri.query().unwrap_or_default().to_owned(),
        content_type: content_type.trim().to_ascii_lowercase(),
        task: headers
            .get("x-filefleet-task")
            .map(|task| chance::hash(task.as_bytes())),
        body,
        dialect,
    }
}

fn key(headers: &HeaderMap, dialect: &Dialect) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let own = match dialect {
        Dialect::OpenAi => None,
        Dialect::AzureClassic { .. } | Dialect::AzureV1 => text("api-key"),
        Dialect::AzureVision { .. } => text("ocp-apim-subscription-key"),
    };
    let bearer = || text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    own.or_else(bearer).map(|key| key.trim().to_owned())
}

async fn models(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Response {
    let config = app.config();
    let dialect = dialect_of(&uri);
    if let Err(refusal) = authorize(
        &app,
        &config,
        Kind::Chat,
        key(&headers, &dialect).as_deref(),
    ) {
        return plain(&refusal, &dialect, &config);
    }
    let names = config.models.clone();
    let models: Vec<_> = names
        .unwrap_or_else(|| vec!["rehearsal".to_owned()])
        .into_iter()
        .map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "filefleet"}))
        .collect();
    Json(json!({"object": "list", "data": models})).into_response()
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let config = app.config();
    let loading = config.has(Quirk::LlamacppLoading) && app.is_loading(config.loading);
    if loading {
        return plain(&Refusal::Loading, &Dialect::OpenAi, &config);
    }
    if config.down != Down::No {
        return plain(&Refusal::Overloaded, &Dialect::OpenAi, &config);
    }
    Json(json!({"status": "ok"})).into_response()
}

async fn stats(State(app): State<Arc<App>>) -> Json<Stats> {
    Json(app.stats())
}

async fn index(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response {
    match app.indexes.stats(&name) {
        Some(stats) => Json(stats).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn reset(State(app): State<Arc<App>>) -> StatusCode {
    app.reset();
    StatusCode::NO_CONTENT
}

async fn control(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let control: Result<Control, _> = serde_json::from_slice(&body);
    let changed = control
        .map_err(|error| error.to_string())
        .and_then(|control| app.control(control).map_err(|error| error.to_string()));
    match changed {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response(),
    }
}

pub(crate) fn no_such_path(app: &App, method: &Method, uri: &Uri) -> Response {
    let refusal = Refusal::NoSuchPath {
        method: method.to_string(),
        path: uri.path().to_owned(),
    };
    plain(&refusal, &dialect_of(uri), &app.config())
}

async fn wrong_method(State(app): State<Arc<App>>, method: Method, uri: Uri) -> Response {
    let refusal = Refusal::WrongMethod {
        method: method.to_string(),
        path: uri.path().to_owned(),
    };
    plain(&refusal, &dialect_of(&uri), &app.config())
}

fn dialect_of(uri: &Uri) -> Dialect {
    if uri.path().starts_with("/openai/") {
        Dialect::AzureV1
    } else if uri.path().starts_with("/computervision/") {
        Dialect::AzureVision {
            api_version: api_version(uri),
        }
    } else {
        Dialect::OpenAi
    }
}

/// A refusal beside chat: it is not counted and has no rate limits.
fn plain(refusal: &Refusal, dialect: &Dialect, config: &SimulatorConfig) -> Response {
    let body = refusal.body(dialect, config.has(Quirk::IntegerCode));
    (refusal.status(), Json(body)).into_response()
}
