//! How each kind of identity asks for tokens: where, and with what.

use std::path::PathBuf;

use reqwest::Url;
use secrecy::SecretString;

use super::{EntraConfig, EntraError, Environment, Identity, MACHINE_AUTHORITY, PUBLIC_AUTHORITY};
use crate::service::BuildError;

/// How an identity asks.
pub(super) enum Asker {
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

impl Asker {
    /// # Errors
    /// The secret cannot be had, or the environment lacks what a pod needs.
    pub(super) fn new(
        config: &EntraConfig,
        environment: Environment<'_>,
    ) -> Result<Self, BuildError> {
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

    /// Where.
    pub(super) fn url(&self) -> &Url {
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
