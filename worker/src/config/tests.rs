mod deployments;
mod entra;
mod kinds;
mod pipelines;
mod prices;
mod quick;
mod search;

use std::time::Duration;

use filefleet_shared::config::{BrokerConfig, ConfigErrors};

use super::*;
use crate::service::{
    Catalog, CatalogOptions,
    openai::{ChatConfig, ContentMode, Detail, Dialect, MaxTokensField},
};

fn report(text: &str) -> String {
    Config::parse("f.toml", text).unwrap_err().to_string()
}

const SERVICE: &str = "[service.gpt]\nkind = \"openai\"\nendpoint = \"http://127.0.0.1:1\"\n";

#[test]
fn every_mistake_of_every_section_is_listed_at_once_by_line() {
    let text = r#"
[broker]
url = "rabbit"
[root.inbox]
[worker]
grace = 25
dead_after = 1
[retry]
attempts = 0
base = "10min"
[service.gpt]
kind = "openal"
endpoint = "http://models.example.com/v1"
key = { env = "KEY" }
limits = { in_flght = 3 }
[service.old]
kind = "openai"
endpoint = "https://x.openai.azure.com"
dialect = "azure"
key = "sk-hunter2"
[[pipeline.letters]]
name = "text"
service = "gtp"
chat = { model = "m", prompt = "a\n{{ text" }
[[pipeline.letters]]
name = "sum"
service = "gpt"
chat = { model = "m", prompt = "{{ rad.text }}", temperature = 3, contnt = "text" }
[[pipeline.letters]]
name = "sum"
service = "gpt"
"#;
    let expected = r#"f.toml:3: broker.url: must start with amqps:// or amqp://
f.toml:4: root.inbox.path: is missing: give `path`, or `url` for an object store
f.toml:6: worker.grace: has no unit; write it like "20s" or "5min"
f.toml:7: worker.dead_after: must not be less than quarantine_after
f.toml:9: retry.attempts: must be from 1 to 1000
f.toml:10: retry.base: `base` must not be more than `cap`
f.toml:12: service.gpt.kind: "openal" is not one of `openai`, `docintel`, `vision`, `search`, `http`, `command`
f.toml:15: service.gpt.limits.in_flght: unknown key, did you mean `in_flight`?
f.toml:16: service.old.api_version: is missing: dialect `azure` needs one, like "2024-10-21"
f.toml:20: service.old.key: a secret must not stand in the configuration: write { env = "NAME" } or { file = "PATH" }
f.toml:22: pipeline.letters[0].name: "text" means something else in prompts; take another name
f.toml:23: pipeline.letters[0].service: there is no [service.gtp]; there is: gpt, old
f.toml:24: pipeline.letters[0].chat.prompt: line 2 of the template: unexpected end of input, expected end of variable block
f.toml:28: pipeline.letters[1].chat.contnt: unknown key, did you mean `content`?
f.toml:28: pipeline.letters[1].chat.prompt: `rad` is not known here; a prompt has text, file, outputs
f.toml:28: pipeline.letters[1].chat.temperature: must be from 0 to 2
f.toml:30: pipeline.letters[2].name: "sum" is the name of a step before it
f.toml:31: pipeline.letters[2].service: say what to do: chat, embed, read, look, index, query, request, run"#;
    assert_eq!(report(text), expected);
}

#[test]
fn a_pipeline_without_steps_is_refused() {
    let text = format!("pipeline.x = []\n{SERVICE}");
    assert_eq!(report(&text), "f.toml:1: pipeline.x: has no steps");
}

#[test]
fn the_example_parses_and_has_the_defaults() {
    let config = Config::parse("filefleet.toml", Config::example_toml()).unwrap();
    assert_eq!(config.worker, WorkerConfig::default());
    assert_eq!(config.retry, RetryPolicy::default());
    let service = &config.services["gpt"];
    assert_eq!(
        (service.in_flight, service.max_file_bytes),
        (256, 20_000_000)
    );
    assert_eq!(service.timeout, Duration::from_secs(120));
    let names: Vec<&str> = config.pipelines["invoices"]
        .iter()
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(names, ["read", "extract"]);
}

/// Keys of the example that cannot stand beside the others, or have no default.
const ALTERNATIVES: &[&str] = &[
    "# prompt_file",
    "# api_version",
    "# cert_file",
    "# key_file",
    "# ca_file",
    "# max_memory",
    "# text",
    "# file",
    "# base64_at",
    "# field",
    "# result",
    "# operation_pointer",
    "# path",
    "# interval",
    "# endpoint",
    "# allow_http",
    "# region",
    "# access_key_id",
    "# secret_access_key",
    "# session_token",
    "# account",
    "# sas_token",
    "# create",
    "# when",
    "# retry = {",
];

