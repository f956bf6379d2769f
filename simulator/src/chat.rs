//! Chat as one of the services.

use std::borrow::Cow;

use axum::body::Bytes;

use crate::{
    Kind,
    completion::completion,
    exchange::{Answer, Call, Service, Setting},
    quota::Bucket,
    refusal::Invalid,
    request::ChatRequest,
};

impl Service for ChatRequest {
    const KIND: Kind = Kind::Chat;
    const BUCKET: Bucket = Bucket::Chat;

    fn read(call: &Call, body: &Bytes) -> Result<Self, Invalid> {
        Self::parse(body, call.deployment.as_deref())
    }

    fn model(&self) -> Option<&str> {
        Some(&self.model)
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.text)
    }

    /// The prompt and the longest answer it allows.
    fn quota_tokens(&self) -> u64 {
        let answer = self.max_tokens.unwrap_or(0).saturating_mul(self.choices);
        self.prompt_tokens().saturating_add(answer)
    }

    fn prompt_tokens(&self) -> u64 {
        self.text_tokens + self.image_tokens
    }

    fn answer(&self, setting: Setting<'_>) -> Result<Answer, serde_json::Error> {
        completion(self, setting)
    }
}
