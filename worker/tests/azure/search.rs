//! AI Search against its published specification: what is sent, and what becomes of each answer.

use std::{io::Write, time::Duration};

use filefleet_shared::wire::StepMessage;
use filefleet_worker::service::{BoundStep, CallError, Reply};
use serde_json::{Value, json};

use super::stand::{Answer, Stand, call, cause, message};

const SPEC: &str = include_str!("../specs/aisearch-2024-07-01.json");
const SEARCH: &str = "kind = \"search\"";
const EARLIER: &str = "[service.pdf]\nkind = \"command\"\nprogram = \"true\"\n\
                       [[pipeline.p]]\nname = \"embed\"\nservice = \"pdf\"\nrun = { args = [] }";

/// A step that writes the file's text under the file's key.
fn plain(stand: &Stand) -> BoundStep {
    let action = "index = { index = \"docs\", document = { id = \"{{ file.key }}\", \
                  text = \"{{ text }}\" } }";
    stand.step_of(SEARCH, "", action)
}

fn file(step: &BoundStep, key: &str) -> StepMessage {
    let mut message = message(step, "text/plain");
    message.file.key = key.to_owned();
    message
}

/// Results of documents: their key, their status.
fn told(results: &[(&str, u16)]) -> Answer {
    let result = |(key, status): &(&str, u16)| {
        let right = *status < 300;
        let error = (!right).then_some("why it is not written");
        json!({"key": key, "status": right, "errorMessage": error, "statusCode": status})
    };
    let value: Vec<Value> = results.iter().map(result).collect();
    let all = results.iter().all(|(_, status)| *status < 300);
    (
        if all { 200 } else { 207 },
        &[],
        json!({"value": value}).to_string(),
    )
}

fn refused(status: u16) -> Answer {
    let error = json!({"error": {"code": "", "message": "The request is invalid."}});
    (status, &[], error.to_string())
}

/// The keys that each request carried.
fn carried(stand: &Stand) -> Vec<Vec<String>> {
    let keys = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).unwrap();
        let documents = body["value"].as_array().unwrap().iter();
        documents
            .map(|d| d["id"].as_str().unwrap().to_owned())
            .collect()
    };
    stand
        .requests()
        .iter()
        .map(|request| keys(&request.body))
        .collect()
}

