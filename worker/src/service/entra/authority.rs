//! Who issues tokens: how each kind of identity asks, and what a refusal means.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    EntraConfig, EntraError, Environment, Identity, MACHINE_AUTHORITY, PUBLIC_AUTHORITY, Token,
};
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

enum Asker {
    /// `POST` with a secret.
    Secret {
        url: Url,
        client_id: String,
        secret: SecretString,
    },
    /// `POST` with a token that the cluster renews in a file.
    Workload {
        url: Url,
        client_id: String,
        file: PathBuf,
    },
    /// `GET` at the machine's own address.
    Machine { url: Url, client_id: Option<String> },
    /// `GET` at the address that App Service and Container Apps give.
    App {
        url: Url,
        header: SecretString,
        client_id: Option<String>,
    },
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

impl Asker {
    fn new(config: &EntraConfig, environment: Environment<'_>) -> Result<Self, BuildError> {
        let own = config.authority.as_ref();
        Ok(match &config.identity {
            Identity::Secret {
                tenant,
                client_id,
                secret,
            } => Self::Secret {
                url: token_url(config, own, None, tenant)?,
                client_id: client_id.clone(),
                secret: secret.resolve()?,
            },
            Identity::Managed { client_id } => {
                let client_id = client_id.clone();
                let app = environment("IDENTITY_ENDPOINT").zip(environment("IDENTITY_HEADER"));
                match app.filter(|_| own.is_none()) {
                    Some((endpoint, header)) => Self::App {
                        url: place(config, "IDENTITY_ENDPOINT", &endpoint)?,
                        header: SecretString::from(header),
                        client_id,
                    },
                    None => Self::Machine {
                        url: machine_url(config, own)?,
                        client_id,
                    },
                }
            }
            Identity::Workload { tenant, client_id } => {
                let wanted = |own: &Option<String>, variable, instead| {
                    let found = own.clone().or_else(|| environment(variable));
                    found.ok_or_else(|| EntraError::Unset {
                        key: config.key.clone(),
                        variable,
                        instead,
                    })
                };
                let tenant = wanted(tenant, "AZURE_TENANT_ID", "`tenant`")?;
                let host = environment("AZURE_AUTHORITY_HOST");
                Self::Workload {
                    url: token_url(config, own, host.as_deref(), &tenant)?,
                    client_id: wanted(client_id, "AZURE_CLIENT_ID", "`client_id`")?,
                    file: wanted(&None, "AZURE_FEDERATED_TOKEN_FILE", "another identity")?.into(),
                }
            }
        })
    }

    fn url(&self) -> &Url {
        match self {
            Self::Secret { url, .. }
            | Self::Workload { url, .. }
            | Self::Machine { url, .. }
            | Self::App { url, .. } => url,
        }
    }
}

fn token_url(
    config: &EntraConfig,
    own: Option<&Url>,
    host: Option<&str>,
    tenant: &str,
) -> Result<Url, EntraError> {
    let base = match (own, host) {
        (Some(own), _) => own.clone(),
        (None, Some(host)) => place(config, "AZURE_AUTHORITY_HOST", host)?,
        (None, None) => place(config, "authority", PUBLIC_AUTHORITY)?,
    };
    below(config, base, &[tenant, "oauth2", "v2.0", "token"])
}

fn machine_url(config: &EntraConfig, own: Option<&Url>) -> Result<Url, EntraError> {
    let base = match own {
        Some(own) => own.clone(),
        None => place(config, "authority", MACHINE_AUTHORITY)?,
    };
    below(config, base, &["metadata", "identity", "oauth2", "token"])
}

fn place(config: &EntraConfig, place: &'static str, text: &str) -> Result<Url, EntraError> {
    let of_machine = matches!(config.identity, Identity::Managed { .. });
    super::authority(text, of_machine).map_err(|why| EntraError::Place {
        key: config.key.clone(),
        place,
        why,
    })
}

fn below(config: &EntraConfig, mut base: Url, path: &[&str]) -> Result<Url, EntraError> {
    let added = base.path_segments_mut().map(|mut segments| {
        segments.pop_if_empty().extend(path);
    });
    added.map_err(|()| EntraError::Place {
        key: config.key.clone(),
        place: "authority",
        why: "cannot be asked for anything".to_owned(),
    })?;
    Ok(base)
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
