//! Which requests are the same one; where their answers are kept is tested in [`kept`].

mod kept;

use std::fs;

use filefleet_shared::wire::StepMessage;
use serde_json::json;

use super::*;
use crate::{
    config::Config,
    service::{Catalog, CatalogOptions, Heard, tests::message},
};

const CHAT: &str = r#"
[journal]
url = "journal"
[retry]
attempts = 6
[service.gpt]
kind = "openai"
endpoint = "https://api.openai.com/v1"
timeout = "2min"
max_file_bytes = "20MB"
limits = { in_flight = 16 }
price = { per_call = 1.0 }
[[pipeline.letters]]
name = "read"
service = "gpt"
chat = { model = "m", prompt = "Read." }
[[pipeline.letters]]
name = "sum"
service = "gpt"
timeout = "1min"
chat = { model = "m", prompt = "Sum up: {{ read.text }} {{ text }}", system = "Be brief.", max_tokens = 9, temperature = 0.5, top_p = 0.5, seed = 1, detail = "low" }
"#;

/// The request of the last step of the only pipeline.
fn request(text: &str, message: &StepMessage, content: &[u8]) -> Option<Request> {
    let config = Config::parse("f.toml", text).unwrap();
    let catalog = Catalog::build(&config, &CatalogOptions::default()).unwrap();
    let pipeline = catalog.pipelines().next().unwrap();
    let heard = Heard::default();
    let input = StepInput {
        message,
        content: Bytes::copy_from_slice(content),
        heard: &heard,
    };
    Request::of(catalog.steps(pipeline).unwrap().last().unwrap(), &input)
}

fn key(text: &str, message: &StepMessage, content: &[u8]) -> Identity {
    request(text, message, content).unwrap().key()
}

fn letter(name: &str) -> StepMessage {
    let mut message = message(name);
    message
        .outputs
        .insert("read".to_owned(), json!({"text": "A letter."}));
    message
}

fn with(old: &str, new: &str) -> Identity {
    assert!(CHAT.contains(old), "{old}");
    key(&CHAT.replacen(old, new, 1), &letter("a.txt"), b"hello")
}

/// A service that needs more than a text, with one step.
fn single(service: &str, step: &str) -> String {
    format!(
        "[journal]\nurl = \"journal\"\n[service.s]\n{service}\n\
         [[pipeline.p]]\nname = \"a\"\nservice = \"s\"\n{step}\n"
    )
}

#[test]
fn another_name_of_a_file_or_a_step_is_the_same_request_and_limits_and_prices_are_no_part_of_it() {
    let first = key(CHAT, &letter("a.txt"), b"hello");
    assert_eq!(key(CHAT, &letter("in/b.md"), b"hello"), first);
    let mut other = letter("a.txt");
    other.seq += 1;
    other.file.size = 99;
    other.file.etag = Some("v2".to_owned());
    other.step = "sum".to_owned();
    assert_eq!(key(CHAT, &other, b"hello"), first);
    for (old, new) in [
        ("attempts = 6", "attempts = 9"),
        ("in_flight = 16", "in_flight = 1"),
        ("per_call = 1.0", "per_call = 2.0"),
        ("timeout = \"2min\"", "timeout = \"1min\""),
        ("timeout = \"1min\"", "when = \"file.size > 0\""),
        ("timeout = \"1min\"", "retry = { attempts = 2 }"),
        ("max_file_bytes = \"20MB\"", "organization = \"org-1\""),
        ("name = \"sum\"", "name = \"summary\""),
        ("url = \"journal\"", "url = \"elsewhere\""),
    ] {
        assert_eq!(with(old, new), first, "{old} -> {new}");
    }
}

#[test]
fn a_secret_is_no_part_of_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let keyed = |name: &str, secret: &str| {
        let path = dir.path().join(name);
        fs::write(&path, secret).unwrap();
        let line = format!("timeout = \"2min\"\nkey = {{ file = {path:?} }}");
        with("timeout = \"2min\"", &line)
    };
    assert_eq!(
        keyed("one", "secret"),
        key(CHAT, &letter("a.txt"), b"hello")
    );
    assert_eq!(keyed("two", "another"), keyed("one", "secret"));
}

