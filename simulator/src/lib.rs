//! The AI services as a server, with latencies, quotas, faults and quirks.
//!
//! [`start`] serves until it is shut down. Answers are the same for the same request and seed;
//! what they say is labelled `[rehearsal]`. Tokens are estimated as four characters each. Each
//! kind of service has the configured quotas for itself.
//!
//! | `POST` | service |
//! |---|---|
//! | `/v1/chat/completions`, `/chat/completions` | chat of OpenAI, DeepSeek, vLLM, llama.cpp, Ollama: extracts of the input |
//! | `/v1/embeddings`, `/embeddings` | their embeddings: texts that share words have similar vectors |
//! | `/openai/v1/…` | both, of Azure OpenAI v1 |
//! | `/openai/deployments/{deployment}/…?api-version=…` | both, of Azure OpenAI classic |
//! | `/computervision/imageanalysis:analyze?api-version=2023-10-01&features=…` | Azure AI Vision Image Analysis 4.0: made up for the bytes of the image; an image at an address is not fetched and taken to be 1024 x 1024 pixels |
//!
//! Limits, as the services have them: 2048 inputs, 8192 tokens an input and 300,000 a request of
//! embeddings; images of 50 to 16,000 pixels a side and 20,971,520 bytes.
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
mod embeddings;
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
mod vision;
mod visit;

pub use config::{ConfigError, Down, Faults, Knee, Latency, Quotas, SimulatorConfig};
pub use control::{Control, KneeControl, LatencyControl};
pub use kind::Kind;
pub use quirk::{Quirk, UnknownQuirk};
pub use server::{Simulator, SimulatorError, start};
pub use stats::{KindStats, Second, Stats};
