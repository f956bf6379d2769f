//! Any message of every type.

use proptest::{collection::btree_map, option, prelude::*};
use serde_json::Value;

use crate::{
    time::UnixMillis,
    wire::{
        Asked, Change, Collected, Collecting, CollectionId, ControlRecord, Cost, Failure, FileRef,
        FleetState, Members, Outcome, OutcomeTag, OutputPlace, PillMode, RunClosed, RunClosedTag,
        RunId, RunOpened, Status, StepMessage, Stored, TaskId, Timings, Usage, VERSION,
    },
};

fn run_id() -> impl Strategy<Value = RunId> {
    any::<[u8; 16]>().prop_map(|bytes| uuid::Uuid::from_bytes(bytes).to_string().parse().unwrap())
}

fn instant() -> impl Strategy<Value = UnixMillis> {
    any::<u64>().prop_map(UnixMillis)
}

/// What a service may answer.
pub(super) fn answer() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn file() -> impl Strategy<Value = FileRef> {
    let key_bytes = option::of(any::<String>());
    let modified = option::of(instant());
    let etag = option::of(any::<String>());
    (
        any::<[String; 3]>(),
        key_bytes,
        any::<u64>(),
        modified,
        etag,
    )
        .prop_map(
            |([root, key, media_type], key_bytes, size, modified, etag)| FileRef {
                root,
                key,
                key_bytes,
                size,
                modified,
                etag,
                media_type,
            },
        )
}

fn usage() -> impl Strategy<Value = Usage> {
    prop_oneof![Just([0; 8]), any::<[u64; 8]>(),].prop_map(
        |[
            calls,
            input_tokens,
            output_tokens,
            cached_tokens,
            reasoning_tokens,
            pages,
            from_journal,
            cost,
        ]| Usage {
            calls,
            input_tokens,
            output_tokens,
            cached_tokens,
            reasoning_tokens,
            pages,
            from_journal,
            cost: Cost::from_billionths(cost % 1_000_000_000_000_000),
        },
    )
}

fn stored() -> impl Strategy<Value = Stored> {
    (any::<u64>(), any::<String>()).prop_map(|(bytes, sha256)| Stored { bytes, sha256 })
}

fn asked() -> impl Strategy<Value = Asked> {
    (any::<[String; 2]>(), any::<bool>()).prop_map(|([step, input], joined)| Asked {
        step,
        input,
        joined,
    })
}

pub(super) fn step() -> impl Strategy<Value = StepMessage> {
    let outputs = btree_map(any::<String>(), answer(), 0..3);
    (
        run_id(),
        any::<u64>(),
        any::<[String; 3]>(),
        file(),
        (outputs, btree_map(any::<String>(), stored(), 0..3)),
        usage(),
        option::of((
            answer(),
            instant(),
            option::of(any::<String>()),
            option::of(asked()),
        )),
    )
        .prop_map(
            |(run, seq, [pipeline, step, service], file, (outputs, stored), usage, accepted)| {
                let task = TaskId { run, seq };
                let step = StepMessage {
                    outputs,
                    stored,
                    usage,
                    by_service: [(service, usage)].into(),
                    ..StepMessage::first(task, &pipeline, &step, file)
                };
                match accepted {
                    None => step,
                    Some((state, at, deployment, asked)) => {
                        let mut step = step.continued(state, at);
                        if let Some(continuation) = &mut step.continuation {
                            continuation.deployment.clone_from(&deployment);
                            continuation.asked.clone_from(&asked);
                        }
                        step
                    }
                }
            },
        )
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![Status::Succeeded, Status::Failed, Status::Cancelled])
}

fn failure() -> impl Strategy<Value = Failure> {
    (any::<[String; 2]>(), option::of(any::<String>())).prop_map(|([cause, detail], service)| {
        Failure {
            cause,
            detail,
            service,
        }
    })
}

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
    // `null` as an answer is not told apart from none.
    let output = option::of(answer().prop_filter("not null", |value| !value.is_null()));
    let output = (output, option::of(stored()));
    let ended = (status(), output, option::of(failure()), usage());
    let seen = (
        any::<u32>(),
        any::<[bool; 2]>(),
        any::<String>(),
        any::<[u64; 3]>(),
    );
    (step(), ended, seen).prop_map(|(step, ended, seen)| {
        let (status, (output, stored), failure, usage) = ended;
        let (attempts, [input_changed, unmatched], worker, [started, finished, call_ms]) = seen;
        Outcome {
            v: VERSION,
            kind: OutcomeTag::Outcome,
            run: step.run,
            seq: step.seq,
            status,
            file: step.file,
            pipeline: step.pipeline,
            step: step.step,
            output,
            stored,
            failure,
            usage,
            by_service: step.by_service,
            attempts,
            input_changed,
            unmatched,
            worker,
            timings: Timings {
                started: UnixMillis(started),
                finished: UnixMillis(finished),
                call_ms,
            },
        }
    })
}

pub(super) fn closed() -> impl Strategy<Value = RunClosed> {
    (run_id(), any::<[u64; 4]>(), any::<String>()).prop_map(
        |(run, [total, unreadable, opened, closed], digest)| RunClosed {
            v: VERSION,
            kind: RunClosedTag::RunClosed,
            run,
            total,
            digest,
            unreadable,
            opened: UnixMillis(opened),
            closed: UnixMillis(closed),
        },
    )
}

pub(super) fn control() -> impl Strategy<Value = ControlRecord> {
    let opened = (run_id(), 0..9_u64, any::<String>(), instant());
    let mode = prop::sample::select(vec![PillMode::Complete, PillMode::Drain]);
    prop_oneof![
        opened.prop_map(
            |(run, epoch, pipeline, at)| ControlRecord::RunOpened(RunOpened {
                services: vec![pipeline.clone()],
                v: VERSION,
                run,
                epoch,
                pipeline,
                at,
            })
        ),
        (0..9_u64, mode).prop_map(|(epoch, mode)| FleetState::pill(epoch, mode)),
        collection(),
        members(),
    ]
}

fn members() -> impl Strategy<Value = ControlRecord> {
    let change =
        (any::<String>(), option::of(any::<u64>())).prop_map(|(service, idle_ms)| match idle_ms {
            Some(idle_ms) => Change::Coming { service, idle_ms },
            None => Change::Left { service },
        });
    (option::of(change), instant()).prop_map(|(change, at)| {
        ControlRecord::Members(Members {
            v: VERSION,
            change,
            at,
        })
    })
}

fn collection() -> impl Strategy<Value = ControlRecord> {
    let counts = option::of(any::<[u64; 3]>());
    (run_id(), any::<[String; 2]>(), counts, instant()).prop_map(
        |(run, [host, directory], counts, at)| {
            let (v, id) = (VERSION, CollectionId::mint());
            let into = OutputPlace {
                id,
                host,
                directory,
            };
            match counts {
                None => ControlRecord::Collecting(Collecting { v, run, into, at }),
                Some([succeeded, failed, unreadable]) => ControlRecord::Collected(Collected {
                    v,
                    run,
                    into,
                    succeeded,
                    failed,
                    unreadable,
                    at,
                }),
            }
        },
    )
}
