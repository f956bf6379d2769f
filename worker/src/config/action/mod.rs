//! What a step asks of its service: one table, one file per action.

mod chat;
mod embed;
mod fields;
mod index;
mod look;
mod poll;
mod query;
mod read;
mod request;
mod run;

use std::sync::Arc;

use filefleet_shared::config::Section;

use super::service::ServiceKind;
use crate::service::{
    Prompt,
    command::RunConfig,
    docintel::ReadConfig,
    http::{Body, RequestConfig},
    openai::{ChatConfig, EmbedConfig},
    search::{IndexConfig, QueryConfig},
    vision::LookConfig,
};

/// What a step asks of its service.
#[derive(Clone, Debug)]
pub enum Action {
    /// `chat`, of kind `openai`.
    Chat(ChatConfig),
    /// `embed`, of kind `openai`.
    Embed(EmbedConfig),
    /// `read`, of kind `docintel`.
    Read(ReadConfig),
    /// `look`, of kind `vision`.
    Look(LookConfig),
    /// `index`, of kind `search`.
    Index(Box<IndexConfig>),
    /// `query`, of kind `search`.
    Query(Box<QueryConfig>),
    /// `request`, of kind `http`.
    Request(Box<RequestConfig>),
    /// `run`, of kind `command`.
    Run(RunConfig),
}

impl Action {
    /// The model it names, by which a service can price it.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::Chat(chat) => Some(&chat.model),
            Self::Embed(embed) => Some(&embed.model),
            Self::Read(read) => Some(&read.model),
            Self::Look(_) | Self::Index(_) | Self::Query(_) | Self::Request(_) | Self::Run(_) => {
                None
            }
        }
    }

    /// The same request can be answered from the journal, unless its step says otherwise: it
    /// changes nothing, and its answer does not go by the time.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Chat(_) | Self::Embed(_) | Self::Read(_) | Self::Look(_) => true,
            Self::Index(_) | Self::Query(_) | Self::Request(_) | Self::Run(_) => false,
        }
    }

    /// Why its answers cannot be kept in the journal, if so.
    pub(super) fn is_never_kept(&self) -> Option<&'static str> {
        match self {
            Self::Index(_) => Some("an answer from the journal would write nothing to the index"),
            Self::Request(request) if matches!(request.body, Body::Form(_)) => {
                Some("no two forms are the same request; send the file as `bytes` or `base64`")
            }
            _ => None,
        }
    }

    /// The same, of another model, where it names one.
    pub(crate) fn with_model(&self, model: &str) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Chat(chat) => model.clone_into(&mut chat.model),
            Self::Embed(embed) => model.clone_into(&mut embed.model),
            Self::Read(read) => model.clone_into(&mut read.model),
            Self::Look(_) | Self::Index(_) | Self::Query(_) | Self::Request(_) | Self::Run(_) => {}
        }
        other
    }

    /// The key of its table.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Chat(_) => "chat",
            Self::Embed(_) => "embed",
            Self::Read(_) => "read",
            Self::Look(_) => "look",
            Self::Index(_) => "index",
            Self::Query(_) => "query",
            Self::Request(_) => "request",
            Self::Run(_) => "run",
        }
    }
}

/// One action in a configuration.
struct Entry {
    key: &'static str,
    /// Word of the kind of services that offer it.
    kind: &'static str,
    /// Reads its table, given the names of the steps before.
    read: fn(Section<'_>, &[String]) -> Option<Action>,
}

const ENTRIES: &[Entry] = &[
    Entry {
        key: "chat",
        kind: "openai",
        read: chat::read,
    },
    Entry {
        key: "embed",
        kind: "openai",
        read: embed::read,
    },
    Entry {
        key: "read",
        kind: "docintel",
        read: read::read,
    },
    Entry {
        key: "look",
        kind: "vision",
        read: look::read,
    },
    Entry {
        key: "index",
        kind: "search",
        read: index::read,
    },
    Entry {
        key: "query",
        kind: "search",
        read: query::read,
    },
    Entry {
        key: "request",
        kind: "http",
        read: request::read,
    },
    Entry {
        key: "run",
        kind: "command",
        read: run::read,
    },
];

/// Reads the one action of a step. `kind` is none if the step's service is wrong.
pub(super) fn read(
    section: &mut Section<'_>,
    kind: Option<&ServiceKind>,
    earlier: &[String],
) -> Option<Action> {
    let offered = |entry: &&Entry| kind.is_none_or(|kind| kind.word() == entry.kind);
    let asked: Vec<&Entry> = ENTRIES
        .iter()
        .filter(|entry| section.has(entry.key))
        .collect();
    let mut action = None;
    for entry in &asked {
        let table = section.opt_section(entry.key);
        if let (Some(kind), false) = (kind, offered(entry)) {
            let message = format!("is not offered by a service of kind {:?}", kind.word());
            section.error(entry.key, message);
        }
        action = table.and_then(|table| (entry.read)(table, earlier));
    }
    match asked.as_slice() {
        [one] => action.filter(|_| offered(one)),
        [] => {
            let keys: Vec<&str> = ENTRIES
                .iter()
                .filter(offered)
                .map(|entry| entry.key)
                .collect();
            match keys.as_slice() {
                [only] => section.require(only),
                _ => section.error("service", format!("say what to do: {}", keys.join(", "))),
            }
            None
        }
        [first, second, ..] => {
            let message = format!("one step does one thing; {:?} is there too", first.key);
            section.error(second.key, message);
            None
        }
    }
}

/// Compiles a template that sees the steps before.
fn compile(
    section: &Section<'_>,
    key: &str,
    source: &str,
    earlier: &[String],
) -> Option<Arc<Prompt>> {
    let prompt = compile_with_path(section, key, source, earlier)?;
    if prompt.mentions_path() {
        section.error(key, "`file.path` is only for the arguments of a program");
        return None;
    }
    Some(prompt)
}

/// The same, where the file has a path too.
fn compile_with_path(
    section: &Section<'_>,
    key: &str,
    source: &str,
    earlier: &[String],
) -> Option<Arc<Prompt>> {
    let earlier: Vec<&str> = earlier.iter().map(String::as_str).collect();
    Prompt::compile(source, &earlier)
        .map_err(|message| section.error(key, message))
        .ok()
        .map(Arc::new)
}
