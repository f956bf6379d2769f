//! Services with several deployments.

use super::*;

const TWO: &str = r#"
[service.gpt]
kind = "openai"
dialect = "azure"
api_version = "2024-10-21"
timeout = "1min"
price = { per_call = 2.0 }
limits = { requests_per_minute = 600, tokens_per_minute = 1000, in_flight = 4 }
[[service.gpt.deployments]]
name = "east"
endpoint = "https://east.openai.azure.com"
models = { "gpt-4.1" = "east-4.1" }
[[service.gpt.deployments]]
name = "west"
endpoint = "https://west.openai.azure.com"
priority = 2
weight = 3
price = { per_call = 3.0 }
limits = { requests_per_minute = 300 }
[[pipeline.letters]]
name = "sum"
service = "gpt"
chat = { model = "gpt-4.1", prompt = "Sum up." }
"#;

fn gpt(text: &str) -> ServiceConfig {
    Config::parse("f.toml", text).unwrap().services["gpt"].clone()
}

#[test]
fn what_stands_at_the_service_holds_for_each_deployment_that_does_not_say_otherwise() {
    let service = gpt(TWO);
    let [east, west] = service.deployments.as_slice() else {
        panic!("{:?}", service.deployments)
    };
    assert_eq!(
        (east.name.as_str(), east.priority, east.weight),
        ("east", 1, 1)
    );
    assert_eq!(
        (west.name.as_str(), west.priority, west.weight),
        ("west", 2, 3)
    );
    assert_eq!(east.service.quotas.requests_per_minute, Some(600));
    assert_eq!(east.models["gpt-4.1"], "east-4.1");
    assert_eq!(west.service.quotas.requests_per_minute, Some(300));
    assert_eq!(west.service.quotas.tokens_per_minute, None);
    assert_eq!(west.service.timeout, Duration::from_secs(60));
    assert_ne!(west.service.prices, east.service.prices);
}

#[test]
fn a_service_is_all_its_deployments_together() {
    let service = gpt(TWO);
    assert_eq!(service.quotas.requests_per_minute, Some(900));
    assert_eq!(service.quotas.tokens_per_minute, None, "one has no bound");
    assert_eq!(service.in_flight, 4 + 256);
    assert!(service.seeking);
    let mut fixed = service;
    fixed.fix_in_flight(2);
    let each = fixed.deployments.iter().map(|one| one.service.in_flight);
    assert_eq!(each.collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn every_step_is_bound_to_every_deployment_with_its_own_price() {
    let config = Config::parse("f.toml", TWO).unwrap();
    let catalog = Catalog::build(&config, &CatalogOptions::default()).unwrap();
    let step = catalog.step("letters", "sum").unwrap();
    let usage = filefleet_shared::wire::Usage {
        calls: 1,
        ..Default::default()
    };
    let cost = |place| step.at(place).1.of(&usage).to_string();
    assert_eq!((cost(0), cost(1)), ("2.00".to_owned(), "3.00".to_owned()));
    let limits = catalog.services().next().unwrap();
    let names = limits.deployments.iter().map(|one| one.name.as_deref());
    assert_eq!(names.collect::<Vec<_>>(), [Some("east"), Some("west")]);
}

#[test]
fn another_deployment_changes_no_answer() {
    let digest = |text: &str| {
        let config = Config::parse("f.toml", text).unwrap();
        config.answers_digest("letters", false).unwrap()
    };
    let third =
        "[[service.gpt.deployments]]\nname = \"north\"\nendpoint = \"https://n.example.com\"\n";
    let more = TWO.replace("[[pipeline", &format!("{third}[[pipeline"));
    assert_eq!(digest(TWO), digest(&more));
    assert_ne!(
        digest(TWO),
        digest(&TWO.replace("model = \"gpt-4.1\"", "model = \"gpt-4o\""))
    );
}

#[test]
fn mistakes_in_deployments_are_told_where_they_stand_and_once() {
    let text = r#"
[service.gpt]
kind = "openai"
endpont = "https://api.openai.com/v1"
limits = { in_flght = 4 }
[[service.gpt.deployments]]
endpoint = "https://api.openai.com/v1"
[[service.gpt.deployments]]
name = "East"
endpoint = "https://api.openai.com/v1"
timeout = "1min"
[[service.gpt.deployments]]
name = "west"
priority = 0
[[service.gpt.deployments]]
name = "west"
endpoint = "ftp://x"
wieght = 1
[service.docs]
kind = "search"
endpoint = "https://x.search.windows.net"
[[service.docs.deployments]]
name = "one"
[service.none]
kind = "openai"
deployments = []
"#;
    let expected = r#"f.toml:4: service.gpt.endpont: unknown key, did you mean `endpoint`?
f.toml:5: service.gpt.limits.in_flght: unknown key, did you mean `in_flight`?
f.toml:6: service.gpt.deployments[0].name: is missing: each deployment has its own
f.toml:9: service.gpt.deployments[1].name: "East" is not a name: use a-z, 0-9, _ and -, starting with a letter or digit, at most 63
f.toml:11: service.gpt.deployments[1].timeout: is the same for all deployments: write it at the service
f.toml:12: service.gpt.deployments[2].endpoint: is missing
f.toml:14: service.gpt.deployments[2].priority: must be from 1 to 1000
f.toml:16: service.gpt.deployments[3].name: "west" is another deployment already
f.toml:17: service.gpt.deployments[3].endpoint: must start with https:// or http:// and name a host
f.toml:18: service.gpt.deployments[3].wieght: unknown key, did you mean `weight`?
f.toml:20: service.docs.kind: has no deployments: kind "search"
f.toml:26: service.none.deployments: there is none"#;
    assert_eq!(report(text), expected);
}