fn calls(reply: &Result<Reply, CallError>) -> u64 {
    match reply {
        Ok(Reply::Answered(answer)) => answer.usage.calls,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_action_is_sent_as_the_specification_has_it() {
    for verb in ["upload", "merge", "mergeOrUpload", "delete"] {
        let stand = Stand::new(SPEC, vec![told(&[("a-0", 200), ("a-1", 201)])]).await;
        let action = format!(
            "index = {{ index = \"docs\", action = \"{verb}\", each = \"embed.chunks\", document = \
             {{ id = \"{{{{ file.key }}}}-{{{{ item.index }}}}\", vector = \"{{{{ item.vector }}}}\", \
             title = \"{{{{ file.name }}}}: {{{{ embed.model }}}}\", tags = [\"x\", \"{{{{ item.text }}}}\"], \
             pages = 3 }} }}"
        );
        let step = stand.step_of(SEARCH, EARLIER, &action);
        assert!(!step.call.needs_content());
        let mut message = message(&step, "text/plain");
        let chunk = |index: u32| json!({"index": index, "text": "t", "vector": [0.1, -2.0]});
        let output = json!({"model": "m", "chunks": [chunk(0), chunk(1)]});
        message.outputs.insert("embed".to_owned(), output);
        let reply = call(&step, &message, b"").await;
        assert_eq!(calls(&reply), 1);
        let Ok(Reply::Answered(answer)) = reply else {
            unreachable!()
        };
        let expected = json!({"index": "docs", "documents": 2, "keys": ["a-0", "a-1"]});
        assert_eq!(answer.output, expected);
        let request = &stand.requests()[0];
        assert_eq!(
            request.target,
            "/indexes('docs')/docs/search.index?api-version=2024-07-01"
        );
        assert_eq!(
            request.header("accept"),
            "application/json;odata.metadata=none"
        );
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let expected = json!({
            "@search.action": verb, "id": "a-1", "vector": [0.1, -2.0], "title": "a: m",
            "tags": ["x", "t"], "pages": 3,
        });
        assert_eq!(body["value"][1], expected);
    }
}

#[tokio::test]
async fn an_index_is_created_once_and_may_be_there_already() {
    let mut schema = tempfile::NamedTempFile::new().unwrap();
    let definition = json!({
        "fields": [
            {"name": "key", "type": "Edm.String", "key": true},
            {"name": "vector", "type": "Collection(Edm.Single)", "searchable": true, "dimensions": 2,
             "vectorSearchProfile": "p"},
        ],
        "vectorSearch": {
            "algorithms": [{"name": "h", "kind": "hnsw", "hnswParameters": {"metric": "cosine"}}],
            "profiles": [{"name": "p", "algorithm": "h"}],
        },
    });
    write!(schema, "{definition}").unwrap();
    let path = schema.path();
    for status in [201, 409] {
        let mut answers = vec![refused(status)];
        answers.extend(["a", "b"].map(|_| told(&[(KEY, 201)])));
        let stand = Stand::new(SPEC, answers).await;
        let action = format!(
            "index = {{ index = \"docs\", create = {path:?}, document = {{ vector = [1.5, 2] }} }}"
        );
        let step = stand.step_of(SEARCH, "", &action);
        for _ in 0..2 {
            call(&step, &message(&step, "text/plain"), b"")
                .await
                .unwrap();
        }
        let requests = stand.requests();
        let targets: Vec<&str> = requests.iter().map(|r| r.target.as_str()).collect();
        let write = "/indexes('docs')/docs/search.index?api-version=2024-07-01";
        assert_eq!(targets, ["/indexes?api-version=2024-07-01", write, write]);
        let created: Value = serde_json::from_slice(&requests[0].body).unwrap();
        assert_eq!(created["name"], "docs");
    }
    let stand = Stand::new(SPEC, vec![refused(400)]).await;
    let action = format!("index = {{ index = \"docs\", create = {path:?}, document = {{}} }}");
    let step = stand.step_of(SEARCH, "", &action);
    let error = call(&step, &message(&step, "text/plain"), b"").await;
    assert!(
        matches!(error, Err(CallError::Misconfigured(_))),
        "{error:?}"
    );
}

/// Of the root `inbox` and the file `a`.
const KEY: &str = "4efba536ab0ee51b7f50883a18c31bfd";

#[tokio::test]
async fn files_share_a_batch_and_each_hears_of_its_own_documents() {
    let answers = vec![told(&[("c", 404), ("b", 400), ("a", 201)])];
    let stand = Stand::new(SPEC, answers).await;
    let step = plain(&stand);
    let (a, b, c) = (file(&step, "a"), file(&step, "b"), file(&step, "c"));
    let (a, b, c) = tokio::join!(
        call(&step, &a, b"x"),
        call(&step, &b, b"x"),
        call(&step, &c, b"x")
    );
    assert_eq!(calls(&a), 1);
    assert_eq!(cause(b), "invalid_document");
    assert_eq!(cause(c), "document_not_found");
    assert_eq!(carried(&stand), [["a", "b", "c"]]);
    assert_eq!(
        stand.requests()[0].header("x-filefleet-task"),
        "",
        "of several tasks"
    );
}

#[tokio::test]
async fn only_what_failed_of_a_batch_is_sent_again_and_not_for_ever() {
    let answers = vec![
        told(&[("a", 503), ("b", 201)]),
        told(&[("a", 409)]),
        told(&[("a", 422)]),
        told(&[("a", 200)]),
        told(&[("a", 503)]),
        told(&[("a", 503)]),
        told(&[("a", 503)]),
        told(&[("a", 503)]),
    ];
    let stand = Stand::new(SPEC, answers).await;
    let step = plain(&stand);
    let (a, b) = (file(&step, "a"), file(&step, "b"));
    let (first, second) = tokio::join!(call(&step, &a, b"x"), call(&step, &b, b"x"));
    assert_eq!((calls(&first), calls(&second)), (4, 1));
    let again = call(&step, &a, b"x").await;
    assert!(
        matches!(again, Err(CallError::Overloaded { .. })),
        "{again:?}"
    );
    let carried = carried(&stand);
    assert_eq!(carried[0], ["a", "b"]);
    assert_eq!(carried.len(), 8);
    assert!(carried[1..].iter().all(|keys| keys == &["a"]));
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_split_down_to_the_document_that_is() {
    let answers = vec![
        refused(413),
        told(&[("a", 201), ("b", 201)]),
        refused(413),
        told(&[("c", 201)]),
        refused(413),
    ];
    let stand = Stand::new(SPEC, answers).await;
    let step = plain(&stand);
    let files = ["a", "b", "c", "d"].map(|key| file(&step, key));
    let [a, b, c, d] = &files;
    let (a, b, c, d) = tokio::join!(
        call(&step, a, b"x"),
        call(&step, b, b"x"),
        call(&step, c, b"x"),
        call(&step, d, b"x")
    );
    assert_eq!((calls(&a), calls(&b), calls(&c)), (2, 2, 3));
    assert_eq!(cause(d), "too_large");
    let halves: [&[&str]; 5] = [
        &["a", "b", "c", "d"],
        &["a", "b"],
        &["c", "d"],
        &["c"],
        &["d"],
    ];
    assert_eq!(carried(&stand), halves);
}

#[tokio::test]
async fn a_file_with_a_wrong_document_fails_alone() {
    let answers = vec![refused(400), told(&[("a", 201)]), refused(400)];
    let stand = Stand::new(SPEC, answers).await;
    let step = plain(&stand);
    let (a, b) = (file(&step, "a"), file(&step, "b"));
    let (a, b) = tokio::join!(call(&step, &a, b"x"), call(&step, &b, b"x"));
    assert_eq!(calls(&a), 2);
    assert_eq!(cause(b), "invalid_request");
    assert_eq!(carried(&stand), [vec!["a", "b"], vec!["a"], vec!["b"]]);
}

#[tokio::test]
async fn what_is_wrong_with_no_document_is_told_to_all_that_wait() {
    type Is = fn(&CallError) -> bool;
    let cases: [(u16, Is); 5] = [
        (429, |e| matches!(e, CallError::RateLimited { .. })),
        (503, |e| matches!(e, CallError::RateLimited { .. })),
        (403, |e| matches!(e, CallError::Unauthorized(_))),
        (404, |e| matches!(e, CallError::Misconfigured(_))),
        (302, |e| matches!(e, CallError::Misconfigured(_))),
    ];
    for (status, is) in cases {
        let stand = Stand::new(SPEC, vec![refused(status)]).await;
        let step = plain(&stand);
        let (a, b) = (file(&step, "a"), file(&step, "b"));
        let (a, b) = tokio::join!(call(&step, &a, b"x"), call(&step, &b, b"x"));
        assert!(is(&a.unwrap_err()) && is(&b.unwrap_err()), "{status}");
        assert_eq!(stand.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_batch_without_a_readable_answer_is_sent_again_before_its_files_hear_of_it() {
    let answers = vec![
        refused(500),
        (200, &[], "{".to_owned()),
        told(&[("a", 200), ("b", 200)]),
    ];
    let stand = Stand::new(SPEC, answers).await;
    let step = plain(&stand);
    let (a, b) = (file(&step, "a"), file(&step, "b"));
    let (first, second) = tokio::join!(call(&step, &a, b"x"), call(&step, &b, b"x"));
    assert_eq!((calls(&first), calls(&second)), (3, 3));
    // The stand has nothing more to say, and says 599.
    let failed = call(&step, &a, b"x").await;
    assert!(
        matches!(failed, Err(CallError::Overloaded { .. })),
        "{failed:?}"
    );
    assert_eq!(stand.requests().len(), 7);
}

#[tokio::test]
async fn a_document_that_nothing_is_said_about_is_not_taken_for_written() {
    let stand = Stand::new(SPEC, vec![told(&[("b", 200)])]).await;
    let step = plain(&stand);
    let unheard = call(&step, &file(&step, "a"), b"x").await;
    assert!(
        matches!(unheard, Err(CallError::Malformed(_))),
        "{unheard:?}"
    );
}

#[tokio::test]
async fn a_step_that_is_given_up_takes_nothing_from_others() {
    let stand = Stand::new(SPEC, vec![told(&[("b", 201)])]).await;
    let step = plain(&stand);
    let (a, b) = (file(&step, "a"), file(&step, "b"));
    // It opened the batch, and is gone before the batch goes.
    let given_up = tokio::time::timeout(Duration::from_millis(1), call(&step, &a, b"x"));
    let (given_up, b) = tokio::join!(given_up, call(&step, &b, b"x"));
    assert!(given_up.is_err());
    assert_eq!(calls(&b), 1);
    assert_eq!(
        carried(&stand),
        [["b"]],
        "what nobody waits for is not sent"
    );
}

#[tokio::test]
async fn a_full_batch_goes_at_once_and_a_file_may_be_in_several() {
    let answers = vec![
        told(&[("0", 201), ("1", 201)]),
        told(&[("2", 201), ("3", 201)]),
        told(&[("4", 201)]),
    ];
    let stand = Stand::new(SPEC, answers).await;
    let action = "index = { index = \"docs\", each = \"embed.items\", document = { id = \"{{ item }}\" }, \
                  batch = { documents = 2 } }";
    let service = format!("{SEARCH}\nlimits = {{ in_flight = 1 }}");
    let step = stand.step_of(&service, EARLIER, action);
    let mut message = message(&step, "text/plain");
    message
        .outputs
        .insert("embed".to_owned(), json!({"items": [0, 1, 2, 3, 4]}));
    assert_eq!(calls(&call(&step, &message, b"").await), 3);
    let mut carried = carried(&stand);
    carried.sort();
    let expected: [&[&str]; 3] = [&["0", "1"], &["2", "3"], &["4"]];
    assert_eq!(carried, expected);
    message
        .outputs
        .insert("embed".to_owned(), json!({"items": []}));
    assert_eq!(calls(&call(&step, &message, b"").await), 0);
    message
        .outputs
        .insert("embed".to_owned(), json!({"items": 3}));
    assert_eq!(cause(call(&step, &message, b"").await), "template");
}

#[tokio::test]
async fn a_question_is_asked_as_the_specification_has_it() {
    let found = json!({"value": [{"@search.score": 0.5, "id": "a"}]}).to_string();
    let stand = Stand::new(SPEC, vec![(200, &[], found)]).await;
    let action = "query = { index = \"docs\", search = \"{{ text }}\", top = 3, count = true, k = 7, \
                  vector = \"{{ embed.chunks[0].vector }}\", vector_field = \"vec\", \
                  select = [\"id\", \"text\"], filter = \"name eq '{{ file.name|odata }}'\" }";
    let step = stand.step_of(SEARCH, EARLIER, action);
    let mut message = file(&step, "in/it's");
    let output = json!({"chunks": [{"vector": [0.5, 1.0]}]});
    message.outputs.insert("embed".to_owned(), output);
    let reply = call(&step, &message, b"hello").await;
    assert_eq!(calls(&reply), 1);
    let Ok(Reply::Answered(answer)) = reply else {
        unreachable!()
    };
    assert_eq!(
        answer.output,
        json!({"documents": [{"id": "a", "score": 0.5}]})
    );
    let request = &stand.requests()[0];
    let target = "/indexes('docs')/docs/search.post.search?api-version=2024-07-01";
    assert_eq!(request.target, target);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let near = json!({"kind": "vector", "vector": [0.5, 1.0], "k": 7, "fields": "vec"});
    let expected = json!({
        "search": "hello", "filter": "name eq 'it''s'", "select": "id,text", "top": 3,
        "count": true, "vectorQueries": [near],
    });
    assert_eq!(body, expected);
    message
        .outputs
        .insert("embed".to_owned(), json!({"chunks": []}));
    assert_eq!(cause(call(&step, &message, b"hello").await), "template");
}
