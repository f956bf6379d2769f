//! How requests to one resource are made: client, address, key.

use std::time::SystemTime;

use filefleet_shared::wire::StepMessage;
use reqwest::{
    Client, RequestBuilder, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::{Endpoint, classify};
use crate::{
    config::{AzureConfig, ServiceConfig, ServiceKind},
    service::{
        BuildError, CallError, CatalogOptions, catalog,
        entra::{COGNITIVE_SCOPE, SEARCH_SCOPE},
        openai::EndpointError,
        refusal::Refusal,
        signer::{Credential, Signer},
        transport::{self, TASK},
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
    signer: Signer,
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
        let endpoint = match &options.rehearse {
            Some(base) => config.endpoint.rehearsed(base).map_err(|message| {
                let key = "endpoint";
                BuildError::Simulator {
                    service: name.to_owned(),
                    source: EndpointError { key, message },
                }
            })?,
            None => config.endpoint.clone(),
        };
        let (header, scope) = match service.kind {
            ServiceKind::Search(_) => (SEARCH_KEY, SEARCH_SCOPE),
            _ => (KEY, COGNITIVE_SCOPE),
        };
        let credential = Credential {
            key: config.key.as_ref(),
            header,
            prefix: "",
            entra: config.entra.as_ref().map(|entra| (entra, scope)),
        };
        Ok(Self {
            client: catalog::client(name, service, endpoint.base())?,
            endpoint,
            signer: Signer::new(name, &credential, options)?,
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
        let mut headers = HeaderMap::new();
        headers.extend(task.map(|task| (TASK, task)));
        self.signer.send(request, headers).await
    }

    /// What an answer means that is not a success.
    pub(crate) async fn refused(&self, response: Response) -> CallError {
        let (status, headers, body) = self.signer.open(response).await;
        classify::classify(status, &headers, body.as_bytes(), SystemTime::now())
    }

    /// The same, to be judged by another table.
    pub(crate) async fn refusal(&self, response: Response) -> Refusal {
        let (status, headers, body) = self.signer.open(response).await;
        Refusal::read(status, &headers, body.as_bytes(), SystemTime::now())
    }
}
