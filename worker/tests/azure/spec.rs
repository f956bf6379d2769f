//! Requests against the parts of a published specification that `tests/specs` has.

use std::collections::BTreeMap;

use regex::Regex;
use reqwest::{Url, header::HeaderMap};
use serde_json::{Value, json};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn query(&self) -> BTreeMap<String, String> {
        let url = self.url();
        let pairs = url.query_pairs();
        pairs
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect()
    }

    fn url(&self) -> Url {
        Url::parse(&format!("http://h{}", self.target)).unwrap()
    }
}

/// Everything in a request that the specification does not allow or misses.
pub(crate) fn violations(spec: &Value, request: &Request) -> Vec<String> {
    let host = spec["x-ms-parameterized-host"]["hostTemplate"]
        .as_str()
        .unwrap();
    let prefix = host.strip_prefix("{endpoint}").unwrap();
    let url = request.url();
    let Some(path) = url.path().strip_prefix(prefix) else {
        return vec![format!("{} is not below {prefix}", url.path())];
    };
    let method = request.method.to_lowercase();
    let found = spec["paths"]
        .as_object()
        .unwrap()
        .iter()
        .find_map(|(template, methods)| {
            let variables = variables(template, path)?;
            Some((methods.get(&method)?, variables))
        });
    let Some((operation, variables)) = found else {
        return vec![format!("no operation {method} {path}")];
    };
    let mut violations = parameters(operation, request, &variables);
    violations.extend(content(operation, request));
    violations.extend(json(spec, operation, request));
    for scheme in spec["securityDefinitions"].as_object().unwrap().values() {
        let name = scheme["name"].as_str().unwrap();
        if request.header(name).is_empty() {
            violations.push(format!("no header {name}"));
        }
    }
    violations
}

fn parameters(
    operation: &Value,
    request: &Request,
    variables: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut query = request.query();
    let mut violations = Vec::new();
    for parameter in operation["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        let value = match parameter["in"].as_str().unwrap() {
            "path" => variables.get(name).cloned(),
            "query" => query.remove(name),
            "header" => Some(request.header(name).to_owned()).filter(|value| !value.is_empty()),
            _ => continue,
        };
        match value {
            Some(value) => violations.extend(mismatch(parameter, name, &value)),
            None if parameter["required"] == true => violations.push(format!("no {name}")),
            None => {}
        }
    }
    violations.extend(
        query
            .into_keys()
            .map(|name| format!("unknown parameter {name}")),
    );
    violations
}

/// Content type and body, as far as binary bodies go.
fn content(operation: &Value, request: &Request) -> Option<String> {
    let wanted = operation["parameters"]
        .as_array()?
        .iter()
        .any(|parameter| parameter["in"] == "body");
    if wanted == request.body.is_empty() {
        return Some(format!("{} bytes of body", request.body.len()));
    }
    let content_type = Value::from(request.header("content-type"));
    let consumes = operation["consumes"].as_array();
    let known = consumes.is_none_or(|types| types.contains(&content_type));
    (wanted && !known).then(|| format!("content type {content_type}"))
}

/// What in a body is not as its schema has it, if it is JSON.
fn json(spec: &Value, operation: &Value, request: &Request) -> Vec<String> {
    let parameters = operation["parameters"].as_array().unwrap();
    let body = parameters.iter().find(|p| p["in"] == "body");
    let Some(body) = body.filter(|_| request.header("content-type") == "application/json") else {
        return Vec::new();
    };
    let schema = json!({"allOf": [body["schema"]], "definitions": spec["definitions"]});
    let sent: Value = match serde_json::from_slice(&request.body) {
        Ok(sent) => sent,
        Err(error) => return vec![format!("the body is no JSON: {error}")],
    };
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong = validator.iter_errors(&sent);
    wrong
        .map(|error| format!("body{}: {error}", error.instance_path()))
        .collect()
}

/// The variables of a path template, if a path fits it.
fn variables(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let names = Regex::new(r"\\\{(\w+)\\\}").unwrap();
    let pattern = names
        .replace_all(&regex::escape(template), "(?P<$1>[^/:]+)")
        .into_owned();
    let pattern = Regex::new(&format!("^{pattern}$")).unwrap();
    let found = pattern.captures(path)?;
    let named = pattern.capture_names().flatten();
    Some(
        named
            .map(|name| (name.to_owned(), found[name].to_owned()))
            .collect(),
    )
}

fn mismatch(parameter: &Value, name: &str, value: &str) -> Option<String> {
    let wrong = |why: &str| Some(format!("{name} = {value:?}: {why}"));
    let shape = match parameter["type"].as_str()? {
        "array" => {
            let items = &parameter["items"];
            return value
                .split(',')
                .find_map(|item| mismatch_of(items, item))
                .and_then(|why| wrong(&why));
        }
        _ => parameter,
    };
    mismatch_of(shape, value).and_then(|why| wrong(&why))
}

fn mismatch_of(shape: &Value, value: &str) -> Option<String> {
    let fits = match shape["type"].as_str()? {
        "number" => value.parse::<f64>().is_ok(),
        "boolean" => matches!(value, "true" | "false"),
        _ => !value.is_empty(),
    };
    let length = |key: &str| {
        shape[key]
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
    };
    let pattern = shape["pattern"]
        .as_str()
        .map(|pattern| Regex::new(pattern).unwrap());
    let words = shape["enum"].as_array();
    let faults = [
        (!fits, "type"),
        (
            words.is_some_and(|words| !words.contains(&Value::from(value))),
            "enum",
        ),
        (
            pattern.is_some_and(|pattern| !pattern.is_match(value)),
            "pattern",
        ),
        (
            length("minLength").is_some_and(|least| value.len() < least),
            "minLength",
        ),
        (
            length("maxLength").is_some_and(|most| value.len() > most),
            "maxLength",
        ),
        (shape["format"] == "uuid" && !is_uuid(value), "format"),
    ];
    faults
        .into_iter()
        .find(|(fault, _)| *fault)
        .map(|(_, what)| what.to_owned())
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12]
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
