//! How requests to one search service are made.

use std::time::Duration;

use filefleet_shared::wire::StepMessage;
use reqwest::{
    Method, Response, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};

use super::refusal::OWN;
use crate::{
    config::{AzureConfig, ServiceConfig},
    service::{BuildError, CallError, CatalogOptions, azure, transport},
};

/// How requests to one search service are made.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    azure: azure::Access,
    /// Of one request: batches go on when the step that waited for them is gone.
    timeout: Duration,
    pub(super) in_flight: usize,
    /// The service is a simulator, which has none of the user's indexes.
    pub(super) rehearsing: bool,
}

/// An answer of any status.
pub(super) type Answered = Result<Response, CallError>;

impl Access {
    /// # Errors
    /// The key cannot be had or sent, or no client can be made.
    pub(crate) fn new(
        name: &str,
        service: &ServiceConfig,
        config: &AzureConfig,
        options: &CatalogOptions,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            azure: azure::Access::new(name, service, config, options)?,
            timeout: service.timeout,
            in_flight: service.in_flight,
            rehearsing: options.rehearse.is_some(),
        })
    }

    /// The address of what an index offers.
    pub(super) fn url(&self, index: &str, call: &str) -> Url {
        let index = format!("indexes('{index}')");
        self.azure.endpoint.url(&[&index, "docs", call], &[])
    }

    /// The address of all indexes.
    pub(super) fn indexes_url(&self) -> Url {
        self.azure.endpoint.url(&["indexes"], &[])
    }

    /// Sends JSON, in the name of a step if it is of only one.
    ///
    /// # Errors
    /// There was no answer in time.
    pub(super) async fn post(
        &self,
        url: Url,
        body: Vec<u8>,
        task: Option<HeaderValue>,
    ) -> Answered {
        let request = self
            .azure
            .client
            .request(Method::POST, url)
            .header(ACCEPT, "application/json;odata.metadata=none")
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let sent = self.azure.send_for(request, task);
        tokio::time::timeout(self.timeout, sent)
            .await
            .unwrap_or_else(|_| {
                let limit = humantime::format_duration(self.timeout);
                Err(CallError::Timeout(format!("no answer within {limit}")))
            })
    }

    /// What an answer means that is not a success.
    pub(super) async fn refused(&self, response: Response) -> CallError {
        self.azure.refusal(response).await.decide(OWN)
    }
}

/// The step's name in a request of its own.
pub(super) fn task(message: &StepMessage) -> Option<HeaderValue> {
    transport::task(message)
}
