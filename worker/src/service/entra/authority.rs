//! Who issues tokens: how it is asked, and what a refusal means.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{EntraConfig, Environment, Token, asker::Asker};
use crate::service::{BuildError, CallError, detail, transport};

/// From a question to its answer.
const DEADLINE: Duration = Duration::from_secs(20);
/// The longest answer that is read.
const MOST_BYTES: usize = 256 << 10;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who issues tokens to one identity, for one kind of service.
pub(crate) struct Authority {
    client: Client,
    scope: &'static str,
    asker: Asker,
    /// For the log.
    name: String,
}

impl Authority {
    /// # Errors
    /// The secret cannot be had, the environment lacks what a pod needs, or no client can be made.
    pub(crate) fn new(
        service: &str,
        config: &EntraConfig,
        scope: &'static str,
        environment: Environment<'_>,
    ) -> Result<Self, BuildError> {
        let asker = Asker::new(config, environment)?;
        let client = client(asker.url()).map_err(|source| BuildError::Client {
            service: service.to_owned(),
            source,
        })?;
        Ok(Self {
            client,
            scope,
            asker,
            name: format!("{} of service.{service}", config.identity),
        })
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// `Unreachable` if asking again may help, `Unauthorized` with what to mend if not.
    pub(super) async fn ask(&self) -> Result<Token, CallError> {
        let asked = Instant::now();
        let request = self.request()?;
        let answer = tokio::time::timeout(DEADLINE, self.answered(request)).await;
        let (status, body) = answer.unwrap_or_else(|_| {
            let limit = humantime::format_duration(DEADLINE);
            Err(self.away(&format!("no answer within {limit}")))
        })?;
        if status.is_success() {
            return self.token(&body, asked);
        }
        Err(self.refusal(status, &body))
    }

    fn request(&self) -> Result<RequestBuilder, CallError> {
        let resource = self.scope.strip_suffix("/.default").unwrap_or(self.scope);
        let get = |url: &Url, version: &str, client_id: &Option<String>| {
            let mut url = url.clone();
            url.query_pairs_mut()
                .append_pair("api-version", version)
                .append_pair("resource", resource)
                .extend_pairs(client_id.iter().map(|id| ("client_id", id)));
            self.client.get(url)
        };
        Ok(match &self.asker {
            Asker::Secret {
                url,
                client_id,
                secret,
            } => {
                let proof = [("client_secret", secret.expose_secret())];
                self.post(url, client_id, &proof)
            }
            Asker::Workload {
                url,
                client_id,
                file,
            } => {
                // Read every time: the cluster renews it. It is small, and local.
                let assertion = std::fs::read_to_string(file).map_err(|error| {
                    let place = file.display();
                    CallError::Unauthorized(format!("cannot read the pod's token {place}: {error}"))
                })?;
                let proof = [
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.trim()),
                ];
                self.post(url, client_id, &proof)
            }
            Asker::Machine { url, client_id } => {
                get(url, "2018-02-01", client_id).header("metadata", "true")
            }
            Asker::App {
                url,
                header,
                client_id,
            } => get(url, "2019-08-01", client_id)
                .header("x-identity-header", header.expose_secret()),
        })
    }