#[test]
fn whatever_decides_an_answer_makes_another_request() {
    let first = key(CHAT, &letter("a.txt"), b"hello");
    for (old, new) in [
        ("api.openai.com", "example.com"),
        (
            "model = \"m\", prompt = \"Sum",
            "model = \"n\", prompt = \"Sum",
        ),
        ("Sum up: ", "Sum up! "),
        ("{{ text }}", "{{ text }} of {{ file.name }}"),
        ("Be brief.", "Be long."),
        (", system = \"Be brief.\"", ""),
        ("max_tokens = 9", "max_tokens = 10"),
        ("temperature = 0.5", "temperature = 0.6"),
        ("top_p = 0.5", "top_p = 0.6"),
        ("seed = 1", "seed = 2"),
        ("detail = \"low\"", "detail = \"high\""),
        ("timeout = \"2min\"", "max_tokens_field = \"max_tokens\""),
        (
            "detail = \"low\"",
            "schema = { type = \"object\", properties = { a = { type = \"string\" } } }",
        ),
    ] {
        assert_ne!(with(old, new), first, "{old} -> {new}");
    }
    assert_ne!(key(CHAT, &letter("a.txt"), b"hello!"), first);
    let mut other = letter("a.txt");
    other
        .outputs
        .insert("read".to_owned(), json!({"text": "Another."}));
    assert_ne!(key(CHAT, &other, b"hello"), first);
    // A name that is asked about is part of the question.
    let named = CHAT.replace("{{ text }}", "{{ file.name }}");
    let of = |name: &str| key(&named, &letter(name), b"hello");
    assert_ne!(of("a.txt"), of("b.txt"));
}

#[test]
fn documents_images_and_texts_to_embed_are_found_by_their_bytes() {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\0\0\x01\0\x08\x02\0\0\0\0\0\0\0";
    let azure = |kind: &str| format!("kind = \"{kind}\"\nendpoint = \"https://x.example\"");
    let openai = "kind = \"openai\"\nendpoint = \"https://x.example/v1\"";
    let (ocr, eyes) = (azure("docintel"), azure("vision"));
    let later = format!("{ocr}\napi_version = \"2025-01-01\"");
    let two = b"%PDF-1.7 two".as_slice();
    let (small, model) = (
        "embed = { model = \"e\", dimensions = 8 }",
        "embed = { model = \"f\" }",
    );
    let texts = (b"one".as_slice(), b"two".as_slice());
    for (service, step, (a, b), [other_service, other_step]) in [
        (
            &*ocr,
            "read = {}",
            (b"%PDF-1.7 one".as_slice(), two),
            [&*later, "read = { pages = \"1\" }"],
        ),
        (
            &eyes,
            "look = { features = [\"tags\"] }",
            (PNG, &[PNG, b"x"].concat()),
            [
                &*later.replace("docintel", "vision"),
                "look = { features = [\"caption\"] }",
            ],
        ),
        (
            openai,
            "embed = { model = \"e\" }",
            texts,
            [&openai.replace("x.", "y."), small],
        ),
        (openai, small, texts, [&openai.replace("/v1", "/v2"), model]),
    ] {
        let of = |service: &str, step: &str, name: &str, content: &[u8]| {
            key(&single(service, step), &message(name), content)
        };
        let first = of(service, step, "a", a);
        assert_eq!(of(service, step, "b", a), first, "{step}");
        assert_ne!(of(service, step, "a", b), first, "{step}");
        assert_ne!(of(other_service, step, "a", a), first, "{step}");
        assert_ne!(of(service, other_step, "a", a), first, "{step}");
    }
}

#[test]
fn what_may_change_by_itself_is_kept_only_where_its_step_says_so() {
    let http = "kind = \"http\"\nendpoint = \"https://x.example\"\nheaders = { mode = \"fast\" }";
    let search = "kind = \"search\"\nendpoint = \"https://x.example\"\nkey = { file = \"key\" }";
    let (search, command) = (
        search.replace("key = { file = \"key\" }", ""),
        "kind = \"command\"\nprogram = \"seq\"",
    );
    for (service, step) in [
        (
            http,
            "request = { json = { text = \"{{ text }}\" }, path = \"x\" }",
        ),
        (http, "request = { file = \"bytes\" }"),
        (
            &search,
            "query = { index = \"docs\", search = \"{{ text }}\" }",
        ),
        (command, "run = { args = [\"{{ text }}\"] }"),
        (command, "run = { args = [\"{{ file.path }}\"] }"),
    ] {
        let of = |more: &str, name: &str, content: &[u8]| {
            request(
                &single(service, &format!("{step}\n{more}")),
                &message(name),
                content,
            )
        };
        assert_eq!(of("", "a.txt", b"one"), None, "{step}");
        let first = of("journal = true", "a.txt", b"one");
        assert!(first.is_some(), "{step}");
        assert_eq!(of("journal = true", "b.txt", b"one"), first, "{step}");
        assert_ne!(of("journal = true", "a.txt", b"two"), first, "{step}");
    }
    let off = CHAT.replace("timeout = \"1min\"", "journal = false");
    assert_eq!(request(&off, &letter("a.txt"), b"hello"), None);
    // There is nothing to ask.
    assert_eq!(request(CHAT, &letter("a.txt"), b""), None);
}

