//! HTTP as every service needs it: clients without retries, bounded bodies, errors named.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use filefleet_shared::wire::StepMessage;
use reqwest::{
    Client, Response, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};

use secrecy::{ExposeSecret, SecretString};

use super::CallError;

/// Names the step in requests, so that a simulator can count who is paid twice.
pub(crate) const TASK: HeaderName = HeaderName::from_static("x-filefleet-task");

/// The most of an answer that is read; a longer one is not an answer.
pub(crate) const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Builds a client that connects within `connect_timeout` and keeps as many connections as calls.
///
/// The worker owns retries and the total deadline, so the client has neither.
pub(crate) fn client(
    url: &Url,
    in_flight: usize,
    connect_timeout: Duration,
) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("filefleet/", env!("CARGO_PKG_VERSION")))
        // A redirect could carry the key to another host.
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(in_flight)
        // One HTTP/2 connection takes about 100 streams and silently queues the rest.
        .http1_only();
    if is_loopback(url) {
        return builder.no_proxy().build();
    }
    builder.build()
}

/// Whether the URL's host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The base of an endpoint as people write it; `instead` says what stands for a query.
///
/// # Errors
/// Why it is none.
pub(crate) fn address(text: &str, instead: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim())
        .map_err(|error| format!("is not a URL ({error}); write it like https://HOST"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("must start with https:// or http:// and name a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not have a user or password in it; set `key`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must not have a query; {instead}"));
    }
    Ok(url)
}

/// What stands for a query in the address of a service with versions.
pub(crate) const VERSIONED: &str = "an API version goes into `api_version`";

/// A key sent there could be read on the way.
pub(crate) fn is_exposed(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}

/// The value of [`TASK`].
pub(crate) fn task(message: &StepMessage) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{}/{}:{}", message.run, message.seq, message.step)).ok()
}

/// The same for a question that follows an answer, which is paid for itself.
pub(crate) fn task_again(message: &StepMessage) -> Option<HeaderValue> {
    let StepMessage { run, seq, step, .. } = message;
    HeaderValue::try_from(format!("{run}/{seq}:{step}+again")).ok()
}

/// What a server says about a refused key can repeat the key.
pub(crate) fn without_key(body: &[u8], key: Option<&SecretString>) -> String {
    let text = String::from_utf8_lossy(body);
    match key {
        Some(key) => text.replace(key.expose_secret(), "[key]"),
        None => text.into_owned(),
    }
}

/// Reads a body up to [`MAX_ANSWER_BYTES`].
pub(crate) async fn read_body(response: Response) -> Result<Bytes, CallError> {
    let too_long = || CallError::Malformed(format!("longer than {MAX_ANSWER_BYTES} bytes"));
    read_up_to(response, MAX_ANSWER_BYTES, too_long).await
}

/// Reads a body up to `limit` bytes.
pub(crate) async fn read_up_to(
    mut response: Response,
    limit: usize,
    too_long: impl Fn() -> CallError,
) -> Result<Bytes, CallError> {
    let announced = response.content_length().unwrap_or_default();
    let announced = usize::try_from(announced).map_err(|_| too_long())?;
    if announced > limit {
        return Err(too_long());
    }
    let mut body = BytesMut::with_capacity(announced);
    // Nothing is decoded here, so whatever the client calls it, the connection broke.
    let broken = |error| CallError::Timeout(chain(&error));
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Names what went wrong between here and the service.
#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` takes")]
pub(crate) fn failure(error: reqwest::Error) -> CallError {
    let detail = chain(&error);
    if error.is_connect() {
        CallError::Unreachable(detail)
    } else if error.is_builder() {
        CallError::Misconfigured(detail)
    } else if error.is_decode() && !error.is_timeout() {
        CallError::Malformed(detail)
    } else {
        // The request may have been read and answered: it may have been paid.
        CallError::Timeout(detail)
    }
}

/// What the service asks to wait, if it asks for a positive time.
///
/// `retry-after-ms` is the most precise, then `retry-after` in seconds or as a date, then Azure's
/// other spelling. Zero, negative and unreadable values are known from the field: they mean nothing.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok();
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    let date = || {
        httpdate::parse_http_date(text("retry-after")?)
            .ok()?
            .duration_since(now)
            .ok()
    };
    let positive = |wait: &Duration| !wait.is_zero();
    number("retry-after-ms")
        .and_then(|millis| seconds(millis / 1000.0))
        .filter(positive)
        .or_else(|| number("retry-after").and_then(seconds).filter(positive))
        .or_else(|| date().filter(positive))
        .or_else(|| {
            let millis = number("x-ms-retry-after-ms")?;
            seconds(millis / 1000.0).filter(positive)
        })
}

/// The error with its causes, without the URL, which can have a key in its query.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timed out".to_owned()
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the connection failed".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn wait(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        // One minute before the dates below.
        retry_after(&headers, UNIX_EPOCH + Duration::from_secs(784_111_717))
    }

    #[test]
    fn the_most_precise_positive_time_is_taken() {
        let seconds = |s: f64| Some(Duration::from_secs_f64(s));
        assert_eq!(wait(&[]), None);
        assert_eq!(
            wait(&[("retry-after-ms", "1500"), ("retry-after", "9")]),
            seconds(1.5)
        );
        assert_eq!(
            wait(&[("retry-after-ms", "0"), ("retry-after", "9")]),
            seconds(9.0)
        );
        assert_eq!(wait(&[("retry-after", "0.25")]), seconds(0.25));
        assert_eq!(wait(&[("retry-after", "86400")]), seconds(86400.0));
        assert_eq!(
            wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]),
            seconds(60.0)
        );
        assert_eq!(
            wait(&[("retry-after", "Sun, 06 Nov 1994 08:40:00 GMT")]),
            None
        );
        assert_eq!(wait(&[("x-ms-retry-after-ms", "250")]), seconds(0.25));
        for nothing in ["0", "-1", "soon", "", "nan", "inf", "-inf", "1e300"] {
            assert_eq!(wait(&[("retry-after", nothing)]), None, "{nothing}");
            assert_eq!(wait(&[("retry-after-ms", nothing)]), None, "{nothing}");
        }
    }

    #[test]
    fn this_machine_is_recognised() {
        let loopback = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(loopback("http://localhost:1/v1"));
        assert!(loopback("http://127.0.0.1:8080"));
        assert!(loopback("http://[::1]:8080"));
        assert!(!loopback("http://10.0.0.1"));
        assert!(!loopback("http://localhost.example.com"));
    }
}
