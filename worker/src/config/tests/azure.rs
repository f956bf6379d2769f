use super::*;
use crate::service::{
    docintel::{Format, ReadConfig},
    vision::LookConfig,
};

fn read(config: &Config) -> &ReadConfig {
    match &config.pipelines["scans"][0].action {
        Action::Read(read) => read,
        other => panic!("{other:?}"),
    }
}

fn look(config: &Config) -> &LookConfig {
    match &config.pipelines["photos"][0].action {
        Action::Look(look) => look,
        other => panic!("{other:?}"),
    }
}

const SERVICES: &str = "[service.ocr]\nkind = \"docintel\"\nendpoint = \"https://x\"\n\
     [service.eyes]\nkind = \"vision\"\nendpoint = \"https://x\"\n";

fn step(pipeline: &str, service: &str, action: &str) -> String {
    format!("{SERVICES}[[pipeline.{pipeline}]]\nname = \"s\"\nservice = \"{service}\"\n{action}\n")
}

#[test]
fn the_example_names_the_defaults_of_documents_and_images() {
    let config = Config::parse("filefleet.toml", Config::example_toml()).unwrap();
    assert_eq!(*read(&config), ReadConfig::default());
    let limits = |name: &str| {
        let service = &config.services[name];
        (service.in_flight, service.polls, service.max_file_bytes)
    };
    assert_eq!(limits("ocr"), (256, Some(16), 50_000_000));
    assert_eq!(limits("eyes"), (256, None, 20_971_520));
    assert_eq!(limits("gpt"), (256, None, 20_000_000));
    assert_eq!(limits("ner"), (16, Some(16), 20_000_000));

    let text = Config::example_toml()
        .replace("# model = \"prebuilt-read\"", "model = \"prebuilt-read\"")
        .replace("# format = \"text\"", "format = \"text\"")
        .replace("# result = \"content\"", "result = \"content\"")
        .replace("# gender_neutral", "gender_neutral");
    let written = Config::parse("filefleet.toml", &text).unwrap();
    assert_eq!(read(&written), read(&config));
    assert_eq!(look(&written), look(&config));
}

#[test]
fn documents_are_read_as_asked() {
    let action = "read = { model = \"prebuilt-layout\", pages = \"1-3,5\", locale = \"de\", \
                  features = [\"barcodes\"], query_fields = [\"Total\", \"Vendor\"], \
                  format = \"markdown\", result = \"full\" }";
    let config = Config::parse("f.toml", &step("scans", "ocr", action)).unwrap();
    let expected = ReadConfig {
        model: "prebuilt-layout".to_owned(),
        pages: Some("1-3,5".to_owned()),
        locale: Some("de".to_owned()),
        features: vec!["barcodes", "queryFields"],
        query_fields: vec!["Total".to_owned(), "Vendor".to_owned()],
        format: Format::Markdown,
        full: true,
    };
    assert_eq!(*read(&config), expected);
    let plain = Config::parse("f.toml", &step("scans", "ocr", "read = {}")).unwrap();
    assert_eq!(*read(&plain), ReadConfig::default());
}

#[test]
fn every_mistake_about_a_document_is_listed() {
    let action = "read = { model = \"-\", pages = \"3-1\", features = [\"queryFields\"], \
                  format = \"html\", result = \"all\", page = 1 }";
    let expected = "\
f.toml:10: pipeline.scans[0].read.features: `queryFields` needs `query_fields`
f.toml:10: pipeline.scans[0].read.format: \"html\" is not one of `text`, `markdown`
f.toml:10: pipeline.scans[0].read.model: must be 2 to 64 letters, digits, `.`, `_`, `~` and `-`, like prebuilt-layout
f.toml:10: pipeline.scans[0].read.page: unknown key, did you mean `pages`?
f.toml:10: pipeline.scans[0].read.pages: write pages and ranges from 1, like \"1-3,5\"
f.toml:10: pipeline.scans[0].read.result: \"all\" is not one of `content`, `full`";
    assert_eq!(report(&step("scans", "ocr", action)), expected);
    for pages in ["0", "1,", "1-", "a", "-1", "1--2", "+1"] {
        let text = step("scans", "ocr", &format!("read = {{ pages = \"{pages}\" }}"));
        assert!(report(&text).contains("read.pages"), "{pages}");
    }
    let comma = report(&step("scans", "ocr", "read = { query_fields = [\"a,b\"] }"));
    assert!(comma.contains("have a comma"), "{comma}");
}

#[test]
fn every_mistake_about_an_image_is_listed() {
    let action = "look = { features = [\"tags\"], language = \"e\", gender_neutral_caption = true, \
                  smartcrops_aspect_ratios = [0.9], model_version = \"newest\" }";
    let expected = "\
f.toml:10: pipeline.photos[0].look.gender_neutral_caption: is about `caption` and `denseCaptions`; neither is in `features`
f.toml:10: pipeline.photos[0].look.language: must be a language code, like \"en\"
f.toml:10: pipeline.photos[0].look.model_version: must be \"latest\", or a date like \"2023-10-01\", or either with -preview
f.toml:10: pipeline.photos[0].look.smartcrops_aspect_ratios: is about `smartCrops`, which is not in `features`";
    assert_eq!(report(&step("photos", "eyes", action)), expected);
    for (action, message) in [
        ("look = {}", "look.features: is missing"),
        (
            "look = { features = [] }",
            "look.features: must not be empty",
        ),
        (
            "look = { features = [\"tags\", \"tags\"] }",
            "stands there twice",
        ),
        (
            "look = { features = [\"tag\"] }",
            "\"tag\" is not one of `tags`",
        ),
        (
            "look = { features = [\"smartCrops\"], smartcrops_aspect_ratios = [2] }",
            "must be from 0.75 to 1.8",
        ),
        (
            "read = {}",
            "is not offered by a service of kind \"vision\"",
        ),
    ] {
        let text = report(&step("photos", "eyes", action));
        assert!(text.contains(message), "{text}");
    }
}

/// Another model, version or place gives other answers; limits and keys do not.
#[test]
fn what_decides_the_answers_of_documents_changes_their_digest() {
    let text = step("scans", "ocr", "read = { pages = \"1\" }");
    let digest = |text: &str| {
        let config = Config::parse("f.toml", text).unwrap();
        config.answers_digest("scans", false).unwrap()
    };
    let first = "kind = \"docintel\"";
    for (old, new, same) in [
        ("pages = \"1\"", "pages = \"2\"", false),
        ("https://x", "https://y", false),
        (
            first,
            "kind = \"docintel\"\napi_version = \"2025-01-01\"",
            false,
        ),
        (first, "kind = \"docintel\"\nlimits = { polls = 3 }", true),
    ] {
        let changed = text.replacen(old, new, 1);
        assert_eq!(digest(&changed) == digest(&text), same, "{new}");
    }
}

#[test]
fn only_services_with_operations_have_room_for_polls() {
    let with = |service: &str, limits: &str| {
        let text = SERVICES.replace(
            &format!("[service.{service}]\n"),
            &format!("[service.{service}]\nlimits = {limits}\n"),
        );
        Config::parse("f.toml", &text)
    };
    let config = with("ocr", "{ polls = 3 }").unwrap();
    assert_eq!(config.services["ocr"].polls, Some(3));
    let refused = with("eyes", "{ polls = 3 }").unwrap_err().to_string();
    assert!(refused.contains("limits.polls: unknown key"), "{refused}");
}