/// The keys behind `#` in the example are as right as the others.
#[test]
fn the_example_still_parses_with_every_default_switched_on() {
    let text: Vec<&str> = Config::example_toml()
        .lines()
        .map(|line| {
            let key = line.strip_prefix("# ").filter(|rest| {
                rest.split_once(" = ")
                    .is_some_and(|(key, _)| !key.contains([' ', '`']))
            });
            let keep = ALTERNATIVES.iter().any(|word| line.starts_with(word));
            key.filter(|_| !keep).unwrap_or(line)
        })
        .collect();
    let config = Config::parse("filefleet.toml", &text.join("\n")).unwrap();
    let plain = Config::parse("filefleet.toml", Config::example_toml()).unwrap();
    assert_eq!(config.roots, plain.roots);
    assert_eq!(config.worker, plain.worker);
    assert_eq!(config.retry, plain.retry);
    let [with, without] = [&config, &plain].map(|config| {
        let mut service = config.services["gpt"].clone();
        let ServiceKind::OpenAi(openai) = &mut service.kind else {
            panic!("{:?}", service.kind)
        };
        openai.organization = None;
        openai.max_tokens_field = None;
        service
    });
    assert_eq!(with, without);
    for service in ["ocr", "eyes"] {
        assert_eq!(config.services[service], plain.services[service]);
    }
    let chat = chat(&config, "invoices");
    assert_eq!(
        (chat.content, chat.detail, chat.json),
        (ContentMode::Auto, Detail::Auto, false)
    );
    for service in ["ner", "pdf"] {
        assert_eq!(config.services[service], plain.services[service]);
    }
    let steps = |config: &Config| {
        let steps = config.pipelines["papers"].iter();
        let actions: Vec<&Action> = steps.map(|step| &step.action).collect();
        format!("{actions:?}")
    };
    assert_eq!(steps(&config), steps(&plain));
    let read = |broker: &Option<BrokerConfig>| {
        let broker = broker.clone().unwrap();
        let times = (broker.connect_timeout, broker.outage);
        (broker.namespace, broker.publishers, times)
    };
    assert_eq!(read(&config.broker), read(&plain.broker));
}

mod azure;

fn openai<'a>(config: &'a Config, service: &str) -> &'a OpenAiConfig {
    match &config.services[service].kind {
        ServiceKind::OpenAi(openai) => openai,
        other => panic!("{other:?}"),
    }
}

