//! Where a resource is, and which version of its interface is spoken.

use reqwest::Url;

use crate::service::transport::{self, VERSIONED, address};

/// A validated endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: Url,
    api_version: String,
}

impl Endpoint {
    /// Reads an endpoint as people write it: with or without a slash or the service's path.
    ///
    /// # Errors
    /// Why it is no address.
    pub fn parse(text: &str, api_version: &str) -> Result<Self, String> {
        let mut base = address(text, VERSIONED)?;
        let full = base.path().to_owned();
        let mut path = full.trim_end_matches('/');
        // `/v1` is at the end of a simulator's address.
        for known in [
            "/v1",
            "/documentintelligence",
            "/computervision",
            "/indexes",
        ] {
            path = path.strip_suffix(known).unwrap_or(path);
        }
        base.set_path(path);
        Ok(Self {
            base,
            api_version: api_version.to_owned(),
        })
    }

    /// The same version of the interface, spoken by the simulator at `base`.
    ///
    /// # Errors
    /// `base` is no address.
    pub fn rehearsed(&self, base: &str) -> Result<Self, String> {
        Self::parse(base, &self.api_version)
    }

    /// The address without the path of a call.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A key sent there could be read on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        transport::is_exposed(&self.base)
    }

    /// The address of a call.
    pub(crate) fn url(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.query_pairs_mut()
            .append_pair("api-version", &self.api_version)
            .extend_pairs(query);
        // The services' own clients send the commas of a list as they are.
        let query = url.query().map(|query| query.replace("%2C", ","));
        url.set_query(query.as_deref());
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_as_people_write_them() {
        for text in [
            "https://x.cognitiveservices.azure.com",
            "https://x.cognitiveservices.azure.com/",
            "https://x.cognitiveservices.azure.com/documentintelligence/",
            "https://x.cognitiveservices.azure.com/computervision",
        ] {
            let endpoint = Endpoint::parse(text, "2024-11-30").unwrap();
            let url = endpoint.url(&["documentintelligence", "a:b"], &[]);
            let expected = "https://x.cognitiveservices.azure.com/documentintelligence/a:b?api-version=2024-11-30";
            assert_eq!(url.as_str(), expected, "{text}");
        }
        let gateway = Endpoint::parse("https://gate/ai/", "1").unwrap();
        assert_eq!(
            gateway.url(&["p"], &[]).as_str(),
            "https://gate/ai/p?api-version=1"
        );
        let simulated = gateway.rehearsed("http://127.0.0.1:9/v1").unwrap();
        assert_eq!(
            simulated.url(&["p"], &[]).as_str(),
            "http://127.0.0.1:9/p?api-version=1"
        );
        assert!(Endpoint::parse("x.cognitiveservices.azure.com", "1").is_err());
    }

    #[test]
    fn lists_keep_their_commas_and_nothing_breaks_out_of_its_parameter() {
        let endpoint = Endpoint::parse("https://h", "1").unwrap();
        let query = [
            ("features", "a,b".to_owned()),
            ("q", "x&y=z #%2C".to_owned()),
        ];
        let url = endpoint.url(&[], &query);
        assert_eq!(
            url.query(),
            Some("api-version=1&features=a,b&q=x%26y%3Dz+%23%252C")
        );
    }
}
