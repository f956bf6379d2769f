//! `entra = { .. }`: tokens of Microsoft Entra ID in place of a key.

use filefleet_shared::config::Section;

use crate::service::entra::{EntraConfig, Identity, authority};

/// Reads the identity of a service, which has that or a key.
pub(super) fn read(service: &mut Section<'_>) -> Option<EntraConfig> {
    let key = service.path_of("entra");
    let mut section = service.opt_section("entra")?;
    if service.has("key") {
        service.error("entra", "write either `key` or `entra`");
    }
    let managed = section.opt_bool("managed_identity").unwrap_or(false);
    let workload = section.opt_bool("workload_identity").unwrap_or(false);
    let tenant = section.opt_string("tenant");
    let client_id = section.opt_string("client_id");
    let secret = section.opt_secret("client_secret");
    let place = section.opt_string("authority");
    let has_secret = section.has("client_secret");
    let identity = match (managed, workload, has_secret) {
        (true, false, false) => {
            if section.has("tenant") {
                section.error("tenant", "a managed identity has its own");
            }
            Some(Identity::Managed { client_id })
        }
        (false, true, false) => Some(Identity::Workload { tenant, client_id }),
        (false, false, true) => {
            section.require("tenant");
            section.require("client_id");
            tenant
                .zip(client_id)
                .zip(secret)
                .map(|((tenant, client_id), secret)| Identity::Secret {
                    tenant,
                    client_id,
                    secret,
                })
        }
        _ => {
            let message = "write one of `client_secret`, `managed_identity = true` and \
                           `workload_identity = true`";
            service.error("entra", message);
            None
        }
    };
    let authority = place.map(|place| authority(&place, managed));
    let authority = authority
        .transpose()
        .map_err(|message| section.error("authority", message));
    section.finish();
    Some(EntraConfig {
        key,
        identity: identity?,
        authority: authority.ok()?,
    })
}
