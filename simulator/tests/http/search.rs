//! AI Search: indexes, documents, queries.

use filefleet_simulator::{IndexStats, Kind, SearchConfig, SimulatorConfig};
use serde_json::{Value, json};

use super::{Reply, Service};

const VERSION: &str = "api-version=2024-07-01";

fn index() -> Value {
    json!({
        "name": "files",
        "fields": [
            {"name": "id", "type": "Edm.String", "key": true},
            {"name": "text", "type": "Edm.String", "filterable": false},
            {"name": "kind", "type": "Edm.String", "searchable": false},
            {"name": "size", "type": "Edm.Int32"},
            {"name": "vec", "type": "Collection(Edm.Single)", "dimensions": 2,
             "vectorSearchProfile": "p", "retrievable": true},
        ],
        "vectorSearch": {
            "profiles": [{"name": "p", "algorithm": "a"}],
            "algorithms": [{"name": "a", "kind": "hnsw"}],
        },
    })
}

async fn with_index(config: SimulatorConfig) -> Service {
    let service = Service::start(config).await;
    let reply = service.post(&format!("/indexes?{VERSION}"), &index()).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    service
}

async fn write(service: &Service, actions: Value) -> Reply {
    let path = format!("/indexes('files')/docs/search.index?{VERSION}");
    service.post(&path, &json!({"value": actions})).await
}

async fn query(service: &Service, query: Value) -> Value {
    let path = format!("/indexes('files')/docs/search.post.search?{VERSION}");
    let reply = service.post(&path, &query).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

fn ids(found: &Value) -> Vec<&str> {
    let values = found["value"].as_array().unwrap();
    values
        .iter()
        .map(|hit| hit["id"].as_str().unwrap())
        .collect()
}

async fn filled() -> Service {
    let service = with_index(SimulatorConfig::default()).await;
    let reply = write(
        &service,
        json!([
            {"id": "a", "text": "red house", "kind": "x", "size": 1, "vec": [1, 0]},
            {"id": "b", "text": "red red car", "kind": "y", "size": 2, "vec": [0, 1]},
            {"id": "c", "text": "green tree", "kind": "x", "size": 3, "vec": [-1, 0]},
        ]),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    service
}

#[tokio::test]
async fn indexes_are_created_changed_listed_and_deleted() {
    let service = with_index(SimulatorConfig::default()).await;
    let again = service.post(&format!("/indexes?{VERSION}"), &index()).await;
    assert_eq!(again.status, 409);
    let got = service.get(&format!("/indexes/files?{VERSION}")).await;
    let etag = got.header("etag").to_owned();
    assert_eq!(got.json()["@odata.etag"], etag);
    assert_eq!(got.json()["fields"][1]["searchable"], true);
    let list = service.get(&format!("/indexes?{VERSION}")).await.json();
    assert_eq!(list["value"][0]["name"], "files");

    let url = format!(
        "{}/indexes('files')?{VERSION}",
        service.simulator.base_url()
    );
    let put = |body: Value, name: &'static str, value: &str| {
        let request = service
            .client
            .put(&url)
            .header("content-type", "application/json");
        let request = request.header(name, value).body(body.to_string());
        async { Reply::of(request.send().await.unwrap()).await }
    };
    let mut wider = index();
    let more = json!({"name": "more", "type": "Edm.String"});
    wider["fields"].as_array_mut().unwrap().push(more);
    assert_eq!(put(wider.clone(), "if-none-match", "*").await.status, 412);
    wider["@odata.etag"] = json!(etag);
    let changed = put(wider.clone(), "if-match", &etag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), etag);
    assert_eq!(changed.json()["@odata.etag"], changed.header("etag"));
    assert_eq!(put(wider, "if-match", &etag).await.status, 412);
    let narrower = put(index(), "prefer", "return=representation").await;
    assert_eq!(narrower.status, 400, "{}", narrower.text);

    let deleted = service.client.delete(&url).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(put(index(), "prefer", "x").await.status, 201);
    assert_eq!(
        service.client.delete(&url).send().await.unwrap().status(),
        204
    );
    let gone = write(&service, json!([{"id": "a"}])).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn every_action_tells_its_own_status() {
    let service = filled().await;
    let reply = write(
        &service,
        json!([
            {"@search.action": "merge", "id": "a", "size": 9},
            {"@search.action": "merge", "id": "none", "size": 9},
            {"@search.action": "mergeOrUpload", "id": "d", "size": 4},
            {"@search.action": "delete", "id": "b"},
            {"@search.action": "upload", "id": "not a key"},
            {"@search.action": "upload", "id": "c"},
        ]),
    )
    .await;
    assert_eq!(reply.status, 207);
    let told = reply.json()["value"].clone();
    let statuses: Vec<_> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["statusCode"])
        .collect();
    assert_eq!(statuses, [200, 404, 201, 200, 400, 200]);
    assert_eq!(told[1]["errorMessage"], "Document not found.");
    assert_eq!(
        (&told[0]["status"], &told[1]["status"]),
        (&json!(true), &json!(false))
    );

    let get = |key: &str| format!("/indexes('files')/docs('{key}')?{VERSION}");
    let a = service.get(&get("a")).await.json();
    assert_eq!(
        a,
        json!({"id": "a", "text": "red house", "kind": "x", "size": 9, "vec": [1.0, 0.0]})
    );
    let c = service.get(&get("c")).await.json();
    assert_eq!((&c["text"], &c["vec"]), (&Value::Null, &Value::Null));
    assert_eq!(service.get(&get("b")).await.status, 404);
    let count = service
        .get(&format!("/indexes('files')/docs/$count?{VERSION}"))
        .await;
    assert_eq!(count.text, "3");
    let stats: IndexStats = serde_json::from_str(&service.get("/_index/files").await.text).unwrap();
    assert_eq!((stats.documents, stats.deletes), (3, 1));
    assert_eq!(
        (stats.writes["a"], stats.writes["c"], stats.writes["d"]),
        (2, 2, 1)
    );
    assert_eq!(service.simulator.index("files"), Some(stats));
}

