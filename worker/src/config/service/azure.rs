//! `kind = "docintel"`, `"vision"` and `"search"`: a resource of Azure AI services.

use filefleet_shared::config::{Secret, Section};

use super::{EXPOSED, ServiceKind, entra};
use crate::service::{azure::Endpoint, docintel, entra::EntraConfig, search, vision};

/// What a service of kind `docintel`, `vision` or `search` has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureConfig {
    /// Where it is, and the version of its interface.
    pub endpoint: Endpoint,
    /// Its key; containers on premises need none.
    pub key: Option<Secret>,
    /// Who asks for tokens in place of a key.
    pub entra: Option<EntraConfig>,
}

pub(super) fn read_docintel(section: &mut Section<'_>) -> Option<ServiceKind> {
    read(section, docintel::API_VERSION).map(ServiceKind::DocIntel)
}

pub(super) fn read_vision(section: &mut Section<'_>) -> Option<ServiceKind> {
    read(section, vision::API_VERSION).map(ServiceKind::Vision)
}

pub(super) fn read_search(section: &mut Section<'_>) -> Option<ServiceKind> {
    read(section, search::API_VERSION).map(ServiceKind::Search)
}

fn read(section: &mut Section<'_>, default_version: &str) -> Option<AzureConfig> {
    let address = section.string("endpoint");
    let version = section.opt_string("api_version");
    let key = section.opt_secret("key");
    let entra = entra::read(section);
    let insecure = section.opt_bool("insecure").unwrap_or(false);
    let version = version.as_deref().unwrap_or(default_version);
    let endpoint = Endpoint::parse(&address?, version)
        .map_err(|message| section.error("endpoint", message))
        .ok()?;
    if (key.is_some() || entra.is_some()) && !insecure && endpoint.is_exposed() {
        section.error("endpoint", EXPOSED);
    }
    Some(AzureConfig {
        endpoint,
        key,
        entra,
    })
}
