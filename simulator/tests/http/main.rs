//! The simulator over real HTTP, as a client sees it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed; clippy does not see that helpers are tests"
)]

mod docintel;
mod embeddings;
mod entra;
mod faults;
mod quirks;
mod quotas;
mod requests;
mod samples;
mod search;
mod shapes;
mod stats;
mod vision;

use std::{collections::BTreeSet, time::Duration};

use filefleet_simulator::{Quirk, Simulator, SimulatorConfig, Stats, start};
use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

/// A running service and a client of it.
struct Service {
    simulator: Simulator,
    client: Client,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Service {
    async fn start(config: SimulatorConfig) -> Self {
        let addr = ([127, 0, 0, 1], 0).into();
        Self {
            simulator: start(config, addr).await.unwrap(),
            client: Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(20))
                .build()
                .unwrap(),
        }
    }

    async fn with(quirks: &[Quirk]) -> Self {
        Self::start(SimulatorConfig {
            quirks: BTreeSet::from_iter(quirks.iter().copied()),
            ..SimulatorConfig::default()
        })
        .await
    }

    fn request(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client
            .post(format!("{}{path}", self.simulator.base_url()))
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(path, body).send().await.unwrap()).await
    }

    async fn chat(&self, text: &str) -> Reply {
        self.post("/v1/chat/completions", &chat(text)).await
    }

    async fn get(&self, path: &str) -> Reply {
        let url = format!("{}{path}", self.simulator.base_url());
        Reply::of(self.client.get(url).send().await.unwrap()).await
    }

    async fn control(&self, change: Value) {
        let reply = self.post("/_control", &change).await;
        assert_eq!(reply.status, 204, "{}", reply.text);
    }

    async fn stats(&self) -> Stats {
        serde_json::from_str(&self.get("/_stats").await.text).unwrap()
    }
}

impl Reply {
    async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn error(&self) -> Value {
        self.json()["error"].clone()
    }

    fn choice(&self) -> Value {
        self.json()["choices"][0].clone()
    }

    fn content(&self) -> String {
        let choice = self.choice();
        choice["message"]["content"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
            .to_str()
            .unwrap()
    }
}

fn chat(text: &str) -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]})
}
