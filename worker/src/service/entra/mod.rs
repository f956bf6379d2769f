//! Tokens of Microsoft Entra ID, in place of keys.

mod asker;
mod authority;
mod token;

use std::fmt;

use filefleet_shared::config::Secret;
use reqwest::Url;

use super::transport;
pub(crate) use authority::Authority;
pub(crate) use token::{Token, Tokens};

/// Where applications ask for tokens.
pub(crate) const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";
/// Where virtual machines and pods of Azure ask for tokens: an address that only they can reach.
pub(crate) const MACHINE_AUTHORITY: &str = "http://169.254.169.254";
/// What tokens for Azure OpenAI, Document Intelligence and Vision are for.
pub(crate) const COGNITIVE_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// What tokens for AI Search are for.
pub(crate) const SEARCH_SCOPE: &str = "https://search.azure.com/.default";

/// Who asks for tokens, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraConfig {
    /// Path of the key in the configuration, for errors.
    pub key: String,
    /// Who asks.
    pub identity: Identity,
    /// Where, if not at the usual place.
    pub authority: Option<Url>,
}

/// Who asks for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// An application with a secret.
    Secret {
        /// Id or domain of the directory.
        tenant: String,
        /// Id of the application.
        client_id: String,
        /// Its secret.
        secret: Secret,
    },
    /// The machine, pod or app itself.
    Managed {
        /// Which of its identities, if it has several.
        client_id: Option<String>,
    },
    /// A pod of Kubernetes, by the token that is mounted into it.
    Workload {
        /// If not what the environment says.
        tenant: Option<String>,
        /// If not what the environment says.
        client_id: Option<String>,
    },
}

/// Why nobody can be asked for tokens.
#[derive(Debug, thiserror::Error)]
pub enum EntraError {
    /// The pod was not given an identity.
    #[error(
        "{key}: the environment variable {variable} is not set: give the pod the label \
         azure.workload.identity/use and a service account with an identity, or write {instead}"
    )]
    Unset {
        /// Path of the key in the configuration.
        key: String,
        /// The variable.
        variable: &'static str,
        /// What can be said in the configuration.
        instead: &'static str,
    },
    /// A place that cannot be asked.
    #[error("{key}: {place} {why}")]
    Place {
        /// Path of the key in the configuration.
        key: String,
        /// Which variable of the environment.
        place: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// The environment, or what a test has for it.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The address of an authority; what stays on this machine may be unencrypted, and what gives
/// machines their tokens on their link.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn authority(text: &str, of_machine: bool) -> Result<Url, String> {
    let url = transport::address(text, "the rest of the address is added")?;
    let here = transport::is_loopback(&url) || (of_machine && stays_here(&url));
    if url.scheme() == "http" && !here {
        return Err("would send a secret unencrypted over the network; use https://".to_owned());
    }
    Ok(url)
}

/// On this machine, or on its link, where Azure answers machines and apps.
fn stays_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let on_link = |ip: std::net::Ipv4Addr| ip.is_link_local();
    transport::is_loopback(url) || host.parse().is_ok_and(on_link)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { client_id, .. } => write!(f, "application {client_id}"),
            Self::Managed { client_id: None } => f.write_str("managed identity"),
            Self::Managed {
                client_id: Some(id),
            } => write!(f, "managed identity {id}"),
            Self::Workload { .. } => f.write_str("workload identity"),
        }
    }
}

#[cfg(test)]
mod tests;