#[tokio::test]
async fn batches_that_are_wrong_are_refused_whole() {
    let service = with_index(SimulatorConfig::default()).await;
    let many: Vec<_> = (0..1001).map(|n| json!({"id": n.to_string()})).collect();
    let long = "x".repeat(17 * 1024 * 1024);
    for (actions, status, part) in [
        (json!(many), 400, "at most 1000"),
        (json!([{"id": "a", "text": long}]), 413, "too large"),
        (
            json!([{"id": "a"}, {"size": 1}]),
            400,
            "1: Document key cannot be missing",
        ),
        (
            json!([{"id": "a", "colour": 1}]),
            400,
            "'colour' does not exist",
        ),
        (json!([{"id": "a", "size": "big"}]), 400, "'size' is not of"),
        (
            json!([{"id": "a", "vec": [1]}]),
            400,
            "mismatch in vector dimensions",
        ),
        (
            json!([{"id": "a", "@search.action": "put"}]),
            400,
            "not known",
        ),
        (json!([]), 400, "No indexing actions"),
    ] {
        let reply = write(&service, actions).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert!(reply.text.contains(part), "{}", reply.text);
    }
    assert_eq!(
        service.simulator.index("files"),
        Some(IndexStats::default())
    );
    assert!(many.len() > 1000);
    let thousand = write(&service, json!(many[..1000])).await;
    assert_eq!(thousand.status, 200);
}

#[tokio::test]
async fn words_vectors_and_both_rank_documents() {
    let service = filled().await;
    let found = query(&service, json!({"search": "red", "count": true})).await;
    assert_eq!(
        (ids(&found), &found["@odata.count"]),
        (vec!["b", "a"], &json!(2))
    );
    assert!(
        found["@odata.context"]
            .as_str()
            .unwrap()
            .contains("indexes('files')")
    );
    let all = json!({"search": "red house", "searchMode": "all"});
    assert_eq!(ids(&query(&service, all).await), ["a"]);

    let near = json!([{"kind": "vector", "vector": [1, 0.1], "fields": "vec", "k": 2}]);
    let found = query(&service, json!({"vectorQueries": near})).await;
    assert_eq!(ids(&found), ["a", "b"]);
    let score = found["value"][0]["@search.score"].as_f64().unwrap();
    assert!((0.99..1.0).contains(&score), "{score}");

    let both = json!({"search": "house tree", "vectorQueries": near, "select": "id,size"});
    let found = query(&service, both).await;
    assert_eq!(ids(&found), ["a", "b", "c"]);
    let first = &found["value"][0];
    let score = first["@search.score"].as_f64().unwrap();
    assert!((score - 2.0 / 61.0).abs() < 1e-9, "{score}");
    assert_eq!(first.as_object().unwrap().len(), 3);

    for (mode, expected) in [("preFilter", vec!["c"]), ("postFilter", vec![])] {
        let found = json!({
            "vectorQueries": near, "filter": "size gt 2", "vectorFilterMode": mode
        });
        assert_eq!(ids(&query(&service, found).await), expected, "{mode}");
    }
}

