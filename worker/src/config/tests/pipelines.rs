//! What every step may say besides its action, and schemas of answers.

use super::*;

fn steps(first: &str, second: &str) -> String {
    format!(
        "{SERVICE}[[pipeline.p]]\nname = \"read\"\nservice = \"gpt\"\n{first}\n\
         chat = {{ model = \"m\", prompt = \"a\" }}\n\
         [[pipeline.p]]\nname = \"sum\"\nservice = \"gpt\"\n{second}\n"
    )
}

const CHAT: &str = "chat = { model = \"m\", prompt = \"{{ read.text }}\" }";

#[test]
fn a_step_may_have_a_condition_a_deadline_and_retries_of_its_own() {
    let text = steps(
        "when = \"file.media_type is startingwith 'image/'\"",
        &format!(
            "when = \"read is not none\"\ntimeout = \"9s\"\nretry = {{ attempts = 2 }}\n{CHAT}"
        ),
    );
    let config = Config::parse("f.toml", &format!("{text}[retry]\ncap = \"7min\"\n")).unwrap();
    let [read, sum] = config.pipelines["p"].as_slice() else {
        panic!("{:?}", config.pipelines)
    };
    assert_eq!((&read.timeout, &read.retry), (&None, &None));
    assert_eq!(sum.timeout, Some(Duration::from_secs(9)));
    let retry = sum.retry.clone().unwrap();
    assert_eq!((retry.attempts, retry.cap), (2, Duration::from_secs(420)));
    let catalog = Catalog::build(&config, &CatalogOptions::default()).unwrap();
    let [read, sum] = ["read", "sum"].map(|name| catalog.step("p", name).unwrap());
    assert_eq!(read.timeout, Duration::from_secs(120));
    assert_eq!(sum.timeout, Duration::from_secs(9));
    assert!(read.when.is_some() && sum.when.is_some() && sum.retry.is_some());
}

#[test]
fn mistakes_in_what_a_step_says_are_told_by_key() {
    let wrong = |first: &str, second: &str| report(&steps(first, second));
    for (first, second, expected) in [
        (
            "when = \"sum is none\"",
            CHAT,
            "f.toml:7: pipeline.p[0].when: `sum` is not known here; a condition has file, outputs",
        ),
        ("when = \"file.name|nope\"", CHAT, "pipeline.p[0].when: "),
        ("timeout = 3", CHAT, "pipeline.p[0].timeout: has no unit"),
        (
            "retry = { base = \"9min\" }",
            CHAT,
            "pipeline.p[0].retry.base: `base` must not be more than `cap`",
        ),
        (
            "retry = { atempts = 1 }",
            CHAT,
            "pipeline.p[0].retry.atempts: unknown key, did you mean `attempts`?",
        ),
    ] {
        let said = wrong(first, second);
        assert!(said.contains(expected), "{said}");
    }
    let text = format!(
        "[broker]\nurl = \"amqp://r\"\nack_timeout = \"150s\"\n{}",
        steps("timeout = \"200s\"", CHAT)
    );
    let expected =
        "f.toml:1: broker: ack_timeout must be above timeout plus hold of step \"read\" of p";
    assert_eq!(report(&text), expected);
}

/// The second step, with a schema.
fn structured(schema: &str) -> String {
    steps(
        "",
        &format!("chat = {{ model = \"m\", prompt = \"a\", {schema} }}"),
    )
}

#[test]
fn a_schema_comes_inline_or_from_a_file_and_its_content_decides_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    fs::write(&path, structured("schema = \"a.json\"")).unwrap();
    let digest = |schema: &str| {
        fs::write(folder.path().join("a.json"), schema).unwrap();
        let config = Config::load(&path).unwrap();
        config.answers_digest("p", false).unwrap()
    };
    let from_file = digest("{\"type\": \"object\"}");
    assert_ne!(from_file, digest("{\"type\": \"array\"}"));
    let inline = |schema: &str| {
        let config = Config::parse("f.toml", &structured(schema)).unwrap();
        config.answers_digest("p", false).unwrap()
    };
    assert_eq!(from_file, inline("schema = { type = \"object\" }"));
    assert_ne!(
        from_file,
        inline("schema = { type = \"object\" }, strict = true")
    );
    assert_ne!(
        from_file,
        inline("schema = { type = \"object\" }, schema_mode = \"prompt\"")
    );
}

#[test]
fn a_condition_decides_the_answers_and_deadlines_and_retries_do_not() {
    let digest = |first: &str| {
        let config = Config::parse("f.toml", &steps(first, CHAT)).unwrap();
        config.answers_digest("p", false).unwrap()
    };
    assert_ne!(digest("when = \"file.size > 1\""), digest(""));
    assert_ne!(
        digest("when = \"file.size > 1\""),
        digest("when = \"file.size > 2\"")
    );
    assert_eq!(
        digest("timeout = \"1s\"\nretry = { attempts = 1 }"),
        digest("")
    );
}

#[test]
fn a_schema_that_cannot_be_meant_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.json");
    fs::write(&bad, "{\"type\": \"objekt\"}").unwrap();
    let broken = folder.path().join("broken.json");
    fs::write(&broken, "{").unwrap();
    let wrong = |schema: &str| report(&structured(schema));
    for (schema, expected) in [
        (
            "schema = \"nowhere.json\"".to_owned(),
            "pipeline.p[1].chat.schema: nowhere.json cannot be read: ".to_owned(),
        ),
        (
            format!("schema = {bad:?}"),
            format!("{} is not a JSON Schema: ", bad.display()),
        ),
        (
            format!("schema = {broken:?}"),
            format!("{} is not JSON: ", broken.display()),
        ),
        (
            "schema = { type = 3 }".to_owned(),
            "chat.schema: is not a JSON Schema: ".to_owned(),
        ),
        (
            "strict = true".to_owned(),
            "chat.strict: is of no use without `schema`".to_owned(),
        ),
        (
            "schema = { type = \"object\" }, json = true".to_owned(),
            "chat.json: is of no use beside `schema`".to_owned(),
        ),
        (
            "schema = { type = \"object\" }, strict = true, schema_mode = \"prompt\"".to_owned(),
            "chat.strict: is only for `schema_mode".to_owned(),
        ),
    ] {
        let said = wrong(&schema);
        assert!(said.contains(&expected), "{said}");
    }
}