    fn post(&self, url: &Url, client_id: &str, proof: &[(&str, &str)]) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", client_id)
            .append_pair("scope", self.scope)
            .extend_pairs(proof)
            .finish();
        self.client
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
    }

    async fn answered(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), CallError> {
        let sent = request.send().await;
        let response: Response =
            sent.map_err(|error| self.away(&transport::failure(error).to_string()))?;
        let status = response.status();
        let too_long = || self.away("an answer without end");
        let body = transport::read_up_to(response, MOST_BYTES, too_long).await;
        let body = body.map_err(|error| self.away(&error.to_string()))?;
        Ok((status, body.to_vec()))
    }

    fn token(&self, body: &[u8], asked: Instant) -> Result<Token, CallError> {
        let wrong = || {
            let detail = format!("{} gave no token: is the authority right?", self.place());
            CallError::Misconfigured(detail)
        };
        let answer: Issued = serde_json::from_slice(body).map_err(|_| wrong())?;
        let until = |at: u64| {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            Duration::from_secs(at).saturating_sub(now)
        };
        let life = answer
            .expires_in
            .as_ref()
            .and_then(seconds)
            .map(Duration::from_secs);
        let life = life.or_else(|| answer.expires_on.as_ref().and_then(seconds).map(until));
        let renew = answer
            .refresh_in
            .as_ref()
            .and_then(seconds)
            .map(Duration::from_secs);
        // A year at most: sums with the clock must not overflow.
        let life = life
            .ok_or_else(wrong)?
            .min(Duration::from_secs(365 * 86_400));
        Token::new(answer.access_token, asked, life, renew)
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> CallError {
        let said: Said = serde_json::from_slice(body).unwrap_or_default();
        let code = aadsts(&said.error_description);
        let first_line = said.error_description.lines().next().unwrap_or_default();
        let words = [said.error.as_str(), &detail::shortened(first_line)].join(" ");
        let words = self.without_secret(words.trim());
        let number = status.as_u16();
        let passes = match &self.asker {
            Asker::Secret { .. } | Asker::Workload { .. } => {
                matches!(number, 408 | 429 | 500..=599)
            }
            // Machines answer 404 and 410 while their identities are being set up.
            Asker::Machine { .. } | Asker::App { .. } => {
                matches!(number, 404 | 408 | 410 | 429 | 500..=599)
            }
        };
        if passes {
            return self.away(&format!("{number} {words}"));
        }
        let mend = mend(code, &said, &self.asker);
        let place = self.place();
        CallError::Unauthorized(format!("{place} gives no token: {mend} ({number} {words})"))
    }

    fn away(&self, why: &str) -> CallError {
        CallError::Unreachable(format!("no token from {}: {why}", self.place()))
    }

    fn place(&self) -> &str {
        self.asker.url().host_str().unwrap_or_default()
    }

    fn without_secret(&self, text: &str) -> String {
        match &self.asker {
            Asker::Secret { secret, .. } | Asker::App { header: secret, .. } => {
                text.replace(secret.expose_secret(), "[secret]")
            }
            Asker::Workload { .. } | Asker::Machine { .. } => text.to_owned(),
        }
    }
}

/// Secrets go to the authority alone: no redirects, and no proxy to what is on this machine.
fn client(url: &Url) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("filefleet/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(10))
        .http1_only();
    if super::stays_here(url) {
        return builder.no_proxy().build();
    }
    builder.build()
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    /// Seconds, as a number or a text.
    #[serde(default)]
    expires_in: Option<Value>,
    /// Seconds since 1970.
    #[serde(default)]
    expires_on: Option<Value>,
    #[serde(default)]
    refresh_in: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The number of `AADSTS7000215: ...`.
fn aadsts(description: &str) -> Option<u32> {
    let rest = description.split_once("AADSTS")?.1;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// What to mend.
fn mend(code: Option<u32>, said: &Said, asker: &Asker) -> &'static str {
    match (code, asker) {
        (Some(7_000_215), _) => "client_secret is wrong; it is the secret's value, not its id",
        (Some(7_000_222), _) => "client_secret has expired: make a new one",
        (Some(700_016), _) => "client_id is no application of this tenant",
        (Some(90_002 | 900_023), _) => "tenant does not exist",
        (Some(700_211..=700_213 | 70_021), _) => {
            "the application has no federated credential for this pod's service account"
        }
        (_, Asker::Machine { .. } | Asker::App { .. })
            if said.error_description.contains("not found") =>
        {
            "this machine has no such managed identity: assign it, or correct client_id"
        }
        (_, Asker::Machine { .. } | Asker::App { .. }) => {
            "the managed identity cannot be used here"
        }
        _ => "correct tenant, client_id and the secret",
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("name", &self.name)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
