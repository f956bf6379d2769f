//! How requests to one resource are made: client, address, key.

use std::time::SystemTime;

use filefleet_shared::{config::Secret, wire::StepMessage};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{Endpoint, classify};
use crate::{
    config::{AzureConfig, ServiceConfig, ServiceKind},
    service::{
        BuildError, CallError, CatalogOptions, catalog,
        openai::EndpointError,
        refusal::Refusal,
        transport::{self, TASK, failure, read_body, without_key},
    },
};

const KEY: HeaderName = HeaderName::from_static("ocp-apim-subscription-key");
const SEARCH_KEY: HeaderName = HeaderName::from_static("api-key");

/// How requests to one resource are made.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) client: Client,
    /// Where calls go: in a rehearsal, to the simulator.
    pub(crate) endpoint: Endpoint,
    key: Option<SecretString>,
    headers: HeaderMap,
}

impl Access {
    /// # Errors
    /// The key cannot be had or sent, or no client can be made.
    pub(crate) fn new(
        name: &str,
        service: &ServiceConfig,
        config: &AzureConfig,
        options: &CatalogOptions,
    ) -> Result<Self, BuildError> {
        let (endpoint, key) = match &options.rehearse {
            Some(base) => {
                let endpoint = config.endpoint.rehearsed(base).map_err(|message| {
                    let key = "endpoint";
                    BuildError::Simulator {
                        service: name.to_owned(),
                        source: EndpointError { key, message },
                    }
                })?;
                (endpoint, None)
            }
            None => {
                let key = config.key.as_ref().map(Secret::resolve).transpose()?;
                (config.endpoint.clone(), key)
            }
        };
        let client = catalog::client(name, service, endpoint.base())?;
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let mut value = HeaderValue::try_from(key.expose_secret()).map_err(|source| {
                BuildError::Header {
                    service: name.to_owned(),
                    source,
                }
            })?;
            value.set_sensitive(true);
            let header = match service.kind {
                ServiceKind::Search(_) => SEARCH_KEY,
                _ => KEY,
            };
            headers.insert(header, value);
        }
        Ok(Self {
            client,
            endpoint,
            key,
            headers,
        })
    }

    /// Sends a request in the name of a step; any status is an answer.
    ///
    /// # Errors
    /// There was no answer.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        message: &StepMessage,
    ) -> Result<Response, CallError> {
        self.send_for(request, transport::task(message)).await
    }

    /// Sends a request in the name of a task, if it is only one.
    ///
    /// # Errors
    /// There was no answer.
    pub(crate) async fn send_for(
        &self,
        request: RequestBuilder,
        task: Option<HeaderValue>,
    ) -> Result<Response, CallError> {
        let mut headers = self.headers.clone();
        headers.extend(task.map(|task| (TASK, task)));
        request.headers(headers).send().await.map_err(failure)
    }

    /// What an answer means that is not a success.
    pub(crate) async fn refused(&self, response: Response) -> CallError {
        let (status, headers, body) = self.opened(response).await;
        classify::classify(status, &headers, body.as_bytes(), SystemTime::now())
    }

    /// The same, to be judged by another table.
    pub(crate) async fn refusal(&self, response: Response) -> Refusal {
        let (status, headers, body) = self.opened(response).await;
        Refusal::read(status, &headers, body.as_bytes(), SystemTime::now())
    }

    async fn opened(&self, response: Response) -> (StatusCode, HeaderMap, String) {
        let status = response.status();
        let headers = response.headers().clone();
        // The status alone says enough if the body does not come.
        let body = read_body(response).await.unwrap_or_default();
        (status, headers, without_key(&body, self.key.as_ref()))
    }
}