#[tokio::test]
async fn results_are_filtered_sorted_and_cut() {
    let service = filled().await;
    let found = json!({"search": "*", "filter": "kind eq 'x' and (size eq 1 or size eq 3)"});
    assert_eq!(ids(&query(&service, found).await), ["a", "c"]);
    let sorted = json!({"orderby": "kind desc, size desc"});
    assert_eq!(ids(&query(&service, sorted).await), ["b", "c", "a"]);
    let cut = json!({"search": "*", "skip": 1, "top": 1, "count": true});
    let found = query(&service, cut).await;
    assert_eq!(
        (ids(&found), &found["@odata.count"]),
        (vec!["b"], &json!(3))
    );
    assert!(found.get("@odata.nextLink").is_none());

    let path = format!("/indexes/files/docs/search?{VERSION}");
    for (wrong, part) in [
        (json!({"filter": "text eq 'x'"}), "not a filterable field"),
        (json!({"select": "nothing"}), "'nothing'"),
        (json!({"orderby": "vec"}), "not a sortable field"),
        (json!({"searchFields": "size"}), "'size'"),
        (
            json!({"vectorQueries": [{"kind": "text", "text": "x"}]}),
            "vectorizer",
        ),
        (
            json!({"vectorQueries": [{"kind": "vector", "vector": [1], "fields": "vec"}]}),
            "length",
        ),
    ] {
        let reply = service.post(&path, &wrong).await;
        assert_eq!(reply.status, 400, "{}", reply.text);
        assert!(reply.text.contains(part), "{}", reply.text);
    }
}

#[tokio::test]
async fn more_than_a_page_is_told_how_to_go_on() {
    let service = with_index(SimulatorConfig::default()).await;
    let actions: Vec<_> = (0..70).map(|n| json!({"id": format!("{n:02}")})).collect();
    assert_eq!(write(&service, json!(actions)).await.status, 200);
    let first = query(&service, json!({"search": "*"})).await;
    assert_eq!(first["value"].as_array().unwrap().len(), 50);
    assert!(
        first["@odata.nextLink"]
            .as_str()
            .unwrap()
            .ends_with(VERSION)
    );
    let second = query(&service, first["@search.nextPageParameters"].clone()).await;
    assert_eq!(ids(&second)[0], "50");
    assert_eq!(second["value"].as_array().unwrap().len(), 20);
    assert!(second.get("@search.nextPageParameters").is_none());
}

#[tokio::test]
async fn failures_can_be_switched_on() {
    let service = with_index(SimulatorConfig {
        search: SearchConfig {
            document_failures: 0.5,
            ..SearchConfig::default()
        },
        ..SimulatorConfig::default()
    })
    .await;
    let actions: Vec<_> = (0..100).map(|n| json!({"id": n.to_string()})).collect();
    let reply = write(&service, json!(actions)).await;
    assert_eq!(reply.status, 207);
    let told = reply.json()["value"].as_array().unwrap().clone();
    let failed: Vec<_> = told.iter().filter(|v| v["status"] == false).collect();
    assert!((30..70).contains(&failed.len()), "{}", failed.len());
    let retryable = |v: &&Value| [409, 422, 503].contains(&v["statusCode"].as_i64().unwrap());
    assert!(failed.iter().all(retryable));
    let written = service.simulator.index("files").unwrap().documents;
    assert_eq!(written, 100 - failed.len() as u64);

    let quota = json!({"search": {"document_failures": 0, "requests_per_second": 1}});
    service.control(quota).await;
    assert_eq!(write(&service, json!([{"id": "x"}])).await.status, 200);
    let refused = write(&service, json!([{"id": "x"}])).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.error()["code"]),
        (503, &json!("ServiceUnavailable"))
    );
    let mends = json!({"search": {"requests_per_second": null}, "error_429": 1});
    service.control(mends).await;
    assert_eq!(write(&service, json!([{"id": "x"}])).await.status, 429);
    let stats = service.stats().await;
    let kind = stats.kinds[&Kind::SearchIndex];
    assert_eq!((kind.requests, kind.paid, kind.untagged), (4, 2, 2));
}

#[tokio::test]
async fn keys_versions_and_paths_are_checked() {
    let service = Service::start(SimulatorConfig {
        require_key: Some("k".to_owned()),
        ..SimulatorConfig::default()
    })
    .await;
    let path = format!("/indexes?{VERSION}");
    assert_eq!(service.post(&path, &index()).await.status, 403);
    for (header, value) in [("api-key", "k"), ("authorization", "Bearer k")] {
        let url = format!("{}{path}", service.simulator.base_url());
        let reply = service
            .client
            .get(url)
            .header(header, value)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), 200);
    }
    service.control(json!({"require_key": null})).await;
    assert_eq!(service.get("/indexes").await.status, 400);
    assert_eq!(
        service.get("/indexes?api-version=2019-05-06").await.status,
        400
    );
    let wrong = service
        .get(&format!("/indexes('x')/docs/index?{VERSION}"))
        .await;
    assert_eq!(wrong.status, 405);
    assert_eq!(service.get("/indexers").await.status, 404);
    assert_eq!(service.get("/_index/none").await.status, 404);
}
