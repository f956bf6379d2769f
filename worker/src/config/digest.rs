//! What decides the answers of a pipeline, as one digest.

use reqwest::Url;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Action, Config, OpenAiConfig, ServiceConfig, ServiceKind, StepConfig};
use crate::service::{
    Identity,
    openai::{
        ChatConfig, ChatParameters, ContentMode, Detail, Endpoint, MaxTokensField, SchemaMode,
    },
};

/// Raised when a build asks something else of services for the same configuration.
const VERSION: u16 = 1;

/// What is hashed, as JSON in this order.
#[derive(Serialize)]
struct Asked<'a> {
    v: u16,
    pipeline: &'a str,
    rehearsal: bool,
    steps: Vec<AskedStep<'a>>,
}

/// What is hashed of one step whose answers are kept in a journal.
#[derive(Serialize)]
struct Kept<'a> {
    v: u16,
    /// Of embeddings, with the version of the interface.
    url: Option<String>,
    /// What the service calls the model, if not as the step does.
    model: Option<&'a str>,
    what: What<'a>,
}

#[derive(Serialize)]
struct AskedStep<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'a str>,
    #[serde(flatten)]
    what: What<'a>,
}

/// One variant per action.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum What<'a> {
    Chat(AskedChat<'a>),
    Written(AskedAsWritten<'a>),
}

/// Actions whose table says all that decides the answers.
#[derive(Serialize)]
struct AskedAsWritten<'a> {
    action: &'static str,
    table: Option<&'a Value>,
    /// The endpoint, which a rehearsal does not ask, or the program.
    of: Option<String>,
}

#[derive(Serialize)]
struct AskedChat<'a> {
    /// The same model may be another one elsewhere. Nowhere in particular: a rehearsal is answered
    /// by a simulator, and a service with several deployments by any of them.
    url: Option<String>,
    model: &'a str,
    prompt: &'a str,
    system: Option<&'a str>,
    max_tokens: Option<u32>,
    max_tokens_field: Option<MaxTokensField>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    json: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<AskedSchema<'a>>,
    detail: Detail,
    content: ContentMode,
}

#[derive(Serialize)]
struct AskedSchema<'a> {
    schema: &'a Value,
    strict: bool,
    mode: SchemaMode,
}

impl Config {
    /// SHA-256 of what decides the answers of a pipeline, or of its rehearsal; hex.
    ///
    /// Steps with their models, prompts and parameters, and where they are asked. Not the limits,
    /// deadlines, keys and retries: with others the answers are as good.
    ///
    /// # Errors
    /// None in practice: plain text and numbers can be encoded.
    pub fn answers_digest(
        &self,
        pipeline: &str,
        rehearsal: bool,
    ) -> Result<String, serde_json::Error> {
        let steps = self.pipelines.get(pipeline).into_iter().flatten();
        let asked = Asked {
            v: VERSION,
            pipeline,
            rehearsal,
            steps: steps
                .filter_map(|step| Some((step, self.services.get(&step.service)?)))
                .map(|(step, service)| {
                    // Several deployments are said to give the same answers, so one more changes
                    // none of them.
                    let nowhere = rehearsal || !service.deployments.is_empty();
                    asked(step, service, nowhere)
                })
                .collect(),
        };
        let digest = Sha256::digest(serde_json::to_vec(&asked)?);
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl StepConfig {
    /// What its answers are found by in a journal, beside what each file makes of the request;
    /// none if they are not to be kept. Neither its name nor its condition decide an answer.
    ///
    /// Several deployments are said to give the same answers, so the first of them stands for all,
    /// whichever answers: others may come and go. Other services have another first one.
    ///
    /// # Errors
    /// None in practice: plain text and numbers can be encoded.
    pub(crate) fn identity(
        &self,
        service: &ServiceConfig,
    ) -> Result<Option<Identity>, serde_json::Error> {
        if !self.journal.unwrap_or(self.action.is_kept()) {
            return Ok(None);
        }
        let url = match (&self.action, &service.kind) {
            (Action::Embed(embed), ServiceKind::OpenAi(openai)) => {
                Some(openai.endpoint.embeddings_url(&embed.model).to_string())
            }
            _ => None,
        };
        let first = service.deployments.first();
        let model = |name: &str| first?.models.get(name).map(String::as_str);
        let asked = Kept {
            v: VERSION,
            url,
            model: self.action.model().and_then(model),
            what: asked(self, service, false).what,
        };
        Ok(Some(Identity::of([&*serde_json::to_vec(&asked)?])))
    }
}

/// Takes everything apart, so that a new key of the configuration must be decided about here.
fn asked<'a>(step: &'a StepConfig, service: &ServiceConfig, nowhere: bool) -> AskedStep<'a> {
    let StepConfig {
        name,
        service: _,
        when,
        timeout: _,
        retry: _,
        journal: _,
        action,
        written,
    } = step;
    let ServiceConfig {
        in_flight: _,
        seeking: _,
        quotas: _,
        prices: _,
        polls: _,
        timeout: _,
        connect_timeout: _,
        max_file_bytes: _,
        kind,
        deployments: _,
    } = service;
    let what = match (action, kind) {
        (Action::Chat(chat), ServiceKind::OpenAi(openai)) => {
            What::Chat(asked_chat(chat, openai, nowhere))
        }
        (action, kind) => What::Written(AskedAsWritten {
            action: action.key(),
            table: written.as_ref(),
            of: asked_of(kind, nowhere),
        }),
    };
    AskedStep {
        name,
        when: when.as_ref().map(|when| when.source()),
        what,
    }
}

