//! What stands under a key of the journal: a line with the digest of the rest, and the rest.

use bytes::Bytes;
use filefleet_shared::{time::UnixMillis, wire::Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::service::Identity;

/// The beginning of every entry; what begins otherwise is none of this version.
const HEAD: &str = "filefleet-journal 1 ";
/// Length of the first line.
const HEAD_BYTES: usize = HEAD.len() + 64 + 1;

/// What is known about a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Entry {
    /// It was answered.
    Answer {
        /// The step's output.
        output: Value,
        /// What was used for it.
        usage: Usage,
        /// When it was kept.
        at: UnixMillis,
    },
    /// It was accepted, and so paid: the service works on it, or has by now.
    Accepted {
        /// What the service calls the operation.
        state: Value,
        /// Which of the service's deployments has it, where it has several.
        deployment: Option<String>,
        /// The step of the file that it was begun for.
        owner: String,
        /// When it was accepted.
        at: UnixMillis,
    },
    /// What was accepted came to nothing.
    Lost {
        /// When that was seen.
        at: UnixMillis,
    },
}

/// The rest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<E> {
    /// The key it stands under: a copy of it elsewhere is no entry.
    key: String,
    entry: E,
}

impl Entry {
    /// Its bytes under a key.
    ///
    /// # Errors
    /// The output has no JSON text.
    pub(crate) fn encode(&self, key: Identity) -> Result<Bytes, serde_json::Error> {
        let mut content = vec![b' '; HEAD_BYTES];
        let body = Body {
            key: key.to_string(),
            entry: self,
        };
        serde_json::to_writer(&mut content, &body)?;
        let head = head(&content[HEAD_BYTES..]);
        content[..HEAD_BYTES].copy_from_slice(head.as_bytes());
        Ok(content.into())
    }

    /// Reads what stands under a key.
    ///
    /// # Errors
    /// Why it is no entry of this key.
    pub(crate) fn decode(key: Identity, content: &[u8]) -> Result<Self, &'static str> {
        let (found, body) = content
            .split_at_checked(HEAD_BYTES)
            .ok_or("it is too short")?;
        if !found.starts_with(HEAD.as_bytes()) {
            return Err("it is of another kind or version");
        }
        if found != head(body).as_bytes() {
            return Err("its digest is another one");
        }
        let body: Body<Self> = serde_json::from_slice(body).map_err(|_| "it is no entry")?;
        if body.key != key.to_string() {
            return Err("it is of another request");
        }
        Ok(body.entry)
    }
}

/// The first line before a body.
fn head(body: &[u8]) -> String {
    format!("{HEAD}{}\n", Identity::of([body]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Identity {
        Identity::of([name.as_bytes()])
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let at = UnixMillis(7);
        let usage = Usage {
            calls: 1,
            input_tokens: 5,
            ..Usage::default()
        };
        let output = json!({"content": "ü\n", "n": 0.1});
        let state = json!("id");
        for entry in [
            Entry::Answer { output, usage, at },
            Entry::Accepted {
                state,
                deployment: Some("east".to_owned()),
                owner: "run/1/read".to_owned(),
                at,
            },
            Entry::Lost { at },
        ] {
            let content = entry.encode(key("a")).unwrap();
            assert_eq!(Entry::decode(key("a"), &content), Ok(entry));
        }
    }

    #[test]
    fn what_is_damaged_cut_or_under_another_key_is_no_entry() {
        let entry = Entry::Lost { at: UnixMillis(7) };
        let content = entry.encode(key("a")).unwrap();
        assert!(Entry::decode(key("b"), &content).is_err());
        assert!(Entry::decode(key("a"), b"").is_err());
        assert!(Entry::decode(key("a"), b"{}").is_err());
        for cut in 0..content.len() {
            assert!(Entry::decode(key("a"), &content[..cut]).is_err(), "{cut}");
            let mut damaged = content.to_vec();
            damaged[cut] ^= 1;
            assert!(Entry::decode(key("a"), &damaged).is_err(), "{cut}");
        }
    }
}
