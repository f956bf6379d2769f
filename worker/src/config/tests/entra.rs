//! Identities in place of keys.

use super::*;
use crate::service::entra::Identity;

fn service(entra: &str) -> String {
    format!(
        "[service.s]\nkind = \"vision\"\nendpoint = \"https://x.cognitiveservices.azure.com\"\n{entra}\n"
    )
}

fn identity(entra: &str) -> Identity {
    let config = Config::parse("f.toml", &service(&format!("entra = {{ {entra} }}"))).unwrap();
    match &config.services["s"].kind {
        ServiceKind::Vision(vision) => vision.entra.clone().unwrap().identity,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_names_one_of_three_identities() {
    assert!(matches!(
        identity("tenant = \"t\", client_id = \"c\", client_secret = { env = \"S\" }"),
        Identity::Secret { .. }
    ));
    assert_eq!(
        identity("managed_identity = true"),
        Identity::Managed { client_id: None }
    );
    let workload = Identity::Workload {
        tenant: None,
        client_id: Some("c".to_owned()),
    };
    assert_eq!(
        identity("workload_identity = true, client_id = \"c\""),
        workload
    );
}

#[test]
fn what_cannot_be_meant_is_told_by_key() {
    for (text, expected) in [
        (
            "entra = { managed_identity = true }\nkey = { env = \"K\" }",
            "service.s.entra: write either `key` or `entra`",
        ),
        (
            "entra = {}",
            "service.s.entra: write one of `client_secret`",
        ),
        (
            "entra = { managed_identity = true, workload_identity = true }",
            "service.s.entra: write one of",
        ),
        (
            "entra = { client_secret = { env = \"S\" }, client_id = \"c\" }",
            "service.s.entra.tenant: is missing",
        ),
        (
            "entra = { client_secret = \"x\", tenant = \"t\", client_id = \"c\" }",
            "a secret must not stand",
        ),
        (
            "entra = { managed_identity = true, tenant = \"t\" }",
            "service.s.entra.tenant: a managed identity has its own",
        ),
        (
            "entra = { managed_identity = true, authority = \"http://login.example.com\" }",
            "service.s.entra.authority: would send a secret unencrypted",
        ),
        (
            "entra = { managd_identity = true }",
            "did you mean `managed_identity`?",
        ),
    ] {
        let said = report(&service(text));
        assert!(said.contains(expected), "{said}");
    }
    let openai = "[service.s]\nkind = \"openai\"\nendpoint = \"https://api.openai.com\"\nentra = { managed_identity = true }\n";
    assert!(report(openai).contains("f.toml:4: service.s.entra: is for Azure OpenAI"));
    let exposed = service("entra = { managed_identity = true }").replace("https://", "http://");
    assert!(
        report(&exposed).contains("unencrypted"),
        "{}",
        report(&exposed)
    );
}

/// An identity is no part of what decides the answers, as a key is not.
#[test]
fn the_answers_are_the_same_whoever_asks() {
    let digest = |text: &str| {
        let text = format!(
            "{}[[pipeline.p]]\nname = \"a\"\nservice = \"s\"\nlook = {{ features = [\"tags\"] }}\n",
            service(text)
        );
        let config = Config::parse("f.toml", &text).unwrap();
        config.answers_digest("p", false).unwrap()
    };
    assert_eq!(
        digest("entra = { managed_identity = true }"),
        digest("key = { env = \"K\" }")
    );
}
