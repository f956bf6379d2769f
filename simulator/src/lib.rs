//! The AI services as a server: OpenAI-compatible chat with latencies, quotas, faults and quirks.
//!
//! [`start`] serves until it is shut down. It speaks the dialects of OpenAI (DeepSeek, vLLM,
//! llama.cpp, Ollama) and of Azure OpenAI (classic and v1). Answers are extracts of the input,
//! labelled `[rehearsal]`, the same for the same request and seed. Tokens are estimated as four
//! characters each.
//!
//! Beside the service's own paths there are `GET /health`, `GET /_stats` ([`Stats`]),
//! `POST /_reset` and `POST /_control` ([`Control`]).

mod answer;
mod body;
mod chance;
mod chat;
mod completion;
mod config;
mod control;
mod document;
mod effects;
mod exchange;
mod fill;
mod headers;
mod image;
mod kind;
mod quirk;
mod quota;
mod refusal;
mod request;
mod response_format;
mod server;
mod state;
mod stats;
mod visit;

pub use config::{ConfigError, Down, Faults, Knee, Latency, Quotas, SimulatorConfig};
pub use control::{Control, KneeControl, LatencyControl};
pub use kind::Kind;
pub use quirk::{Quirk, UnknownQuirk};
pub use server::{Simulator, SimulatorError, start};
pub use stats::{KindStats, Second, Stats};
