//! The AI services as a server, with latencies, quotas, faults and quirks.
//!
//! [`start`] serves until it is shut down. Answers are the same for the same request and seed;
//! what they make up is labelled `[rehearsal]`. Tokens are estimated as four characters each. Each
//! kind of service has its quotas for itself.
//!
//! | path | service |
//! |---|---|
//! | `POST /v1/chat/completions`, `/chat/completions` | chat of OpenAI, DeepSeek, vLLM, llama.cpp, Ollama: extracts of the input |
//! | `POST /v1/embeddings`, `/embeddings` | their embeddings: texts that share words have similar vectors |
//! | `POST /openai/v1/…` | both, of Azure OpenAI v1 |
//! | `POST /openai/deployments/{deployment}/…?api-version=…` | both, of Azure OpenAI classic |
//! | `POST /computervision/imageanalysis:analyze?api-version=2023-10-01&features=…` | Azure AI Vision Image Analysis 4.0: made up for the bytes of the image; an image at an address is not fetched and taken to be 1024 x 1024 pixels |
//! | `POST /documentintelligence/documentModels/{model}:analyze`, `GET` and `DELETE` of `…/{model}/analyzeResults/{result}` | Azure AI Document Intelligence 2024-11-30: the text of the document |
//! | `/indexes` (`GET`, `POST`), `/indexes('{index}')` (`GET`, `PUT`, `DELETE`) and below it `docs/search.index`, `docs/search.post.search`, `docs/$count`, `docs('{key}')` and `search.stats`; also as `/indexes/{index}/docs/index` and so on | Azure AI Search 2024-07-01 |
//!
//! Tokens of Microsoft Entra ID are issued at `POST /{tenant}/oauth2/v2.0/token` (client secrets and
//! federated assertions), `GET /metadata/identity/oauth2/token` (managed identities) and
//! `GET /msi/token` (those of App Service and Container Apps). Services take them as
//! `Authorization: Bearer` in place of a key, and refuse those that are expired or for another
//! service.
//!
//! Limits, as the services have them: 2048 inputs, 8192 tokens an input and 300,000 a request of
//! embeddings; images of 50 to 16,000 pixels a side and 20,971,520 bytes to be analyzed.
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
mod embeddings;
mod entra;
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
mod search;
mod server;
mod state;
mod stats;
mod vision;
mod visit;

pub use config::{ConfigError, Down, Faults, Knee, Latency, Quotas, SimulatorConfig};
pub use control::{Control, KneeControl, LatencyControl};
pub use docintel::{OcrConfig, OcrControl, OcrQuotas};
pub use entra::EntraConfig;
pub use kind::Kind;
pub use quirk::{Quirk, UnknownQuirk};
pub use search::{IndexStats, SearchConfig, SearchControl};
pub use server::{Simulator, SimulatorError, start};
pub use stats::{KindStats, Second, Stats};
