//! A server that answers what a test tells it to, and a step bound to it.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request as Incoming, State},
    response::Response,
};
use bytes::Bytes;
use filefleet_shared::{
    time::UnixMillis,
    wire::{FileRef, RunId, StepMessage, TaskId},
};
use filefleet_worker::{
    config::Config,
    service::{BoundStep, CallError, Catalog, CatalogOptions, Heard, Reply, StepInput},
};
use serde_json::Value;

use super::spec::{Request, violations};

pub(crate) const KEY: &str = "key-1234567890";

/// One answer: status, headers, body. `BASE` in a header becomes the server's address.
pub(crate) type Answer = (u16, &'static [(&'static str, &'static str)], String);

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    requests: Vec<Request>,
    base: String,
}

type Shared = Arc<Mutex<Script>>;

/// A server with a script.
pub(crate) struct Stand {
    script: Shared,
    spec: Value,
    pub(crate) base: String,
}

impl Stand {
    pub(crate) async fn new(spec: &str, answers: Vec<Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let script = Shared::new(Mutex::new(Script {
            answers: answers.into(),
            requests: Vec::new(),
            base: base.clone(),
        }));
        let router = Router::new().fallback(serve).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            script,
            spec: serde_json::from_str(spec).unwrap(),
            base,
        }
    }

    /// What was asked so far; every request was as the specification has it.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let requests = self.script.lock().unwrap().requests.clone();
        for request in &requests {
            let wrong = violations(&self.spec, request);
            assert_eq!(
                wrong,
                Vec::<String>::new(),
                "{} {}",
                request.method,
                request.target
            );
            assert_eq!(request.header("ocp-apim-subscription-key"), KEY);
            assert!(request.header("x-filefleet-task").ends_with("/7:s"));
        }
        requests
    }

    /// The step of a service of this kind that does this.
    pub(crate) fn step(&self, kind: &str, action: &str) -> BoundStep {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "{KEY}").unwrap();
        let base = &self.base;
        let path = file.path();
        let text = format!(
            "[service.x]\nkind = \"{kind}\"\nendpoint = \"{base}\"\nkey = {{ file = {path:?} }}\n\
             [[pipeline.p]]\nname = \"s\"\nservice = \"x\"\n{action}\n"
        );
        let config = Config::parse("test.toml", &text).unwrap();
        let catalog = Catalog::build(&config, &CatalogOptions::default()).unwrap();
        catalog.first_step("p").unwrap().clone()
    }
}

async fn serve(State(script): State<Shared>, request: Incoming) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let mut script = script.lock().unwrap();
    script.requests.push(Request {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body,
    });
    let (status, headers, body) = script
        .answers
        .pop_front()
        .unwrap_or((599, &[], String::new()));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value.replace("BASE", &script.base));
    }
    response.body(Body::from(body)).unwrap()
}

/// The message of a file's step, the seventh of its run.
pub(crate) fn message(step: &BoundStep, media_type: &str) -> StepMessage {
    let task = TaskId {
        run: RunId::mint(),
        seq: 7,
    };
    let file = FileRef {
        root: "inbox".to_owned(),
        key: "a".to_owned(),
        key_bytes: None,
        size: 5,
        modified: None,
        media_type: media_type.to_owned(),
    };
    StepMessage::first(task, &step.pipeline, &step.name, file)
}

pub(crate) async fn call(
    step: &BoundStep,
    message: &StepMessage,
    content: &[u8],
) -> Result<Reply, CallError> {
    let input = StepInput {
        message,
        content: Bytes::copy_from_slice(content),
        heard: &Heard::default(),
    };
    step.call.call(input).await
}

/// The message that follows an acceptance.
pub(crate) fn continued(message: &StepMessage, state: &Value) -> StepMessage {
    message.continued(state.clone(), UnixMillis::now())
}

pub(crate) fn cause<T: std::fmt::Debug>(reply: Result<T, CallError>) -> String {
    match reply {
        Err(CallError::Rejected { cause, .. }) => cause.into_owned(),
        other => panic!("{other:?}"),
    }
}
