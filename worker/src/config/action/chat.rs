//! `chat = { .. }`: a question to a chat model.

use std::{fs, path::Path, sync::Arc};

use filefleet_shared::config::Section;
use serde_json::Value;

use super::{Action, compile};
use crate::service::{
    Prompt,
    openai::{AnswerSchema, ChatConfig, ChatParameters, ContentMode, Detail, SchemaMode},
};

pub(super) fn read(mut section: Section<'_>, earlier: &[String]) -> Option<Action> {
    const DETAILS: &[(&str, Detail)] = &[
        ("auto", Detail::Auto),
        ("low", Detail::Low),
        ("high", Detail::High),
    ];
    const MODES: &[(&str, ContentMode)] = &[
        ("auto", ContentMode::Auto),
        ("text", ContentMode::Text),
        ("image", ContentMode::Image),
        ("none", ContentMode::None),
    ];
    let model = section.string("model");
    let prompt = read_prompt(&mut section, earlier);
    let system = section.opt_string("system");
    let system = system.map(|source| compile(&section, "system", &source, earlier));
    let parameters = ChatParameters {
        max_tokens: section.opt_integer("max_tokens", 1..=10_000_000),
        temperature: section.opt_number("temperature", 0.0..=2.0),
        top_p: section.opt_number("top_p", 0.0..=1.0),
        seed: section.opt_integer("seed", i64::MIN..=i64::MAX),
    };
    let json = section.opt_bool("json").unwrap_or_default();
    let schema = read_schema(&mut section);
    if json && section.has("schema") {
        section.error("json", "is of no use beside `schema`");
    }
    let detail = section.opt_enum("detail", DETAILS).unwrap_or_default();
    let content = section.opt_enum("content", MODES).unwrap_or_default();
    let prompts: Vec<&Prompt> = [
        prompt.as_deref(),
        system.as_ref().and_then(Option::as_deref),
    ]
    .into_iter()
    .flatten()
    .collect();
    let wants_text = prompts.iter().any(|prompt| prompt.mentions_text());
    if wants_text && matches!(content, ContentMode::None | ContentMode::Image) {
        section.error(
            "content",
            "leaves out the text that a prompt asks for with `text`",
        );
    }
    if json && prompt.is_some() && !prompts.iter().any(|prompt| prompt.mentions_json()) {
        section.error(
            "json",
            "needs the word JSON in a prompt: OpenAI refuses it otherwise",
        );
    }
    section.finish();
    Some(Action::Chat(ChatConfig {
        model: model?,
        prompt: prompt?,
        system: system.flatten(),
        parameters,
        json,
        schema,
        detail,
        content,
    }))
}

fn read_schema(section: &mut Section<'_>) -> Option<Arc<AnswerSchema>> {
    const MODES: &[(&str, SchemaMode)] = &[
        ("json_schema", SchemaMode::JsonSchema),
        ("json_object", SchemaMode::JsonObject),
        ("prompt", SchemaMode::Prompt),
    ];
    let mode = section.opt_enum("schema_mode", MODES).unwrap_or_default();
    let strict = section.opt_bool("strict");
    for used in ["schema_mode", "strict"] {
        if section.has(used) && !section.has("schema") {
            section.error(used, "is of no use without `schema`");
        }
    }
    if strict.is_some() && mode != SchemaMode::JsonSchema {
        section.error("strict", "is only for `schema_mode = \"json_schema\"`");
    }
    let compile = |schema| AnswerSchema::compile(schema, strict, mode);
    let compiled = if section.is_table("schema") {
        compile(section.opt_value("schema")?)
    } else {
        let file = section.opt_path("schema")?;
        let compiled = read_json(&file).and_then(compile);
        compiled.map_err(|why| format!("{} {why}", file.display()))
    };
    compiled
        .map_err(|message| section.error("schema", message))
        .ok()
        .map(Arc::new)
}

fn read_json(file: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("is not JSON: {error}"))
}

fn read_prompt(section: &mut Section<'_>, earlier: &[String]) -> Option<Arc<Prompt>> {
    let inline = section.opt_string("prompt");
    let file = section.opt_path("prompt_file");
    if section.has("prompt") == section.has("prompt_file") {
        section.error("prompt", "write either `prompt` or `prompt_file`");
        return None;
    }
    if let Some(source) = inline {
        return compile(section, "prompt", &source, earlier);
    }
    let file = file?;
    match fs::read_to_string(&file) {
        Ok(source) => compile(section, "prompt_file", &source, earlier),
        Err(error) => {
            section.error(
                "prompt_file",
                format!("cannot read {}: {error}", file.display()),
            );
            None
        }
    }
}
