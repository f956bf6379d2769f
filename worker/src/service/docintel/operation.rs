//! Operations that the service has accepted, by their ids.

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName},
};
use serde_json::Value;

use crate::service::CallError;

const LOCATION: HeaderName = HeaderName::from_static("operation-location");

/// The id of the operation that an acceptance names.
///
/// Only the id is kept: an address from an answer is never called, since the key would go there.
///
/// # Errors
/// `Malformed` if there is none, or one of another host or shape.
pub(super) fn id(headers: &HeaderMap, base: &Url) -> Result<String, CallError> {
    let malformed = |what: &str| CallError::Malformed(format!("Operation-Location {what}"));
    let text = headers
        .get(LOCATION)
        .ok_or_else(|| malformed("is missing"))?
        .to_str()
        .map_err(|_| malformed("is not text"))?;
    let url = Url::parse(text).map_err(|_| malformed("is not a URL"))?;
    if url.host_str() != base.host_str() {
        return Err(malformed("names another host"));
    }
    let mut segments = url.path_segments().into_iter().flatten().rev();
    let id = segments.next().filter(|id| is_id(id));
    match (id, segments.next()) {
        (Some(id), Some("analyzeResults")) => Ok(id.to_owned()),
        _ => Err(malformed("has no id of a result")),
    }
}

/// The id in a continuation.
///
/// # Errors
/// `Rejected` if it is none: a message must not say where a request goes.
pub(super) fn known(state: &Value) -> Result<&str, CallError> {
    let id = state.as_str().filter(|id| is_id(id));
    id.ok_or_else(|| CallError::rejected("unknown_operation", "not the id of an operation"))
}

/// A UUID in practice; nothing that could be another path.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    const ID: &str = "36f78948-f0d2-4cee-8565-0416f0a84961";

    fn id_in(location: &str) -> Result<String, CallError> {
        let value = HeaderValue::try_from(location).unwrap();
        let base = Url::parse("https://x.example/").unwrap();
        id(&HeaderMap::from_iter([(LOCATION, value)]), &base)
    }

    #[test]
    fn an_acceptance_names_its_operation() {
        let at = format!(
            "https://x.example/documentintelligence/documentModels/m/analyzeResults/{ID}?api-version=1"
        );
        assert_eq!(id_in(&at).unwrap(), ID);
    }

    #[test]
    fn another_host_or_shape_is_malformed() {
        let wrong = [
            format!("https://y.example/documentModels/m/analyzeResults/{ID}"),
            format!("/documentModels/m/analyzeResults/{ID}"),
            format!("https://x.example/documentModels/m/analyzeBatchResults/{ID}"),
            "https://x.example/documentModels/m/analyzeResults/".to_owned(),
            "https://x.example/documentModels/m/analyzeResults/a%2Fb".to_owned(),
            "https://x.example".to_owned(),
            String::new(),
        ];
        for location in wrong {
            let result = id_in(&location);
            assert!(matches!(result, Err(CallError::Malformed(_))), "{location}");
        }
        let base = Url::parse("https://x.example/").unwrap();
        let missing = id(&HeaderMap::new(), &base);
        assert!(matches!(missing, Err(CallError::Malformed(_))));
    }

    #[test]
    fn a_continuation_cannot_lead_elsewhere() {
        assert_eq!(known(&Value::from(ID)).unwrap(), ID);
        for state in [
            Value::from("../../x"),
            Value::from(""),
            Value::Null,
            Value::from(7),
        ] {
            let refused = known(&state);
            assert!(
                matches!(refused, Err(CallError::Rejected { .. })),
                "{state}"
            );
        }
    }
}
