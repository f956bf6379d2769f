//! The AI services as a server, with latencies, quotas, faults and quirks.
//!
//! [`start`] serves until it is shut down. Answers are extracts of the input, labelled
//! `[rehearsal]` where they are made up, the same for the same request and seed.
//!
//! - Chat in the dialects of OpenAI (DeepSeek, vLLM, llama.cpp, Ollama) and of Azure OpenAI:
//!   `POST /v1/chat/completions`, `/openai/v1/chat/completions` and
//!   `/openai/deployments/{deployment}/chat/completions`. Tokens are four characters each.
//! - Azure AI Document Intelligence 2024-11-30:
//!   `POST /documentintelligence/documentModels/{model}:analyze`, and `GET` and `DELETE` of
//!   `…/{model}/analyzeResults/{result}`.
//! - Azure AI Search 2024-07-01: `/indexes` (`GET`, `POST`), `/indexes('{index}')` (`GET`, `PUT`,
//!   `DELETE`) and below it `docs/search.index`, `docs/search.post.search`, `docs/$count`,
//!   `docs('{key}')` and `search.stats`; also as `/indexes/{index}/docs/index` and so on.
//!
//! Beside the services' own paths there are `GET /health`, `GET /_stats` ([`Stats`]),
//! `GET /_index/{index}` ([`IndexStats`]), `POST /_reset` and `POST /_control` ([`Control`]).

mod answer;
mod azure;
mod body;
mod chance;
mod chat;
mod completion;
mod config;
mod control;
mod docintel;
mod document;
mod effects;
mod fill;
mod headers;
mod image;
mod kind;
mod quirk;
mod quota;
mod refusal;
mod request;
mod response_format;
mod search;
mod server;
mod state;
mod stats;
mod visit;

pub use config::{ConfigError, Down, Faults, Knee, Latency, Quotas, SimulatorConfig};
pub use control::{Control, KneeControl, LatencyControl};
pub use docintel::{OcrConfig, OcrControl, OcrQuotas};
pub use kind::Kind;
pub use quirk::{Quirk, UnknownQuirk};
pub use search::{IndexStats, SearchConfig, SearchControl};
pub use server::{Simulator, SimulatorError, start};
pub use stats::{KindStats, Second, Stats};
