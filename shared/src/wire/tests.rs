mod fits;
mod strategies;

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use self::{
    fits::fits,
    strategies::{answer, closed, control, outcome, step},
};
use super::*;
use crate::{
    broker::{Headers, Later},
    telemetry::TraceContext,
    time::UnixMillis,
};

fn as_json<T: WireMessage>(message: &T) -> Map<String, Value> {
    serde_json::from_slice(&encode(message).unwrap()).unwrap()
}

fn redecode<T: WireMessage>(message: &Map<String, Value>) -> Result<T, DecodeError> {
    decode(&serde_json::to_vec(message).unwrap())
}

/// Everything that holds for every message of a type.
fn obeys_the_wire<T: WireMessage + PartialEq + Debug>(message: &T, name: &str, version: u64) {
    let body = encode(message).unwrap();
    assert_eq!(&decode::<T>(&body).unwrap(), message);
    let fields = as_json(message);
    assert!(T::TYPES.contains(&type_of(&body).unwrap().as_str()));

    let schema = serde_json::to_value(schema(name).unwrap()).unwrap();
    fits(&schema, &schema, &Value::from(fields.clone())).unwrap();

    let mut other = fields.clone();
    other.insert("v".to_owned(), version.into());
    let refused = redecode::<T>(&other);
    assert!(
        matches!(refused, Err(DecodeError::UnknownVersion { found }) if found == version),
        "{refused:?}"
    );

    let mut other = fields.clone();
    other.insert("type".to_owned(), "task".into());
    let refused = redecode::<T>(&other).unwrap_err();
    assert_eq!(refused.reason(), "unexpected_type");

    let mut other = fields.clone();
    other.insert("surprise".to_owned(), 1.into());
    let refused = redecode::<T>(&other).unwrap_err();
    assert_eq!(refused.reason(), "malformed", "{refused}");
    assert!(refused.to_string().contains("surprise"), "{refused}");

    for required in schema_of(&schema, &fields)["required"].as_array().unwrap() {
        let mut other = fields.clone();
        other.remove(required.as_str().unwrap());
        let reason = redecode::<T>(&other).unwrap_err().reason();
        assert!(
            ["malformed", "undecodable"].contains(&reason),
            "{required}: {reason}"
        );
    }
    for end in 0..body.len() {
        assert_eq!(
            decode::<T>(&body[..end]).unwrap_err().reason(),
            "undecodable"
        );
    }
}

