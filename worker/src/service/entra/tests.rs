//! Identities of the environment, and a token over its life, against the simulator's authority.

use std::{collections::BTreeMap, time::Duration};

use filefleet_shared::config::SecretSource;
use filefleet_simulator::{EntraConfig as Simulated, Simulator, SimulatorConfig, start};
use secrecy::ExposeSecret;

use super::*;
use crate::service::{BuildError, CallError};

async fn simulator(entra: Simulated) -> Simulator {
    let config = SimulatorConfig {
        entra,
        ..SimulatorConfig::default()
    };
    start(config, ([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn authority_of(
    identity: Identity,
    own: Option<&str>,
    environment: &[(&str, &str)],
) -> Result<Authority, BuildError> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    let config = EntraConfig {
        key: "service.s.entra".to_owned(),
        identity,
        authority: own.map(|own| authority(own, true).unwrap()),
    };
    let environment = |name: &str| environment.get(name).map(|&value| value.to_owned());
    Authority::new("s", &config, COGNITIVE_SCOPE, &environment)
}

const MANAGED: Identity = Identity::Managed { client_id: None };

/// Tokens of the machine's identity at a simulator.
fn machine(simulator: &Simulator) -> std::sync::Arc<Tokens> {
    Tokens::new(authority_of(MANAGED, Some(&simulator.base_url()), &[]).unwrap())
}

fn text(token: &Token) -> String {
    token.value().expose_secret().to_owned()
}

#[tokio::test]
async fn an_app_asks_where_its_environment_says_and_shows_its_header() {
    let simulator = simulator(Simulated {
        identity_header: Some("hunter2".to_owned()),
        ..Simulated::default()
    })
    .await;
    let endpoint = format!("{}/msi/token", simulator.base_url());
    let tokens = |header| {
        let environment = [
            ("IDENTITY_ENDPOINT", endpoint.as_str()),
            ("IDENTITY_HEADER", header),
        ];
        Tokens::new(authority_of(MANAGED, None, &environment).unwrap())
    };
    let token = tokens("hunter2").get().await.unwrap();
    assert!(text(&token).contains("https://cognitiveservices.azure.com."));
    let refused = tokens("hunter3").get().await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Unauthorized(why) if !why.contains("hunter")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_pod_shows_the_token_in_its_file_and_reads_it_anew_each_time() {
    let simulator = simulator(Simulated {
        tenant: Some("t-1".to_owned()),
        client_id: Some("c-1".to_owned()),
        assertion: Some("second".to_owned()),
        ..Simulated::default()
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\n").unwrap();
    let path = file.path().display().to_string();
    let base = simulator.base_url();
    let environment = [
        ("AZURE_TENANT_ID", "t-1"),
        ("AZURE_CLIENT_ID", "c-1"),
        ("AZURE_FEDERATED_TOKEN_FILE", path.as_str()),
        ("AZURE_AUTHORITY_HOST", base.as_str()),
    ];
    let identity = Identity::Workload {
        tenant: None,
        client_id: None,
    };
    let authority = authority_of(identity.clone(), None, &environment).unwrap();
    let refused = authority.ask().await.unwrap_err();
    let CallError::Unauthorized(why) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("federated credential"), "{why}");
    std::fs::write(file.path(), "second\n").unwrap();
    assert!(authority.ask().await.is_ok());
    let missing = authority_of(identity, None, &environment[1..])
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("service.s.entra: the environment variable AZURE_TENANT_ID is not set"),
        "{missing}"
    );
}

#[test]
fn secrets_are_sent_unencrypted_only_to_this_machine_and_its_link() {
    for good in [
        "https://login.microsoftonline.us",
        "http://127.0.0.1:41056/MSI/token/",
        "http://localhost:42356/msi/token",
        "http://169.254.130.2:8081/msi/token",
    ] {
        assert!(authority(good, true).is_ok(), "{good}");
    }
    for bad in [
        "http://login.microsoftonline.com",
        "http://10.0.0.1",
        "login.microsoftonline.com",
    ] {
        assert!(authority(bad, true).is_err(), "{bad}");
    }
    // An application's secret stays on this machine.
    assert!(authority("http://169.254.130.2:8081", false).is_err());
    assert!(authority("http://127.0.0.1:8081", false).is_ok());
}

#[test]
fn a_secret_that_is_not_there_is_told_before_any_call() {
    let secret = Secret::new(
        "service.s.entra.client_secret",
        SecretSource::Env("FILEFLEET_TEST_NOT_SET".to_owned()),
    );
    let identity = Identity::Secret {
        tenant: "t".to_owned(),
        client_id: "c".to_owned(),
        secret,
    };
    let error = authority_of(identity, None, &[]).unwrap_err().to_string();
    assert!(
        error.contains("FILEFLEET_TEST_NOT_SET is not set"),
        "{error}"
    );
}

#[tokio::test]
async fn many_calls_ask_for_one_token_and_share_what_becomes_of_it() {
    let simulator = simulator(Simulated {
        latency: Duration::from_millis(100),
        ..Simulated::default()
    })
    .await;
    let tokens = machine(&simulator);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let tokens = tokens.clone();
        calls.spawn(async move { text(&tokens.get().await.unwrap()) });
    }
    let mut seen = calls.join_all().await;
    seen.dedup();
    assert_eq!((seen.len(), simulator.stats().token_requests), (1, 1));
}

#[tokio::test]
async fn calls_that_wait_for_a_question_that_fails_do_not_all_ask_again() {
    let simulator = simulator(Simulated {
        latency: Duration::from_millis(100),
        down: true,
        ..Simulated::default()
    })
    .await;
    let tokens = machine(&simulator);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let tokens = tokens.clone();
        calls.spawn(async move { tokens.get().await.unwrap_err() });
    }
    for error in calls.join_all().await {
        assert!(matches!(error, CallError::Unreachable(_)), "{error:?}");
    }
    assert_eq!(simulator.stats().token_requests, 1);
}

/// A call that is cut off by its deadline takes nothing from those that wait with it.
#[tokio::test]
async fn a_question_outlives_the_call_that_began_it() {
    let simulator = simulator(Simulated {
        latency: Duration::from_millis(300),
        ..Simulated::default()
    })
    .await;
    let tokens = machine(&simulator);
    let cut = tokio::time::timeout(Duration::from_millis(50), tokens.get()).await;
    assert!(cut.is_err());
    assert!(tokens.get().await.is_ok());
    assert_eq!(simulator.stats().token_requests, 1);
}

async fn until(what: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_while_calls_go_on_with_the_old_one() {
    let simulator = simulator(Simulated {
        lifetime: Duration::from_secs(3),
        ..Simulated::default()
    })
    .await;
    let tokens = machine(&simulator);
    let first = tokens.get().await.unwrap();
    tokio::time::sleep_until(first.renews()).await;
    // The authority takes its time, and nobody waits for it.
    let mut config = simulator.config();
    config.entra.latency = Duration::from_millis(200);
    simulator.reconfigure(config).unwrap();
    for _ in 0..20 {
        assert_eq!(text(&tokens.get().await.unwrap()), text(&first));
    }
    until(|| simulator.stats().tokens_issued == 2).await;
    until(|| tokens.held_is_not(&first)).await;
    assert_ne!(text(&tokens.get().await.unwrap()), text(&first));
    assert_eq!(simulator.stats().token_requests, 2);
}

#[tokio::test]
async fn an_authority_that_is_away_disturbs_nobody_while_the_token_is_good() {
    let simulator = simulator(Simulated {
        lifetime: Duration::from_secs(3),
        ..Simulated::default()
    })
    .await;
    let tokens = machine(&simulator);
    let first = tokens.get().await.unwrap();
    let mut config = simulator.config();
    config.entra.down = true;
    simulator.reconfigure(config).unwrap();
    tokio::time::sleep_until(first.renews()).await;
    assert!(tokens.get().await.is_ok());
    until(|| simulator.stats().token_requests == 2).await;
    assert!(tokens.get().await.is_ok(), "the old one is still good");
    tokio::time::sleep_until(first.renews() + Duration::from_millis(600)).await;
    let over = tokens.get().await.unwrap_err();
    assert!(matches!(over, CallError::Unreachable(_)), "{over:?}");
}

#[tokio::test]
async fn only_the_token_that_was_refused_is_given_up() {
    let simulator = simulator(Simulated::default()).await;
    let tokens = machine(&simulator);
    let first = tokens.get().await.unwrap();
    tokens.refused(&first);
    let second = tokens.get().await.unwrap();
    assert_ne!(text(&first), text(&second));
    // Another call that was in flight with the first one.
    tokens.refused(&first);
    assert_eq!(text(&tokens.get().await.unwrap()), text(&second));
    assert_eq!(simulator.stats().tokens_issued, 2);
}

#[test]
fn nothing_that_is_printed_shows_a_token_or_secret() {
    let token = Token::new(
        "hunter2".to_owned(),
        tokio::time::Instant::now(),
        Duration::from_secs(60),
        None,
    );
    let printed = format!("{token:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
}
