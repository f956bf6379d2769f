//! Where the calls of one step go, signed.

use std::time::SystemTime;

use reqwest::{
    Client, Response, Url,
    header::{HeaderMap, HeaderName, InvalidHeaderValue},
};
use secrecy::SecretString;

use super::{Access, classify};
use crate::service::{
    CallError, StepInput,
    transport::{TASK, failure, read_body, task, without_key},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

/// Where the calls of one step go.
pub(super) struct Door {
    client: Client,
    url: Url,
    headers: HeaderMap,
    key: Option<SecretString>,
}

impl Door {
    /// # Errors
    /// The key or organization cannot be sent in a header.
    pub(super) fn new(access: &Access, url: Url) -> Result<Self, InvalidHeaderValue> {
        Ok(Self {
            client: access.client.clone(),
            url,
            headers: access.headers()?,
            key: access.key.clone(),
        })
    }

    /// Sends JSON in the name of a step.
    ///
    /// # Errors
    /// There was no answer, or it is not a success.
    pub(super) async fn post(
        &self,
        body: Vec<u8>,
        input: &StepInput<'_>,
    ) -> Result<Response, CallError> {
        let mut headers = self.headers.clone();
        if let Some(task) = task(input.message) {
            headers.insert(REQUEST_ID, task.clone());
            headers.insert(TASK, task);
        }
        let request = self.client.post(self.url.clone()).headers(headers);
        let response = request.body(body).send().await.map_err(failure)?;
        input.heard.read(response.headers());
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        // The status alone says enough if the body does not come.
        let body = read_body(response).await.unwrap_or_default();
        let body = without_key(&body, self.key.as_ref());
        let now = SystemTime::now();
        Err(classify::classify(status, &headers, body.as_bytes(), now))
    }
}
