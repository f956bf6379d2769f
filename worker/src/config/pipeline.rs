//! `[[pipeline.NAME]]`: steps in the order a file goes through them.

use std::{collections::BTreeMap, fs, sync::Arc};

use filefleet_shared::config::{Section, check_name};

use crate::service::{
    Prompt, RESERVED_NAMES,
    openai::{ChatConfig, ChatParameters, ContentMode, Detail},
};

/// One step.
#[derive(Clone, Debug)]
pub struct StepConfig {
    /// Its name, by which later steps see its output.
    pub name: String,
    /// Name of its service; such a service exists.
    pub service: String,
    /// What it asks.
    pub chat: ChatConfig,
}

/// Reads every pipeline. `services` are the names that stand in the configuration, right or wrong.
pub(super) fn read_all(
    root: &mut Section<'_>,
    services: &[String],
) -> BTreeMap<String, Vec<StepConfig>> {
    let mut section = root.section("pipeline");
    let mut pipelines = BTreeMap::new();
    for pipeline in section.names() {
        let Some(tables) = section.array_of_tables(&pipeline) else {
            continue;
        };
        if tables.is_empty() {
            section.error(&pipeline, "has no steps");
        }
        let mut earlier = Vec::new();
        let mut steps = Vec::new();
        for table in tables {
            steps.extend(read_step(table, services, &mut earlier));
        }
        pipelines.insert(pipeline, steps);
    }
    section.finish();
    pipelines
}

fn read_step(
    mut section: Section<'_>,
    services: &[String],
    earlier: &mut Vec<String>,
) -> Option<StepConfig> {
    let name = section.string("name");
    let service = section.string("service");
    if let Some(name) = &name
        && let Err(message) = check_step_name(name, earlier)
    {
        section.error("name", message);
    }
    if let Some(service) = &service
        && !services.contains(service)
    {
        let known = services.join(", ");
        section.error(
            "service",
            format!("there is no [service.{service}]; there is: {known}"),
        );
    }
    section.require("chat");
    let chat = section
        .opt_section("chat")
        .and_then(|chat| read_chat(chat, earlier));
    section.finish();
    let new = |name: &&String| !earlier.contains(name) && !RESERVED_NAMES.contains(&name.as_str());
    let new = name.as_ref().filter(new).cloned();
    earlier.extend(new);
    Some(StepConfig {
        name: name?,
        service: service?,
        chat: chat?,
    })
}

fn check_step_name(name: &str, earlier: &[String]) -> Result<(), String> {
    check_name(name)?;
    if earlier.iter().any(|step| step == name) {
        return Err(format!("{name:?} is the name of a step before it"));
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(format!(
            "{name:?} means something else in prompts; take another name"
        ));
    }
    Ok(())
}

fn read_chat(mut section: Section<'_>, earlier: &[String]) -> Option<ChatConfig> {
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
    Some(ChatConfig {
        model: model?,
        prompt: prompt?,
        system: system.flatten(),
        parameters,
        json,
        detail,
        content,
    })
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

fn compile(
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
