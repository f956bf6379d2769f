//! Bodies of answers: whole ones, and those that break.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::stream;
use tokio::time::sleep;

use crate::chance::Fault;

/// A body that ends with the connection. Of an empty one not even the head is sent, because
/// the server finds the error before it writes.
pub(crate) fn broken(start: Bytes) -> Body {
    let stream = stream::unfold(Some(start), |start| async move {
        let start = start?;
        Some(if start.is_empty() {
            (Err(io::Error::other("the service is down")), None)
        } else {
            (Ok(start), None)
        })
    });
    let end = stream::once(async { Err(closed().await) });
    Body::from_stream(futures_util::StreamExt::chain(stream, end))
}

/// The error that closes a connection, after what was written before it has left.
pub(crate) async fn closed() -> io::Error {
    sleep(Duration::from_millis(1)).await;
    io::Error::other("the connection breaks")
}

/// What a fault makes of the body of an answer that is paid all the same.
pub(crate) fn damaged(mut body: Vec<u8>, fault: Option<Fault>, headers: &mut HeaderMap) -> Body {
    match fault {
        Some(Fault::Reset) => {
            // The length of the whole, so that the client knows that it misses something. With a
            // length of nothing the head alone would be a whole answer.
            if !body.is_empty() {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            body.truncate(body.len() / 2);
            broken(Bytes::from(body))
        }
        Some(Fault::Malformed) => {
            body.truncate(body.len() / 2);
            Body::from(body)
        }
        _ => Body::from(body),
    }
}

/// An answer of JSON.
pub(crate) fn respond(status: StatusCode, mut headers: HeaderMap, body: Body) -> Response {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