/// The first step of a pipeline.
fn chat<'a>(config: &'a Config, pipeline: &str) -> &'a ChatConfig {
    match &config.pipelines[pipeline][0].action {
        Action::Chat(chat) => chat,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_of_azure_reads_its_dialect() {
    let text = r#"
[service.a]
kind = "openai"
endpoint = "https://x.openai.azure.com/"
api_version = "2024-10-21"
max_tokens_field = "max_tokens"
timeout = "30s"
[service.b]
kind = "openai"
endpoint = "https://x.openai.azure.com/openai/v1/"
"#;
    let config = Config::parse("f.toml", text).unwrap();
    let a = &config.services["a"];
    assert_eq!(openai(&config, "a").endpoint.dialect(), Dialect::Azure);
    assert_eq!(
        openai(&config, "a").max_tokens_field,
        Some(MaxTokensField::MaxTokens)
    );
    assert_eq!(a.timeout, Duration::from_secs(30));
    assert_eq!(openai(&config, "b").endpoint.dialect(), Dialect::AzureV1);
}

#[test]
fn a_key_over_plain_http_needs_consent_except_on_this_machine() {
    let with = |endpoint: &str, more: &str| {
        let text = format!(
            "[service.s]\nkind = \"openai\"\nendpoint = \"{endpoint}\"\nkey = {{ env = \"K\" }}\n{more}"
        );
        Config::parse("f.toml", &text)
    };
    assert!(
        with("http://vllm:8000", "")
            .unwrap_err()
            .to_string()
            .contains("unencrypted")
    );
    assert!(with("http://vllm:8000", "insecure = true\n").is_ok());
    assert!(with("http://localhost:8000", "").is_ok());
    assert!(with("https://vllm:8000", "").is_ok());
}

#[test]
fn what_sections_cannot_see_alone_is_checked_too() {
    let text = format!("[worker]\nbytes_in_flight = \"1MB\"\n{SERVICE}");
    let expected = "f.toml:1: worker: bytes_in_flight is less than max_file_bytes of service.gpt";
    assert_eq!(report(&text), expected);
    let text = format!("[broker]\nurl = \"amqp://r\"\nack_timeout = \"140s\"\n{SERVICE}");
    assert!(report(&text).contains("f.toml:1: broker: ack_timeout must be above"));
    let text = format!("{SERVICE}[retry]\nhold = \"10s\"\ncap = \"5s\"\n");
    assert_eq!(
        report(&text),
        "f.toml:5: retry.hold: `hold` must not be more than `cap`"
    );
}

#[test]
fn a_hold_that_is_not_written_is_not_more_than_the_cap() {
    let step = "[[pipeline.x]]\nname = \"s\"\nservice = \"gpt\"\nretry = { cap = \"2s\" }\n\
                chat = { model = \"m\", prompt = \"p\" }\n";
    let text = format!("{SERVICE}[retry]\ncap = \"10s\"\n{step}");
    let config = Config::parse("f.toml", &text).unwrap();
    assert_eq!(config.retry.hold, Duration::from_secs(10));
    let of_step = config.pipelines["x"][0].retry.as_ref().unwrap();
    assert_eq!(of_step.hold, Duration::from_secs(2));
}

#[test]
fn prompts_come_from_files_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.txt"), "Sum up {{ text }}").unwrap();
    let path = folder.path().join("f.toml");
    let step = |chat: &str| {
        format!(
            "{SERVICE}[[pipeline.x]]\nname = \"s\"\nservice = \"gpt\"\nchat = {{ model = \"m\", {chat} }}\n"
        )
    };
    fs::write(&path, step("prompt_file = \"p.txt\"")).unwrap();
    let config = Config::load(&path).unwrap();
    assert!(chat(&config, "x").prompt.mentions_text());

    let missing = report(&step("prompt_file = \"nowhere.txt\""));
    assert!(
        missing.contains("chat.prompt_file: cannot read nowhere.txt"),
        "{missing}"
    );
    let both = report(&step("prompt_file = \"p.txt\", prompt = \"x\""));
    assert!(
        both.contains("write either `prompt` or `prompt_file`"),
        "{both}"
    );
    let neither = report(&step("json = true"));
    assert!(
        neither.contains("write either `prompt` or `prompt_file`"),
        "{neither}"
    );
    let useless = report(&step("prompt = \"{{ text }}\", content = \"none\""));
    assert!(useless.contains("leaves out the text"), "{useless}");
    let wordless = report(&step("prompt = \"Sum up.\", json = true"));
    assert!(
        wordless.contains("chat.json: needs the word JSON"),
        "{wordless}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_error() {
    let error = Config::load(std::path::Path::new("/nowhere/f.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/f.toml: cannot read it"),
        "{error}"
    );
}

#[test]
fn a_catalog_binds_steps_in_their_order() {
    let config = Config::parse("filefleet.toml", Config::example_toml()).unwrap();
    let options = CatalogOptions {
        rehearse: Some("http://127.0.0.1:9".to_owned()),
    };
    let catalog = Catalog::build(&config, &options).unwrap();
    let first = catalog.first_step("invoices").unwrap();
    let after = |step: &str| -> Vec<&str> {
        let steps = catalog.after("invoices", step).iter();
        steps.map(|step| step.name.as_str()).collect()
    };
    assert_eq!(
        (first.name.as_str(), after("read")),
        ("read", vec!["extract"])
    );
    assert!(first.call.needs_content());
    let second = catalog.step("invoices", "extract").unwrap();
    assert_eq!(second.service, "gpt");
    assert!(after("extract").is_empty() && after("nothing").is_empty());
    assert!(!second.call.needs_content());
    assert!(catalog.step("invoices", "nothing").is_none());
    assert!(catalog.first_step("nothing").is_none());
    let services: Vec<_> = catalog
        .services()
        .map(|s| (s.name.as_str(), s.deployments[0].calls.in_flight))
        .collect();
    let expected = [
        ("both", 256),
        ("docs", 64),
        ("eyes", 256),
        ("gpt", 256),
        ("ner", 16),
        ("ocr", 256),
        ("pdf", 2),
    ];
    assert_eq!(services, expected);
}

#[test]
fn quotas_are_told_by_the_second_or_the_minute_and_the_lower_one_holds() {
    let with = |limits: &str| {
        let text = SERVICE.replace(
            "kind = \"openai\"",
            &format!("kind = \"openai\"\nlimits = {{ {limits} }}"),
        );
        Config::parse("f.toml", &text).map(|config| config.services["gpt"].clone())
    };
    let both = with("requests_per_second = 10, requests_per_minute = 500").unwrap();
    assert_eq!(both.quotas.requests_per_minute, Some(500));
    assert!(both.seeking);
    let tokens = with("tokens_per_minute = 1_000_000, in_flight = 7").unwrap();
    assert_eq!(tokens.quotas.tokens_per_minute, Some(1_000_000));
    assert_eq!((tokens.in_flight, tokens.seeking), (7, false));
    let wrong = with("requests_per_second = 0, polls_per_second = 1").unwrap_err();
    let wrong = wrong.to_string();
    assert!(
        wrong.contains("requests_per_second: must be from 1"),
        "{wrong}"
    );
    assert!(wrong.contains("polls_per_second: unknown key"), "{wrong}");
}
