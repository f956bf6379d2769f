//! One question without a file.

use super::*;

fn quick(endpoint: &str, prompt: &str) -> Result<Config, ConfigErrors> {
    Config::quick(QuickConfig {
        endpoint: endpoint.to_owned(),
        key_env: Some("FILEFLEET_TEST_NOT_SET".to_owned()),
        model: "m".to_owned(),
        prompt: prompt.to_owned(),
        in_flight: Some(4),
    })
}

#[test]
fn one_question_needs_no_file() {
    let config = quick("https://api.openai.com", "What is this?").unwrap();
    assert_eq!(config.services["openai"].in_flight, 4);
    assert_eq!(config.pipelines["default"][0].name, "answer");
    let report = quick("ftp://x", "{{ oops }}").unwrap_err().to_string();
    let expected = "\
arguments: endpoint: must start with https:// or http:// and name a host
arguments: prompt: `oops` is not known here; a prompt has text, file, outputs";
    assert_eq!(report, expected);
}

#[test]
fn a_missing_key_is_named_when_the_catalog_is_built_and_not_asked_for_in_a_rehearsal() {
    let config = quick("https://api.openai.com", "What is this?").unwrap();
    let error = Catalog::build(&config, &CatalogOptions::default())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "key_env: the environment variable FILEFLEET_TEST_NOT_SET is not set"
    );
    let rehearsal = CatalogOptions {
        rehearse: Some("http://127.0.0.1:9".to_owned()),
    };
    assert!(Catalog::build(&config, &rehearsal).is_ok());
    assert!(Catalog::build(&Config::rehearsal().unwrap(), &rehearsal).is_ok());
}