/// The variant of a schema that a message's `type` names.
fn schema_of<'a>(schema: &'a Value, message: &Map<String, Value>) -> &'a Value {
    let variants = schema["oneOf"].as_array();
    variants.map_or(schema, |variants| {
        let is = |variant: &&Value| variant["properties"]["type"]["const"] == message["type"];
        variants.iter().find(is).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_obeys_the_wire(message in step(), version in 2..u64::MAX) {
        obeys_the_wire(&message, "step", version);
    }

    #[test]
    fn every_outcome_obeys_the_wire(message in outcome(), version in 2..u64::MAX) {
        obeys_the_wire(&message, "outcome", version);
    }

    #[test]
    fn every_sentinel_obeys_the_wire(message in closed(), version in 2..u64::MAX) {
        obeys_the_wire(&message, "run_closed", version);
    }

    #[test]
    fn every_control_record_obeys_the_wire(message in control(), version in 2..u64::MAX) {
        obeys_the_wire(&message, "control", version);
    }

    #[test]
    fn ids_are_the_same_on_every_attempt_and_differ_by_task_and_step(message in step()) {
        let task = message.task();
        let id = format!("{}:{}:{}", task.run, task.seq, message.step);
        let once = message.continued(json!("operation"), UnixMillis(1));
        let fresh = StepMessage { continuation: None, ..message };
        prop_assert_eq!(fresh.message_id(), id.clone());
        let number = once.continuation.as_ref().unwrap().number;
        prop_assert_eq!(once.message_id(), format!("{id}+{number}"));
        prop_assert_eq!(task.to_string(), format!("{}/{}", task.run, task.seq));
        prop_assert_eq!(task.run.to_string().parse::<RunId>().unwrap(), task.run);
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(decode::<StepMessage>(&bytes).is_err());
        prop_assert!(decode::<Outcome>(&bytes).is_err());
        prop_assert!(decode::<RunClosed>(&bytes).is_err());
        prop_assert!(decode::<ControlRecord>(&bytes).is_err());
        prop_assert!(type_of(&bytes).is_err());
    }

    #[test]
    fn no_json_makes_decoding_panic(value in answer(), kind in "step|outcome|run_closed|pill") {
        let body = json!({ "v": 1, "type": kind, "run": value, "seq": value, "file": value });
        let body = serde_json::to_vec(&body).unwrap();
        prop_assert!(decode::<StepMessage>(&body).is_err());
        prop_assert!(decode::<Outcome>(&body).is_err());
        prop_assert!(decode::<RunClosed>(&body).is_err());
        prop_assert!(decode::<ControlRecord>(&body).is_err());
    }

    #[test]
    fn late_joiners_and_followers_come_to_the_same_state(
        log in prop::collection::vec(control(), 0..12),
        joined in any::<prop::sample::Index>(),
    ) {
        let late: FleetState = log.iter().collect();
        let (history, updates) = log.split_at(joined.index(log.len() + 1));
        let mut followed: FleetState = history.iter().collect();
        for record in updates {
            let before = followed.epoch;
            followed.apply(record);
            prop_assert!(followed.epoch >= before);
        }
        prop_assert_eq!(&followed, &late);
        // Reading a record twice, as an at-least-once log may bring it, changes nothing.
        if let Some(last) = log.last() {
            followed.apply(last);
            prop_assert_eq!(&followed, &late);
        }
    }

    #[test]
    fn a_run_opened_after_any_log_is_not_hurt_by_its_pills(
        log in prop::collection::vec(control(), 0..12),
    ) {
        let mut state: FleetState = log.iter().collect();
        let opened = state.open(RunId::mint(), "invoices", &[]);
        state.apply(&opened);
        for old in log.iter().filter(|record| matches!(record, ControlRecord::Pill(_))) {
            state.apply(old);
        }
        prop_assert_eq!(&state.pill, &None);
        state.apply(&FleetState::pill(state.epoch, PillMode::Drain));
        prop_assert!(state.pill.is_some());
    }

    #[test]
    fn putting_off_counts_attempts_apart_from_deferrals(
        waits in prop::collection::vec((any::<bool>(), 0..100_000_u64), 1..20),
        start in 1..2_000_000_000_000_u64,
    ) {
        let trace = Some(TraceContext::root());
        let mut headers = Headers::traced(trace);
        let mut now = UnixMillis(start);
        for (counted, delay) in &waits {
            let later = Later {
                delay: Duration::from_millis(*delay),
                attempts: u32::from(*counted),
                cause: format!("cause {delay}"),
                first_attempt: None,
                body: None,
            };
            headers = headers.put_off(&later, now);
            prop_assert_eq!(headers.not_before, Some(now.after(later.delay)));
            prop_assert_eq!(headers.retry_cause.as_ref(), Some(&later.cause));
            now = now.after(later.delay);
        }
        let counted = u32::try_from(waits.iter().filter(|(counted, _)| *counted).count()).unwrap();
        let all = u32::try_from(waits.len()).unwrap();
        prop_assert_eq!((headers.attempt, headers.deferred), (1 + counted, all - counted));
        prop_assert_eq!(headers.first_attempt, Some(UnixMillis(start)));
        prop_assert_eq!((headers.trace, &headers.death), (trace, &None));
        let text = serde_json::to_string(&headers).unwrap();
        prop_assert_eq!(serde_json::from_str::<Headers>(&text).unwrap(), headers);
    }
}

#[test]
fn attempts_do_not_wrap() {
    let headers = Headers {
        attempt: u32::MAX,
        deferred: u32::MAX,
        ..Headers::default()
    };
    for counted in [true, false] {
        let later = Later {
            delay: Duration::MAX,
            attempts: u32::from(counted),
            cause: String::new(),
            first_attempt: Some(UnixMillis(7)),
            body: None,
        };
        let put_off = headers.put_off(&later, UnixMillis::now());
        assert_eq!((put_off.attempt, put_off.deferred), (u32::MAX, u32::MAX));
        assert_eq!(put_off.first_attempt, Some(UnixMillis(7)));
        assert_eq!(put_off.not_before, Some(UnixMillis(u64::MAX)));
    }
}

#[test]
fn a_pill_of_an_older_epoch_is_ignored() {
    let mut state = FleetState::default();
    state.apply(&state.open(RunId::mint(), "first", &[]));
    state.apply(&state.open(RunId::mint(), "second", &[]));
    let second = state.clone();
    state.apply(&FleetState::pill(1, PillMode::Complete));
    assert_eq!(state, second);
    state.apply(&FleetState::pill(2, PillMode::Drain));
    assert_eq!(state.pill.map(|pill| pill.mode), Some(PillMode::Drain));
}

#[test]
fn members_that_do_not_say_what_has_changed_are_read_too() {
    let body = br#"{"v": 1, "type": "members", "at": 7}"#;
    let record = decode::<ControlRecord>(body).unwrap();
    let ControlRecord::Members(members) = record else {
        panic!("{record:?}");
    };
    assert_eq!((members.change, members.at), (None, UnixMillis(7)));
}

#[test]
fn bodies_that_are_no_messages_say_why() {
    let not_messages: [&[u8]; 6] = [
        b"",
        b"null",
        b"[1]",
        b"{\"type\": \"step\"}",
        b"{\"v\": -1, \"type\": \"step\"}",
        b"{\"v\": \"1\", \"type\": \"step\"}",
    ];
    for body in not_messages {
        let error = decode::<StepMessage>(body).unwrap_err();
        assert_eq!(error.reason(), "undecodable", "{error}");
    }
    let next = br#"{"v": 2, "type": "step", "whatever": true}"#;
    let error = decode::<StepMessage>(next).unwrap_err();
    assert_eq!(error.reason(), "unknown_version");
    assert!(matches!(
        type_of(next),
        Err(DecodeError::UnknownVersion { found: 2 })
    ));
}

#[test]
fn a_full_message_has_every_property_of_its_schema() {
    let task = TaskId {
        run: RunId::mint(),
        seq: 7,
    };
    let file = FileRef {
        root: "scans".to_owned(),
        key: "a/b.pdf".to_owned(),
        key_bytes: Some("YQ==".to_owned()),
        size: 1,
        modified: Some(UnixMillis(1)),
        etag: Some("1".to_owned()),
        media_type: "application/pdf".to_owned(),
    };
    let mut step = StepMessage::first(task, "invoices", "read", file);
    step.outputs = BTreeMap::from([("read".to_owned(), json!({"content": "x"}))]);
    let stored = Stored {
        bytes: 1,
        sha256: "00".to_owned(),
    };
    step.stored = BTreeMap::from([("look".to_owned(), stored)]);
    step.usage.calls = 1;
    step.usage.cached_tokens = 1;
    step.usage.reasoning_tokens = 1;
    step.usage.pages = 1;
    step.usage.from_journal = 1;
    step.usage.cost = Cost::from_billionths(1);
    step.by_service = BTreeMap::from([("ocr".to_owned(), step.usage)]);
    let mut step = step.continued(json!("operation"), UnixMillis(1));
    let continuation = step.continuation.as_mut().unwrap();
    continuation.deployment = Some("east".to_owned());
    continuation.asked = Some(Asked {
        step: "00".to_owned(),
        input: "00".to_owned(),
        joined: true,
    });
    let schema = serde_json::to_value(schema("step").unwrap()).unwrap();
    let names = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let step = Value::from(as_json(&step));
    assert_eq!(names(&step), names(&schema["properties"]));
    for (part, def) in [
        ("file", "FileRef"),
        ("usage", "Usage"),
        ("continuation", "Continuation"),
    ] {
        assert_eq!(
            names(&step[part]),
            names(&schema["$defs"][def]["properties"])
        );
    }
}

#[test]
fn every_named_schema_exists_and_no_other() {
    for name in schema_names() {
        assert!(schema(name).is_some(), "{name}");
    }
    assert!(schema("task").is_none());
}

#[test]
fn a_status_reads_back_as_it_is_written() {
    for status in [Status::Succeeded, Status::Failed, Status::Cancelled] {
        assert_eq!(status.to_string().parse(), Ok(status));
        assert_eq!(json!(status), json!(status.as_str()));
    }
    assert!("done".parse::<Status>().is_err());
}
