//! Where a service is, and which addresses are still its own.

use reqwest::Url;

use crate::service::transport;

/// The base URL of a service. Every address made here is on its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    base: Url,
}

/// An address that is not made, in words without the address.
pub(crate) type Refused = &'static str;

impl Address {
    /// Reads a base URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let base = transport::address(text, "a step has `query` for it")?;
        Ok(Self { base })
    }

    /// The base URL.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A key sent there could be read on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        transport::is_exposed(&self.base)
    }

    /// The address of a path below the base. What has a meaning in URLs is escaped, so a file's
    /// name can add to the path and to nothing else.
    pub(crate) fn below(&self, path: &str) -> Result<Url, Refused> {
        if path.is_empty() {
            return Ok(self.base.clone());
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("a part of the path is `.` or `..`");
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| "the endpoint has no path")?
            .pop_if_empty()
            .extend(path.split('/'));
        Ok(url)
    }

    /// The path and query of an address that the answer to `request` names, if it is on this
    /// service's host: elsewhere the key must not go, and messages name no endpoint.
    pub(crate) fn relative(&self, request: &Url, named: &str) -> Result<String, Refused> {
        let url = request.join(named).map_err(|_| "it is no address")?;
        if !self.owns(&url) {
            return Err("it is on another host");
        }
        Ok(match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        })
    }

    /// The address of what [`relative`](Self::relative) gave; none of anything else.
    pub(crate) fn absolute(&self, relative: &str) -> Option<Url> {
        let url = self.base.join(relative).ok()?;
        (relative.starts_with('/') && self.owns(&url)).then_some(url)
    }

    fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address::parse("https://ner.example.com/v2/").unwrap()
    }

    #[test]
    fn paths_are_added_and_cannot_leave_the_host_or_become_a_query() {
        let below = |path: &str| address().below(path).map(String::from);
        let base = "https://ner.example.com/v2";
        assert_eq!(below("").unwrap(), format!("{base}/"));
        for (path, expected) in [
            ("people", "/people"),
            ("/people:find", "/people:find"),
            ("a/b c/", "/a/b%20c/"),
            ("a?x=1#y", "/a%3Fx=1%23y"),
            ("//evil.example.com/x", "//evil.example.com/x"),
            ("https://evil.example.com", "/https://evil.example.com"),
            ("%2e%2e/x", "/%252e%252e/x"),
            ("a\\..\\b", "/a%5C..%5Cb"),
        ] {
            assert_eq!(below(path).unwrap(), format!("{base}{expected}"), "{path}");
        }
        for path in ["..", "a/../../b", "./a", "a/."] {
            assert!(below(path).is_err(), "{path}");
        }
    }

    #[test]
    fn an_operation_is_kept_without_its_host_and_refused_on_another() {
        let request = Url::parse("https://ner.example.com/v2/jobs").unwrap();
        let relative = |named: &str| address().relative(&request, named);
        for (named, kept) in [
            ("https://ner.example.com:443/ops/1?v=2#x", "/ops/1?v=2"),
            ("/ops/1", "/ops/1"),
            ("ops/1", "/v2/ops/1"),
        ] {
            assert_eq!(relative(named).unwrap(), kept);
            let url = address().absolute(kept).unwrap();
            assert_eq!(url.host_str(), Some("ner.example.com"));
        }
        for named in [
            "https://evil.example.com/ops/1",
            "http://ner.example.com/ops/1",
            "https://ner.example.com:8443/ops/1",
            "//evil.example.com/ops",
            "https://user@ner.example.com/ops/1",
        ] {
            assert_eq!(relative(named), Err("it is on another host"), "{named}");
        }
        for state in [
            "//evil.example.com/x",
            "https://evil.example.com/x",
            "ops/1",
            "/\\evil.com/",
        ] {
            assert_eq!(address().absolute(state), None, "{state}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for text in ["ner", "ftp://x", "https://u:p@x", "https://x/?a=1"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        assert!(Address::parse("http://ner:80").unwrap().is_exposed());
        assert!(!Address::parse("http://localhost").unwrap().is_exposed());
    }
}
