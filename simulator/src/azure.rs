//! Requests to Azure's services beside OpenAI, and what is said to them.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, HeaderName, StatusCode, Uri},
};
use serde_json::{Value, json};

use crate::{Kind, Quotas, SimulatorConfig, quota::Bucket, state::App};

mod exchange;

pub(crate) use exchange::exchange;

/// How a service judges who may come in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) kind: Kind,
    /// The header of the key; a bearer token does as well.
    pub(crate) key_header: &'static str,
    /// The header that tells the id of a request.
    pub(crate) id_header: &'static str,
    pub(crate) api_versions: &'static [&'static str],
    /// What is said to a wrong key.
    pub(crate) locked: fn() -> Problem,
    /// What is said over the quota, with the wait.
    pub(crate) crowded: fn(Duration) -> Problem,
    pub(crate) quota: Option<(Bucket, Quotas)>,
    /// Whether an answer takes [`SimulatorConfig::latency`].
    pub(crate) takes_time: bool,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    pub(crate) body: Result<Bytes, BytesRejection>,
}

/// The parameters of a query, decoded.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

/// What a service says no with, in Azure's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Code and message of `innererror`.
    pub(crate) inner: Option<(&'static str, String)>,
    pub(crate) wait: Option<Duration>,
}

/// What a service says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Vec<u8>,
    /// The work was done and counts as paid, with the pages that were read.
    pub(crate) paid: Option<u64>,
}

/// What the work of a request may look at.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) app: &'a App,
    pub(crate) config: &'a SimulatorConfig,
    pub(crate) number: u64,
    /// A name for what the request makes.
    pub(crate) uuid: String,
    /// `http://HOST:PORT`, as the client calls this server.
    pub(crate) origin: String,
    pub(crate) now_ms: u64,
}

impl Ask {
    pub(crate) fn new(uri: &Uri, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Self {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self {
            headers,
            query: Query(query.into_owned().collect()),
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn key(&self, header: &str) -> Option<&str> {
        let bearer = || {
            self.header("authorization")
                .and_then(|value| value.strip_prefix("Bearer "))
        };
        self.header(header).or_else(bearer).map(str::trim)
    }

    fn bytes(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |bytes| bytes.as_ref())
    }
}

impl Query {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    }
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            inner: None,
            wait: None,
        }
    }

    pub(crate) fn inner(self, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            inner: Some((code, message.into())),
            ..self
        }
    }

    pub(crate) fn wait(self, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..self
        }
    }

    fn body(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some((code, message)) = &self.inner {
            error["innererror"] = json!({"code": code, "message": message});
        }
        json!({"error": error})
    }
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
            paid: None,
        }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, body.to_string().into_bytes())
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn paid(self, pages: u64) -> Self {
        Self {
            paid: Some(pages),
            ..self
        }
    }
}
