//! `chat = { .. }`: a question to a chat model.

use std::{fs, sync::Arc};

use filefleet_shared::config::Section;

use super::{Action, compile};
use crate::service::{
    Prompt,
    openai::{ChatConfig, ChatParameters, ContentMode, Detail},
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
        detail,
        content,
    }))
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
