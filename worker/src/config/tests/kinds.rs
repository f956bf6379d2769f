//! What the kinds `http` and `command` refuse, and what they are by default.

use super::*;
use crate::service::command::{OtherCodes, Output};

#[test]
fn every_mistake_of_an_http_service_is_listed() {
    let text = r#"
[service.a]
kind = "http"
endpoint = "http://ner.example.com"
key = { env = "K" }
key_header = "x key"
headers = { X-Api-Key = "sk-hunter2", host = "x" }
[service.b]
kind = "http"
endpoint = "https://b"
key_prefix = "Token"
[[pipeline.p]]
name = "one"
service = "b"
[pipeline.p.request]
method = "FETCH"
path = "a?b"
query = { q = 3 }
headers = { Content-Length = "3" }
json = { a = "{{ nobody }}" }
text = "x"
field = "f"
success = { pointer = "/a" }
result = "a"
retry_statuses = [200]
[pipeline.p.request.poll]
success = []
query = { a = "b" }
[[pipeline.p]]
name = "two"
service = "b"
request = {}
[[pipeline.p]]
name = "three"
service = "b"
request = { file = "base64", base64_at = "/a", json = { a = 1 }, reject_statuses = [400], retry_statuses = [400] }
[[pipeline.p]]
name = "four"
service = "b"
request = { text = "{{ file.path }}", poll = { operation_header = "o", operation_pointer = "/o" } }
"#;
    let expected = r#"f.toml:4: service.a.endpoint: would send the key unencrypted over the network; use https://, or set `insecure = true`
f.toml:6: service.a.key_header: "x key" is not a header's name
f.toml:7: service.a.headers: "X-Api-Key" carries a secret: use `key` and `key_header`
f.toml:7: service.a.headers: "host" is set by HTTP itself
f.toml:11: service.b.key_prefix: is of no use without `key`
f.toml:16: pipeline.p[0].request.method: "FETCH" is not one of `GET`, `POST`, `PUT`, `PATCH`, `DELETE`
f.toml:17: pipeline.p[0].request.path: must not have a query: use `query`
f.toml:18: pipeline.p[0].request.query: "q" must be a string, not integer
f.toml:19: pipeline.p[0].request.headers: "Content-Length" is set by HTTP itself
f.toml:20: pipeline.p[0].request.json: `nobody` is not known here; a prompt has text, file, outputs
f.toml:21: pipeline.p[0].request.text: write only one of `json`, `text`, `file`
f.toml:22: pipeline.p[0].request.field: is only for `file = "multipart"`
f.toml:23: pipeline.p[0].request.success.pointer: write `pointer` and `equals` together
f.toml:24: pipeline.p[0].request.result: is a JSON pointer: write it like "/document/text"
f.toml:25: pipeline.p[0].request.retry_statuses: must have numbers from 300 to 599
f.toml:26: pipeline.p[0].request.poll.operation_header: write either `operation_header` or `operation_pointer`
f.toml:27: pipeline.p[0].request.poll.success: must not be empty
f.toml:28: pipeline.p[0].request.poll.query: belongs to a `path`, which is missing
f.toml:32: pipeline.p[1].request.json: what to send? write one of `json`, `text`, `file`
f.toml:36: pipeline.p[2].request.base64_at: something else stands at "/a" in `json`
f.toml:36: pipeline.p[2].request.reject_statuses: has a status of `retry_statuses`
f.toml:40: pipeline.p[3].request.poll.operation_header: write either `operation_header` or `operation_pointer`
f.toml:40: pipeline.p[3].request.text: `file.path` is only for the arguments of a program"#;
    assert_eq!(report(text), expected);
}

#[test]
fn every_mistake_of_a_command_is_listed() {
    let text = r#"
[service.a]
kind = "command"
program = "pdftotext -layout"
env = ["A=B"]
connect_timeout = "5s"
max_output_bytes = 5
[[pipeline.p]]
name = "one"
service = "b"
[pipeline.p.run]
args = ["{{ nobody }}", "{{ file.path"]
fail_codes = [0]
other_codes = "ignore"
[service.b]
kind = "command"
program = "tools/x"
[[pipeline.p]]
name = "two"
service = "b"
chat = { model = "m", prompt = "p" }
"#;
    let expected = r#"f.toml:4: service.a.program: is one program; arguments go into the step's `args`
f.toml:5: service.a.env: has names of environment variables, like "LANG"
f.toml:6: service.a.connect_timeout: is not for a program
f.toml:7: service.a.max_output_bytes: has no unit; write it like "64MiB" or "20MB"
f.toml:12: pipeline.p[0].run.args: `nobody` is not known here; a prompt has text, file, outputs
f.toml:13: pipeline.p[0].run.fail_codes: must have numbers from 1 to 255
f.toml:14: pipeline.p[0].run.other_codes: "ignore" is not one of `fail`, `retry`
f.toml:21: pipeline.p[1].chat: is not offered by a service of kind "command""#;
    assert_eq!(report(text), expected);
}

#[test]
fn a_command_has_a_processor_for_each_call() {
    let text = r#"
[service.s]
kind = "command"
program = "tools/x"
max_memory = "64MiB"
[[pipeline.p]]
name = "one"
service = "s"
run = {}
"#;
    let config = Config::parse("/etc/filefleet/f.toml", text).unwrap();
    let service = &config.services["s"];
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(service.in_flight, cores);
    let ServiceKind::Command(command) = &service.kind else {
        panic!("{:?}", service.kind)
    };
    assert_eq!(
        command.program,
        std::path::Path::new("/etc/filefleet/tools/x")
    );
    let bytes = command.max_memory.as_ref().map(|(_, bytes)| *bytes);
    assert_eq!((command.max_output_bytes, bytes), (1 << 20, Some(64 << 20)));
    let Action::Run(run) = &config.pipelines["p"][0].action else {
        panic!("{:?}", config.pipelines)
    };
    assert!(run.stdin && run.args.is_empty() && run.fail_codes.is_empty());
    assert_eq!(
        (run.output, run.other_codes),
        (Output::Text, OtherCodes::Fail)
    );
}
