//! What a program says, and what its end means.

use std::{os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::RunConfig;
use crate::service::{CallError, detail::shortened};

/// How much of standard error is kept, from its end.
const KEPT: usize = 4096;

/// What a program's standard output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Text.
    #[default]
    Text,
    /// JSON.
    Json,
}

/// What an exit code above 0 means that is not among `fail_codes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherCodes {
    /// The file has failed.
    #[default]
    Fail,
    /// Try again.
    Retry,
}

/// A program that has ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    pub(super) said: Said,
}

/// The last line of standard error, without the place it ran in.
pub(super) struct Said(String);

impl Said {
    pub(super) fn new(stderr: &[u8], folder: &Path) -> Self {
        let text = String::from_utf8_lossy(stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        let folder = folder.to_string_lossy();
        Self(shortened(&last.unwrap_or_default().replace(&*folder, "")))
    }
}

impl Ended {
    /// The step's output.
    ///
    /// # Errors
    /// It failed, was killed, or wrote something else than it should.
    pub(super) fn judge(self, config: &RunConfig) -> Result<Value, CallError> {
        match self.status.code() {
            Some(0) => {}
            Some(code) => {
                let detail = match self.said.0.as_str() {
                    "" => format!("exit code {code}"),
                    said => format!("exit code {code}: {said}"),
                };
                let fails = config.fail_codes.contains(&code);
                return Err(if fails || config.other_codes == OtherCodes::Fail {
                    CallError::rejected("command_failed", detail)
                } else {
                    CallError::Overloaded {
                        retry_after: None,
                        detail,
                    }
                });
            }
            None => {
                let signal = self.status.signal().unwrap_or_default();
                return Err(CallError::Overloaded {
                    retry_after: None,
                    detail: format!("ended by signal {signal}"),
                });
            }
        }
        match config.output {
            Output::Text => {
                let text = String::from_utf8(self.output);
                let text = text.map_err(|_| {
                    CallError::rejected("output_not_text", "the output is not UTF-8")
                })?;
                Ok(json!({ "text": text }))
            }
            Output::Json => serde_json::from_slice(&self.output).map_err(|error| {
                CallError::rejected("output_not_json", format!("the output is no JSON: {error}"))
            }),
        }
    }
}

/// Reads to the end.
///
/// # Errors
/// There is more than `limit` bytes.
pub(super) async fn read_whole(
    stream: impl AsyncRead + Unpin,
    limit: usize,
) -> Result<Vec<u8>, CallError> {
    let mut output = Vec::new();
    let mut bounded = stream.take((limit as u64).saturating_add(1));
    let read = bounded.read_to_end(&mut output).await;
    if output.len() > limit {
        let detail = format!("more than {limit} bytes (max_output_bytes)");
        return Err(CallError::rejected("output_too_large", detail));
    }
    read.map(|_| output).map_err(|error| CallError::Overloaded {
        retry_after: None,
        detail: format!("cannot read the output: {}", error.kind()),
    })
}

/// Reads to the end and gives the last bytes, as much as is worth keeping.
pub(super) async fn read_end(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::with_capacity(2 * KEPT);
    let mut chunk = [0; KEPT];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
    kept
}