/// Where an answer comes from, if from one place.
fn asked_of(kind: &ServiceKind, nowhere: bool) -> Option<String> {
    let real = |url: &Url| (!nowhere).then(|| url.to_string());
    match kind {
        ServiceKind::OpenAi(openai) => real(openai.endpoint.base()),
        // With the version of the interface.
        ServiceKind::DocIntel(azure) | ServiceKind::Vision(azure) | ServiceKind::Search(azure) => {
            real(&azure.endpoint.url(&[], &[]))
        }
        ServiceKind::Http(http) => real(http.address.base()),
        // Programs run in rehearsals too.
        ServiceKind::Command(command) => Some(command.program.display().to_string()),
    }
}

fn asked_chat<'a>(chat: &'a ChatConfig, openai: &OpenAiConfig, nowhere: bool) -> AskedChat<'a> {
    let ChatConfig {
        model,
        prompt,
        system,
        parameters,
        json,
        schema,
        detail,
        content,
    } = chat;
    let ChatParameters {
        max_tokens,
        temperature,
        top_p,
        seed,
    } = parameters;
    let OpenAiConfig {
        endpoint,
        key: _,
        entra: _,
        organization: _,
        max_tokens_field,
    } = openai;
    let real = (!nowhere).then_some(endpoint);
    let field =
        |endpoint: &Endpoint| max_tokens_field.unwrap_or_else(|| endpoint.max_tokens_field(model));
    AskedChat {
        url: real.map(|endpoint| endpoint.chat_url(model).to_string()),
        model,
        prompt: prompt.source(),
        system: system.as_ref().map(|system| system.source()),
        max_tokens: *max_tokens,
        max_tokens_field: real.map(field),
        temperature: *temperature,
        top_p: *top_p,
        seed: *seed,
        json: *json,
        schema: schema.as_deref().map(|schema| AskedSchema {
            schema: schema.schema(),
            strict: schema.strict(),
            mode: schema.mode(),
        }),
        detail: *detail,
        content: *content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[worker]
grace = "25s"
[retry]
attempts = 6
[service.gpt]
kind = "openai"
endpoint = "https://api.openai.com/v1"
key = { env = "KEY" }
timeout = "2min"
limits = { in_flight = 16 }
[[pipeline.letters]]
name = "sum"
service = "gpt"
chat = { model = "m", prompt = "Sum up.", system = "Be brief.", max_tokens = 9, temperature = 0.5, top_p = 0.5, seed = 1, json = false, detail = "low", content = "text" }
[[pipeline.letters]]
name = "more"
service = "gpt"
chat = { model = "m", prompt = "{{ sum.text }}" }
"#;

    fn digest(text: &str) -> String {
        let config = Config::parse("f.toml", text).unwrap();
        config.answers_digest("letters", false).unwrap()
    }

    /// The text with one thing changed.
    fn with(old: &str, new: &str) -> String {
        assert!(TEXT.contains(old), "{old}");
        digest(&TEXT.replacen(old, new, 1))
    }

    #[test]
    fn the_digest_is_the_same_in_every_build() {
        assert_eq!(
            digest(TEXT),
            "d861d7b405880536efe79fd5d133ef049a04502747b5c44200eb64dc338247e2"
        );
    }

    #[test]
    fn what_decides_the_answers_changes_the_digest() {
        let changes = [
            ("model = \"m\"", "model = \"n\""),
            ("\"Sum up.\"", "\"Sum up!\""),
            ("\"Be brief.\"", "\"Be long.\""),
            (", system = \"Be brief.\"", ""),
            ("max_tokens = 9", "max_tokens = 10"),
            ("temperature = 0.5", "temperature = 0.6"),
            ("top_p = 0.5", "top_p = 0.6"),
            ("seed = 1", "seed = 2"),
            ("prompt = \"Sum up.\", ", "prompt = \"Sum up as JSON.\", "),
            ("detail = \"low\"", "detail = \"high\""),
            ("content = \"text\"", "content = \"auto\""),
            ("api.openai.com", "example.com"),
            ("\"{{ sum.text }}\"", "\"{{ sum.text }}?\""),
            ("timeout = \"2min\"", "max_tokens_field = \"max_tokens\""),
        ];
        for (old, new) in changes {
            assert_ne!(with(old, new), digest(TEXT), "{old} -> {new}");
        }
        let json = TEXT.replacen("Sum up.", "JSON", 1);
        assert_ne!(
            digest(&json.replacen("json = false", "json = true", 1)),
            digest(&json)
        );
    }

    #[test]
    fn limits_deadlines_keys_and_retries_do_not_change_the_digest() {
        let changes = [
            ("grace = \"25s\"", "bytes_in_flight = \"1GB\""),
            ("attempts = 6", "attempts = 9"),
            ("in_flight = 16", "in_flight = 1"),
            ("timeout = \"2min\"", "timeout = \"1min\""),
            ("timeout = \"2min\"", "max_file_bytes = \"1MB\""),
            ("timeout = \"2min\"", "organization = \"org-1\""),
            ("env = \"KEY\"", "env = \"OTHER\""),
        ];
        for (old, new) in changes {
            assert_eq!(with(old, new), digest(TEXT), "{old} -> {new}");
        }
        let renamed = TEXT.replace("service.gpt", "service.ai");
        let renamed = renamed.replace("service = \"gpt\"", "service = \"ai\"");
        assert_eq!(digest(&renamed), digest(TEXT));
    }

    #[test]
    fn a_rehearsal_is_never_taken_for_the_real_thing_wherever_that_is() {
        let rehearsal = |text: &str| {
            let config = Config::parse("f.toml", text).unwrap();
            config.answers_digest("letters", true).unwrap()
        };
        assert_ne!(rehearsal(TEXT), digest(TEXT));
        let elsewhere = TEXT.replace("api.openai.com", "example.com");
        assert_eq!(rehearsal(&elsewhere), rehearsal(TEXT));
    }
}