#[test]
fn where_only_the_name_of_a_file_is_sent_another_version_of_it_is_another_request() {
    let http = "kind = \"http\"\nendpoint = \"https://x.example\"";
    for (service, step) in [
        (
            "kind = \"command\"\nprogram = \"seq\"",
            "run = { args = [\"{{ file.key }}\"], stdin = \"none\" }",
        ),
        (
            http,
            "request = { json = { url = \"s3://papers/{{ file.key }}\" } }",
        ),
    ] {
        let text = single(service, &format!("{step}\njournal = true"));
        let of = |message: &StepMessage| request(&text, message, b"").unwrap();
        let first = message("a.txt");
        let mut later = first.clone();
        later.file.etag = Some("v2".to_owned());
        assert_eq!(of(&first), of(&first.clone()), "{step}");
        assert_ne!(of(&first), of(&later), "{step}");
        let mut elsewhere = first.clone();
        elsewhere.file.root = "other".to_owned();
        assert_ne!(of(&first), of(&elsewhere), "{step}");
    }
}

#[test]
fn a_journal_that_is_missing_or_of_no_use_is_refused() {
    let without = CHAT
        .replace("[journal]\nurl = \"journal\"", "")
        .replace("timeout = \"1min\"", "journal = true");
    let form = single(
        "kind = \"http\"\nendpoint = \"https://x\"",
        "journal = true\nrequest = { file = \"multipart\" }",
    );
    let index = single(
        "kind = \"search\"\nendpoint = \"https://x\"",
        "journal = true\nindex = { index = \"docs\", document = { a = \"x\" } }",
    );
    for (text, why) in [
        (without, "wants its answers kept"),
        (form, "no two forms"),
        (index, "would write nothing"),
        (
            CHAT.replace("url = \"journal\"", "uri = \"journal\""),
            "journal.url",
        ),
    ] {
        let said = Config::parse("f.toml", &text).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn an_accepted_request_is_known_again_unless_its_step_asks_something_else_by_now() {
    let bound = |text: &str| {
        let config = Config::parse("f.toml", text).unwrap();
        let catalog = Catalog::build(&config, &CatalogOptions::default()).unwrap();
        catalog.step("letters", "sum").unwrap().clone()
    };
    let request = request(CHAT, &letter("a.txt"), b"hello").unwrap();
    let asked = request.asked(false);
    assert_eq!(Request::known(&bound(CHAT), &asked), Some(request));
    let changed = bound(&CHAT.replace("Be brief.", "Be long."));
    assert_eq!(Request::known(&changed, &asked), None);
    let forged = Asked {
        input: "../../secret".to_owned(),
        ..asked
    };
    assert_eq!(Request::known(&bound(CHAT), &forged), None);
}

#[test]
fn it_does_not_matter_which_deployment_answers_but_which_service_they_are_of_does() {
    let of = |deployments: &[(&str, &str)]| {
        let endpoint = "endpoint = \"https://api.openai.com/v1\"\n";
        let text = CHAT.replacen(endpoint, "", 1);
        let tables = deployments.iter().map(|(name, more)| {
            format!(
                "[[service.gpt.deployments]]\nname = \"{name}\"\n\
                 endpoint = \"https://{name}.example.com/v1\"\n{more}\n"
            )
        });
        let text = text + &tables.collect::<String>();
        key(&text, &letter("a.txt"), b"hello")
    };
    let first = of(&[("east", ""), ("west", "models = { m = \"mini\" }")]);
    assert_eq!(of(&[("east", "weight = 3"), ("north", "")]), first);
    assert_eq!(of(&[("east", "")]), first);
    assert_ne!(of(&[("west", ""), ("east", "")]), first);
    assert_ne!(
        of(&[("east", "models = { m = \"mini\" }"), ("west", "")]),
        first
    );
}
