//! The kind `command` with real programs, from a configuration to an answer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use filefleet_shared::wire::{FileRef, RunId, StepMessage, TaskId};
use filefleet_worker::{
    config::Config,
    service::{BoundStep, CallError, Catalog, CatalogOptions, Heard, Reply, StepInput},
};
use serde_json::{Value, json};

fn step(service: &str, run: &str) -> BoundStep {
    let text = format!(
        "[service.s]\nkind = \"command\"\n{service}\n\
         [[pipeline.p]]\nname = \"do\"\nservice = \"s\"\n[pipeline.p.run]\n{run}\n"
    );
    let config = Config::parse("test.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let catalog = Catalog::build(&config, &CatalogOptions::default()).unwrap();
    catalog.first_step("p").unwrap().clone()
}

/// A step that runs a script of the shell.
fn script(service: &str, script: &str, run: &str) -> BoundStep {
    step(
        &format!("program = \"sh\"\n{service}"),
        &format!("args = [\"-c\", {script:?}, \"sh\", \"{{{{ file.path }}}}\"]\n{run}"),
    )
}

async fn call_with(step: &BoundStep, key: &str, content: Bytes) -> Result<Value, CallError> {
    let task = TaskId {
        run: RunId::mint(),
        seq: 3,
    };
    let file = FileRef {
        root: "inbox".to_owned(),
        key: key.to_owned(),
        key_bytes: None,
        size: content.len() as u64,
        modified: None,
        media_type: "text/plain".to_owned(),
    };
    let message = StepMessage::first(task, "p", "do", file);
    let input = StepInput {
        message: &message,
        content,
        heard: &Heard::default(),
    };
    match step.call.call(input).await? {
        Reply::Answered(answer) => Ok(answer.output),
        Reply::Accepted(accepted) => panic!("{accepted:?}"),
    }
}

async fn call(step: &BoundStep) -> Result<Value, CallError> {
    call_with(step, "in/a b.txt", Bytes::from_static(b"hello")).await
}

async fn refused(step: &BoundStep) -> String {
    call(step).await.unwrap_err().to_string()
}

/// Waits for a file that a script writes at once.
async fn written(path: &Path) -> String {
    let start = Instant::now();
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(start.elapsed() < Duration::from_secs(20), "not written"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until none of these processes runs; a zombie does not.
async fn gone(ids: &str) {
    let start = Instant::now();
    let runs = |id: &str| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('Z'));
        state == Some(false)
    };
    while ids.split_whitespace().any(runs) {
        assert!(start.elapsed() < Duration::from_secs(5), "{ids} still run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_file_comes_on_standard_input_and_text_goes_on() {
    let step = step("program = \"tr\"", "args = [\"a-z\", \"A-Z\"]");
    assert_eq!(call(&step).await.unwrap(), json!({"text": "HELLO"}));
    assert!(step.call.needs_content());
}

#[tokio::test]
async fn more_than_a_pipe_holds_goes_through_and_may_be_left_unread() {
    let big = Bytes::from(vec![b'x'; 3 << 20]);
    let through = step("program = \"cat\"\nmax_output_bytes = \"4MiB\"", "");
    let output = call_with(&through, "a", big.clone()).await.unwrap();
    assert_eq!(output["text"].as_str().unwrap().len(), 3 << 20);
    let unread = step("program = \"true\"", "");
    let output = call_with(&unread, "a", big).await.unwrap();
    assert_eq!(output, json!({"text": ""}));
}

#[tokio::test]
async fn a_program_sees_a_private_copy_and_nothing_of_the_environment() {
    let step = script(
        "env = [\"HOME\", \"FILEFLEET_TEST_NOT_SET\"]",
        "stat -c '%a %n' \"$1\"; cat \"$1\"; echo; pwd; touch dropping; env | cut -d= -f1 | sort | tr '\\n' ' '",
        "stdin = \"none\"",
    );
    let output = call(&step).await.unwrap();
    let text = output["text"].as_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let copy = lines[0].strip_prefix("600 ").unwrap();
    assert!(copy.ends_with("/file.txt"), "{text}");
    assert_eq!(lines[1], "hello");
    assert_eq!(Path::new(copy).parent(), Some(Path::new(lines[2])));
    assert_eq!(lines[3], "HOME PATH PWD TMPDIR ");
    assert!(!Path::new(lines[2]).exists(), "the private folder is left");
}

#[tokio::test]
async fn arguments_are_never_read_by_a_shell_and_never_become_options() {
    let plain = step("program = \"echo\"", "args = [\"{{ file.name }}\"]");
    let nasty = "$(touch x); 'a' \"b\" & | > c";
    let output = call_with(&plain, nasty, Bytes::new()).await.unwrap();
    assert_eq!(output, json!({"text": format!("{nasty}\n")}));
    let error = call_with(&plain, "-n", Bytes::new()).await.unwrap_err();
    let expected = "template: argument 1 would be taken for an option";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn json_is_parsed_and_what_is_none_fails_the_file() {
    let json_of = |text: &str| {
        step(
            "program = \"echo\"",
            &format!("args = ['{text}']\noutput = \"json\""),
        )
    };
    let output = call(&json_of("[1, 2.5]")).await.unwrap();
    assert_eq!(output, json!([1, 2.5]));
    let error = refused(&json_of("no")).await;
    assert!(error.starts_with("output_not_json"), "{error}");
    let binary = script("", "printf '\\377'", "");
    assert!(refused(&binary).await.starts_with("output_not_text"));
}

#[tokio::test]
async fn exit_codes_mean_what_the_step_says() {
    let ends = |run: &str| script("", "echo one >&2; echo two $1 >&2; exit 3", run);
    let failed = "command_failed: exit code 3: two /file.txt";
    assert_eq!(refused(&ends("")).await, failed);
    let retried = refused(&ends("other_codes = \"retry\"")).await;
    assert_eq!(retried, "overloaded: exit code 3: two /file.txt");
    let named = ends("other_codes = \"retry\"\nfail_codes = [3]");
    assert_eq!(refused(&named).await, failed);
    let killed = script("", "kill -SEGV $$", "");
    assert_eq!(refused(&killed).await, "overloaded: ended by signal 11");
}

#[tokio::test]
async fn a_program_that_is_not_there_pauses_the_service() {
    for program in ["no-such-program", "/nowhere/x", "/etc/passwd"] {
        let error = call(&step(&format!("program = {program:?}"), "")).await;
        assert!(
            matches!(error, Err(CallError::Misconfigured(_))),
            "{error:?}"
        );
        assert!(!error.unwrap_err().to_string().contains(program));
    }
}

#[tokio::test]
async fn too_much_output_ends_the_program() {
    let start = Instant::now();
    let step = step("program = \"yes\"\nmax_output_bytes = \"64KiB\"", "");
    let error = refused(&step).await;
    let expected = "output_too_large: more than 65536 bytes (max_output_bytes)";
    assert_eq!(error, expected);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn memory_is_bounded_for_the_program_and_all_it_starts() {
    let hungry = "head -c 300000000 /dev/zero | tail -c 290000000 | wc -c";
    let free = script("", hungry, "stdin = \"none\"");
    assert_eq!(call(&free).await.unwrap(), json!({"text": "290000000\n"}));
    let bound = script("max_memory = \"64MiB\"", hungry, "stdin = \"none\"");
    let bounded = call(&bound).await;
    assert_ne!(bounded.ok(), Some(json!({"text": "290000000\n"})));
    let small = step(
        "program = \"tr\"\nmax_memory = \"64MiB\"",
        "args = [\"a-z\", \"A-Z\"]",
    );
    assert_eq!(call(&small).await.unwrap(), json!({"text": "HELLO"}));
}

/// The ids of a shell and of a child of it that sleeps.
const FORKS: &str = "sleep 600 & echo $$ $! > PIDS; ";

#[tokio::test]
async fn a_call_that_is_dropped_takes_the_whole_group_with_it() {
    let place = tempfile::tempdir().unwrap();
    let pids = place.path().join("pids");
    let forks = FORKS.replace("PIDS", pids.to_str().unwrap());
    let step = script("", &format!("{forks} wait"), "");
    let called = tokio::spawn(async move { call(&step).await });
    let ids = written(&pids).await;
    called.abort();
    assert!(called.await.unwrap_err().is_cancelled());
    gone(&ids).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let place = tempfile::tempdir().unwrap();
    let pids = place.path().join("pids");
    let forks = FORKS.replace("PIDS", pids.to_str().unwrap());
    let step = script("", &format!("{forks} echo done"), "");
    let start = Instant::now();
    assert_eq!(call(&step).await.unwrap(), json!({"text": "done\n"}));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "it waited for the child"
    );
    gone(&fs::read_to_string(&pids).unwrap()).await;
}

#[tokio::test]
async fn many_run_side_by_side() {
    let step = step("program = \"cat\"", "");
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..50 {
        let step = step.clone();
        calls.spawn(async move {
            let content = Bytes::from(format!("{number}"));
            let output = call_with(&step, "a", content).await.unwrap();
            assert_eq!(output, json!({"text": format!("{number}")}));
        });
    }
    assert_eq!(calls.join_all().await.len(), 50);
}
