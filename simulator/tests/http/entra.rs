//! Tokens: who gets one, and what it opens for how long.

use std::time::Duration;

use filefleet_simulator::{EntraConfig, SimulatorConfig};
use serde_json::Value;

use super::{Reply, Service, chat};

const COGNITIVE: &str = "https%3A%2F%2Fcognitiveservices.azure.com%2F.default";
const ASSERTION: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

async fn service(lifetime: Duration) -> Service {
    Service::start(SimulatorConfig {
        require_key: Some("k".to_owned()),
        entra: EntraConfig {
            tenant: Some("t".to_owned()),
            client_id: Some("c".to_owned()),
            client_secret: Some("s".to_owned()),
            assertion: Some("a".to_owned()),
            lifetime,
            ..EntraConfig::default()
        },
        ..SimulatorConfig::default()
    })
    .await
}

async fn ask(service: &Service, tenant: &str, form: String) -> Reply {
    let url = format!(
        "{}/{tenant}/oauth2/v2.0/token",
        service.simulator.base_url()
    );
    let request = service
        .client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    Reply::of(request.send().await.unwrap()).await
}

async fn token(service: &Service, scope: &str) -> String {
    let form = format!("grant_type=client_credentials&client_id=c&client_secret=s&scope={scope}");
    let issued = ask(service, "t", form).await.json();
    assert_eq!(issued["token_type"], "Bearer");
    assert!(issued["expires_in"].is_u64(), "{issued}");
    issued["access_token"].as_str().unwrap().to_owned()
}

async fn opens(service: &Service, token: &str) -> bool {
    let request = service
        .request("/openai/v1/chat/completions", &chat("Hello"))
        .header("authorization", format!("Bearer {token}"));
    match request.send().await.unwrap().status().as_u16() {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_token_opens_the_services_of_its_audience_until_it_ends() {
    let service = service(Duration::from_secs(3600)).await;
    let good = token(&service, COGNITIVE).await;
    assert!(opens(&service, &good).await);
    let elsewhere = token(&service, "https%3A%2F%2Fsearch.azure.com%2F.default").await;
    assert!(!opens(&service, &elsewhere).await);
    let mut config = service.simulator.config();
    config.entra.lifetime = Duration::ZERO;
    service.simulator.reconfigure(config).unwrap();
    let ended = token(&service, COGNITIVE).await;
    assert!(!opens(&service, &ended).await);
    assert_eq!(service.stats().await.tokens_issued, 3);
}

#[tokio::test]
async fn who_does_not_show_what_it_should_is_refused_in_the_words_of_entra_id() {
    let service = service(Duration::from_secs(60)).await;
    let with = |more: &str| format!("grant_type=client_credentials&scope={COGNITIVE}&{more}");
    for (tenant, form, status, word, code) in [
        (
            "t",
            with("client_id=c&client_secret=x"),
            401,
            "invalid_client",
            "7000215",
        ),
        ("t", with("client_id=c"), 401, "invalid_client", "7000218"),
        (
            "t",
            with("client_id=d&client_secret=s"),
            400,
            "unauthorized_client",
            "700016",
        ),
        (
            "u",
            with("client_id=c&client_secret=s"),
            400,
            "invalid_request",
            "90002",
        ),
        (
            "t",
            with("client_id=c&client_assertion=a"),
            401,
            "invalid_client",
            "700213",
        ),
        (
            "t",
            "grant_type=password".to_owned(),
            400,
            "unsupported_grant_type",
            "70003",
        ),
        (
            "t",
            "grant_type=client_credentials&client_id=c&client_secret=s&scope=x".to_owned(),
            400,
            "invalid_scope",
            "1002012",
        ),
    ] {
        let reply = ask(&service, tenant, form.clone()).await;
        let said: Value = reply.json();
        assert_eq!(
            (reply.status.as_u16(), &said["error"]),
            (status, &word.into()),
            "{form}"
        );
        let description = said["error_description"].as_str().unwrap();
        assert!(
            description.starts_with(&format!("AADSTS{code}: ")),
            "{description}"
        );
    }
    let form = with(&format!(
        "client_id=c&client_assertion=a&client_assertion_type={ASSERTION}"
    ));
    assert_eq!(ask(&service, "t", form).await.status, 200);
}
