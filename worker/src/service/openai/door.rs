//! Where the calls of one step go, signed.

use std::time::SystemTime;

use reqwest::{
    Client, Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};

use super::{Access, classify};
use crate::service::{CallError, Heard, signer::Signer, transport::TASK};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

/// Where the calls of one step go.
pub(super) struct Door {
    client: Client,
    url: Url,
    headers: HeaderMap,
    signer: Signer,
}

impl Door {
    /// # Errors
    /// The organization cannot be sent in a header.
    pub(super) fn new(access: &Access, url: Url) -> Result<Self, InvalidHeaderValue> {
        Ok(Self {
            client: access.client.clone(),
            url,
            headers: access.headers()?,
            signer: access.signer.clone(),
        })
    }

    /// Sends JSON in the name of a task.
    ///
    /// # Errors
    /// There was no answer, or it is not a success.
    pub(super) async fn post(
        &self,
        body: Vec<u8>,
        task: Option<HeaderValue>,
        heard: &Heard,
    ) -> Result<Response, CallError> {
        let mut headers = self.headers.clone();
        if let Some(task) = task {
            headers.insert(REQUEST_ID, task.clone());
            headers.insert(TASK, task);
        }
        let request = self.client.post(self.url.clone()).body(body);
        let response = self.signer.send(request, headers).await?;
        heard.read(response.headers());
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers, body) = self.signer.open(response).await;
        let now = SystemTime::now();
        Err(classify::classify(status, &headers, body.as_bytes(), now))
    }
}
