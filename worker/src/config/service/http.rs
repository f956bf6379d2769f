//! `kind = "http"`: a service that nobody here knows, described by its steps.

use filefleet_shared::config::{Secret, Section};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::{EXPOSED, ServiceKind};
use crate::service::http::Address;

/// What a service of kind `http` has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Its base URL.
    pub address: Address,
    /// Its key, if it wants one.
    pub key: Option<Secret>,
    /// The header that carries the key.
    pub key_header: HeaderName,
    /// What stands before the key, a space included.
    pub key_prefix: String,
    /// Headers of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Headers that HTTP itself sets.
const OWN: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn read(section: &mut Section<'_>) -> Option<ServiceKind> {
    let endpoint = section.string("endpoint");
    let key = section.opt_secret("key");
    let key_header = section.opt_string("key_header");
    let key_prefix = section.opt_text("key_prefix");
    let headers = read_headers(section);
    let insecure = section.opt_bool("insecure").unwrap_or(false);
    for used in ["key_header", "key_prefix"] {
        if section.has(used) && !section.has("key") {
            section.error(used, "is of no use without `key`");
        }
    }
    let key_header = match key_header.as_deref().map(header_name) {
        None => AUTHORIZATION,
        Some(Ok(name)) => name,
        Some(Err(message)) => {
            section.error("key_header", message);
            AUTHORIZATION
        }
    };
    let address = Address::parse(&endpoint?)
        .map_err(|message| section.error("endpoint", message))
        .ok()?;
    if key.is_some() && !insecure && address.is_exposed() {
        section.error("endpoint", EXPOSED);
    }
    let bearer = if key_header == AUTHORIZATION {
        "Bearer"
    } else {
        ""
    };
    let key_prefix = match key_prefix.as_deref().unwrap_or(bearer).trim() {
        "" => String::new(),
        prefix => format!("{prefix} "),
    };
    Some(ServiceKind::Http(HttpConfig {
        address,
        key,
        key_header,
        key_prefix,
        headers,
    }))
}

fn read_headers(section: &mut Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in section.opt_text_table("headers").unwrap_or_default() {
        let read = header_name(&name).and_then(|header| {
            if is_secret(&header) {
                return Err(format!(
                    "{name:?} carries a secret: use `key` and `key_header`"
                ));
            }
            let value = HeaderValue::try_from(value)
                .map_err(|_| format!("the value of {name:?} cannot be sent in a header"))?;
            Ok((header, value))
        });
        match read {
            Ok(header) => headers.push(header),
            Err(message) => section.error("headers", message),
        }
    }
    headers
}

/// A header that a configuration may set.
pub(in crate::config) fn header_name(name: &str) -> Result<HeaderName, String> {
    let header =
        HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a header's name"))?;
    if OWN.contains(&header.as_str()) {
        return Err(format!("{name:?} is set by HTTP itself"));
    }
    Ok(header)
}

fn is_secret(header: &HeaderName) -> bool {
    let name = header.as_str();
    let known = ["authorization", "proxy-authorization", "cookie"];
    let ends = ["api-key", "apikey", "subscription-key"];
    known.contains(&name) || ends.iter().any(|end| name.ends_with(end))
}
