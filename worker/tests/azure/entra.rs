//! Services that take tokens in place of keys, from a configuration to an answer, against the
//! simulator.

use std::{io::Write, time::Duration};

use filefleet_simulator::{EntraConfig, Simulator, SimulatorConfig, start};
use filefleet_worker::{
    config::Config,
    service::{BoundStep, CallError, Catalog, CatalogOptions, Reply},
};

use super::stand::{call, message};

/// Services that take no key, and an authority that knows one application.
async fn simulator(entra: EntraConfig) -> Simulator {
    let config = SimulatorConfig {
        require_key: Some("no key opens it".to_owned()),
        entra: EntraConfig {
            tenant: Some("t-1".to_owned()),
            client_id: Some("c-1".to_owned()),
            client_secret: Some("right".to_owned()),
            ..entra
        },
        ..SimulatorConfig::default()
    };
    start(config, ([127, 0, 0, 1], 0).into()).await.unwrap()
}

const CHAT: &str = "chat = { model = \"m\", prompt = \"Sum up.\" }";

fn config(base: &str, service: &str, action: &str, secret: &str) -> Config {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{secret}").unwrap();
    let (_, path) = file.keep().unwrap();
    let text = format!(
        "[service.x]\nendpoint = \"{base}\"\n{service}\n\
         [service.x.entra]\nauthority = \"{base}\"\ntenant = \"t-1\"\nclient_id = \"c-1\"\n\
         client_secret = {{ file = {path:?} }}\n\
         [[pipeline.p]]\nname = \"s\"\nservice = \"x\"\n{action}\n"
    );
    Config::parse("test.toml", &text).unwrap()
}

fn bound(config: &Config, options: &CatalogOptions) -> BoundStep {
    let catalog = Catalog::build(config, options).unwrap();
    catalog.first_step("p").unwrap().clone()
}

fn chat(simulator: &Simulator, secret: &str) -> BoundStep {
    let service = "kind = \"openai\"\ndialect = \"azure-v1\"";
    let config = config(&simulator.base_url(), service, CHAT, secret);
    bound(&config, &CatalogOptions::default())
}

async fn ask(step: &BoundStep) -> Result<Reply, CallError> {
    call(step, &message(step, "text/plain"), b"hello").await
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x60\0\0\0\x60\x08\x02\0\0\0";

#[tokio::test]
async fn every_service_of_azure_takes_a_token_in_place_of_its_key() {
    let simulator = simulator(EntraConfig::default()).await;
    let base = simulator.base_url();
    for (service, action, content) in [
        (
            "kind = \"openai\"\ndialect = \"azure-v1\"",
            CHAT,
            &b"hello"[..],
        ),
        (
            "kind = \"openai\"\ndialect = \"azure\"\napi_version = \"2024-10-21\"",
            CHAT,
            b"hello",
        ),
        ("kind = \"docintel\"", "read = {}", b"%PDF-1.4 hello"),
        ("kind = \"vision\"", "look = { features = [\"tags\"] }", PNG),
    ] {
        let step = bound(
            &config(&base, service, action, "right"),
            &CatalogOptions::default(),
        );
        let reply = call(&step, &message(&step, "text/plain"), content).await;
        assert!(reply.is_ok(), "{service}: {reply:?}");
    }
    assert_eq!(simulator.stats().tokens_issued, 4);
    assert_eq!(simulator.stats().by_status.get(&401), None);
}

#[tokio::test]
async fn a_search_service_is_shown_a_token_of_its_own_audience() {
    let simulator = simulator(EntraConfig::default()).await;
    let query = "query = { index = \"nothing\", search = \"hello\" }";
    let config = config(&simulator.base_url(), "kind = \"search\"", query, "right");
    let reply = ask(&bound(&config, &CatalogOptions::default())).await;
    // It was let in, and has no such index.
    assert!(
        matches!(reply, Err(CallError::Misconfigured(_))),
        "{reply:?}"
    );
    assert_eq!(simulator.stats().tokens_issued, 1);
}

#[tokio::test]
async fn calls_side_by_side_share_one_token_and_tokens_that_end_are_renewed() {
    let simulator = simulator(EntraConfig {
        lifetime: Duration::from_secs(2),
        ..EntraConfig::default()
    })
    .await;
    let step = chat(&simulator, "right");
    for round in 0..3 {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let step = step.clone();
            calls.spawn(async move { ask(&step).await });
        }
        for reply in calls.join_all().await {
            assert!(reply.is_ok(), "round {round}: {reply:?}");
        }
        // Past the end of what was used.
        tokio::time::sleep(Duration::from_millis(2100)).await;
    }
    let stats = simulator.stats();
    assert_eq!((stats.paid, stats.by_status.get(&401)), (60, None));
    assert!(
        (3..=6).contains(&stats.token_requests),
        "{}",
        stats.token_requests
    );
}

