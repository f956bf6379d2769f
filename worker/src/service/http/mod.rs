//! Any HTTP service: a templated request, pointers into its answer.

mod access;
mod address;
mod answer;
mod body;
mod classify;
mod poll;

use std::sync::Arc;

use async_trait::async_trait;
use filefleet_shared::wire::StepMessage;
use reqwest::{
    Method, RequestBuilder, Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;

use super::{
    Answer, CallError, Identity, Prompt, Reply, Service, StepInput,
    prompt::Inputs,
    text,
    transport::{TASK, task},
};
pub(crate) use access::Access;
pub use address::Address;
use answer::Received;
pub use answer::{Reading, Success, UsagePointers};
pub use body::{Body, FileForm, Node};
pub use classify::Statuses;
pub use poll::{Operation, Poll};

/// What a step asks of an HTTP service.
#[derive(Clone, Debug)]
pub struct RequestConfig {
    /// Method of the request.
    pub method: Method,
    /// Path below the endpoint.
    pub path: Option<Arc<Prompt>>,
    /// Its query.
    pub query: Vec<(String, Arc<Prompt>)>,
    /// Headers besides those of the service.
    pub headers: Vec<(HeaderName, Arc<Prompt>)>,
    /// What it carries.
    pub body: Body,
    /// How its answer is read.
    pub reading: Reading,
    /// How the result of a long operation is asked for.
    pub poll: Option<Poll>,
    /// What stands for its answer in a rehearsal.
    pub rehearse: Option<Value>,
}

/// One request step, bound to its service.
pub(crate) struct Request {
    access: Access,
    config: RequestConfig,
}

/// A request for one file.
struct Made {
    url: Url,
    headers: HeaderMap,
    request: RequestBuilder,
}

/// What templates are filled in with.
pub(crate) struct Rendering<'a> {
    message: &'a StepMessage,
    content: &'a [u8],
    inputs: Inputs<'a>,
}

impl Rendering<'_> {
    fn render(&self, prompt: &Prompt) -> Result<String, CallError> {
        prompt
            .render_with(self.message, self.inputs)
            .map_err(|error| error.into_call("template"))
    }
}

impl Request {
    /// None if it cannot be rehearsed: nothing stands in for a service that nobody knows.
    pub(crate) fn new(access: &Access, config: RequestConfig) -> Option<Self> {
        if access.rehearsing && config.rehearse.is_none() {
            return None;
        }
        Some(Self {
            access: access.clone(),
            config,
        })
    }

    /// The request for one file, not yet signed.
    fn made(&self, input: &StepInput<'_>) -> Result<Made, CallError> {
        let text = if self.mentions(&Prompt::mentions_text) {
            text::read(&input.content, &input.message.file.media_type)?
        } else {
            "".into()
        };
        let with = Rendering {
            message: input.message,
            content: &input.content,
            inputs: Inputs {
                text: Some(&text),
                ..Inputs::default()
            },
        };
        let url = self.url(self.config.path.as_deref(), &self.config.query, &with)?;
        let mut headers = self.access.headers.clone();
        for (name, prompt) in &self.config.headers {
            let value = HeaderValue::try_from(with.render(prompt)?).map_err(|_| {
                let detail = format!("the value of the header {name:?} cannot be sent");
                CallError::rejected("template", detail)
            })?;
            headers.insert(name.clone(), value);
        }
        let method = self.config.method.clone();
        let request = self.access.client.request(method, url.clone());
        let content = input.content.clone();
        let body = &self.config.body;
        let request = body.attach(request, &mut headers, &with, content)?;
        Ok(Made {
            url,
            headers,
            request,
        })
    }

    async fn send(&self, input: &StepInput<'_>) -> Result<Reply, CallError> {
        let Made {
            url,
            headers,
            request,
        } = self.made(input)?;
        if let (true, Some(output)) = (self.access.rehearsing, &self.config.rehearse) {
            return Ok(rehearsed(output));
        }
        let response = self.signed(request, headers, input.message).await?;
        let received = Received::read(response).await?;
        let reading = &self.config.reading;
        reading.check(&received, self.access.signer.secret())?;
        match &self.config.poll {
            Some(poll) => self.accepted(poll, &url, &received),
            None => reading.answer(&received).map(Reply::Answered),
        }
    }

    fn url(
        &self,
        path: Option<&Prompt>,
        query: &[(String, Arc<Prompt>)],
        with: &Rendering<'_>,
    ) -> Result<Url, CallError> {
        let path = path.map(|path| with.render(path)).transpose()?;
        let mut url = self
            .access
            .address
            .below(&path.unwrap_or_default())
            .map_err(|refused| CallError::rejected("template", refused))?;
        for (name, prompt) in query {
            let value = with.render(prompt)?;
            url.query_pairs_mut().append_pair(name, &value);
        }
        Ok(url)
    }

    /// Sends a request in the name of a step.
    async fn signed(
        &self,
        request: RequestBuilder,
        mut headers: HeaderMap,
        message: &StepMessage,
    ) -> Result<Response, CallError> {
        headers.extend(task(message).map(|task| (TASK, task)));
        self.access.signer.send(request, headers).await
    }

    fn mentions(&self, what: &impl Fn(&Prompt) -> bool) -> bool {
        let config = &self.config;
        let query = config.query.iter().map(|(_, prompt)| prompt);
        let headers = config.headers.iter().map(|(_, prompt)| prompt);
        let mut prompts = config.path.iter().chain(query).chain(headers);
        prompts.any(|prompt| what(prompt)) || config.body.mentions(what)
    }
}

#[async_trait]
impl Service for Request {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        match (&input.message.continuation, &self.config.poll) {
            (None, _) => self.send(&input).await,
            (Some(begun), Some(poll)) => self.ask(poll, &begun.state, input.message).await,
            (Some(_), None) => {
                let detail = "an operation was begun that this step no longer has";
                Err(CallError::rejected("bad_continuation", detail))
            }
        }
    }

    fn identity(&self, input: &StepInput<'_>) -> Option<Identity> {
        let Made {
            url,
            headers,
            request,
        } = self.made(input).ok()?;
        let request = request.build().ok()?;
        // A form has another boundary each time: who wants it in the journal sends JSON.
        let body = match request.body() {
            None => &[],
            Some(body) => body.as_bytes()?,
        };
        let mut headers: Vec<_> = headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        let headers = headers
            .iter()
            .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        let query = url.query().unwrap_or_default();
        // The service may read the file by itself.
        let file = match self.needs_content() {
            true => None,
            false => Some(Identity::of_file(&input.message.file)?),
        };
        let file = file.as_ref().map_or(&[][..], Identity::bytes);
        let parts = [url.path().as_bytes(), query.as_bytes(), body, file];
        Some(Identity::of(parts.into_iter().chain(headers)))
    }

    fn needs_content(&self) -> bool {
        self.config.body.has_file() || self.mentions(&Prompt::mentions_text)
    }
}

fn rehearsed(output: &Value) -> Reply {
    Reply::Answered(Answer {
        output: output.clone(),
        usage: filefleet_shared::wire::Usage {
            calls: 1,
            ..Default::default()
        },
    })
}