#[tokio::test]
async fn a_token_that_the_service_refuses_is_replaced_for_the_next_call() {
    let simulator = simulator(EntraConfig::default()).await;
    let step = chat(&simulator, "right");
    let mut wrong = simulator.config();
    wrong.entra.refused = true;
    let right = simulator.config();
    simulator.reconfigure(wrong).unwrap();
    let refused = ask(&step).await;
    assert!(
        matches!(&refused, Err(CallError::Unauthorized(why)) if !why.contains("simulated-token")),
        "{refused:?}"
    );
    simulator.reconfigure(right).unwrap();
    assert!(ask(&step).await.is_ok());
    assert_eq!(simulator.stats().tokens_issued, 2);
}

#[tokio::test]
async fn a_wrong_secret_says_what_to_mend_and_not_what_it_is() {
    let simulator = simulator(EntraConfig::default()).await;
    let Err(CallError::Unauthorized(why)) = ask(&chat(&simulator, "hunter2")).await else {
        panic!("the secret is wrong")
    };
    assert!(
        why.contains("client_secret is wrong") && why.contains("7000215"),
        "{why}"
    );
    assert!(!why.contains("hunter2"), "{why}");
    assert_eq!(simulator.stats().requests, 0, "the service was not asked");
}

#[tokio::test]
async fn an_authority_that_is_away_is_waited_for() {
    let simulator = simulator(EntraConfig {
        down: true,
        ..EntraConfig::default()
    })
    .await;
    let reply = ask(&chat(&simulator, "right")).await;
    assert!(matches!(reply, Err(CallError::Unreachable(_))), "{reply:?}");
    let service = "kind = \"openai\"\ndialect = \"azure-v1\"";
    let nobody = config("http://127.0.0.1:1", service, CHAT, "right");
    let reply = ask(&bound(&nobody, &CatalogOptions::default())).await;
    assert!(matches!(reply, Err(CallError::Unreachable(_))), "{reply:?}");
}

#[tokio::test]
async fn a_managed_identity_is_asked_for_as_the_machine_wants_it() {
    let simulator = simulator(EntraConfig::default()).await;
    let base = simulator.base_url();
    let with = |client_id: &str| {
        let text = format!(
            "[service.x]\nkind = \"vision\"\nendpoint = \"{base}\"\n\
             entra = {{ managed_identity = true, authority = \"{base}\"{client_id} }}\n\
             [[pipeline.p]]\nname = \"s\"\nservice = \"x\"\nlook = {{ features = [\"tags\"] }}\n"
        );
        bound(
            &Config::parse("f.toml", &text).unwrap(),
            &CatalogOptions::default(),
        )
    };
    for right in ["", ", client_id = \"c-1\""] {
        let step = with(right);
        let reply = call(&step, &message(&step, "image/png"), PNG).await;
        assert!(reply.is_ok(), "{reply:?}");
    }
    let step = with(", client_id = \"c-2\"");
    let reply = call(&step, &message(&step, "image/png"), PNG).await;
    assert!(
        matches!(&reply, Err(CallError::Unauthorized(why)) if why.contains("no such managed identity")),
        "{reply:?}"
    );
    // The simulator refuses who does not show the header.
    let url = format!("{base}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r");
    let plain = reqwest::get(url).await.unwrap();
    assert_eq!(plain.status(), 400);
}

#[tokio::test]
async fn a_rehearsal_fetches_no_token_and_needs_no_secret() {
    let simulator = start(SimulatorConfig::default(), ([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let service = "kind = \"openai\"\ndialect = \"azure-v1\"";
    let real = config("https://x.openai.azure.com", service, CHAT, "");
    let options = CatalogOptions {
        rehearse: Some(simulator.base_url()),
    };
    assert!(ask(&bound(&real, &options)).await.is_ok());
    assert_eq!(simulator.stats().token_requests, 0);
}
