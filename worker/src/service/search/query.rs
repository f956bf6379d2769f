//! `query`: a question to an index, by words, by a vector, or both.

use std::sync::Arc;

use async_trait::async_trait;
use filefleet_shared::wire::Usage;
use reqwest::{StatusCode, Url};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    access::{Access, task},
    document::Node,
};
use crate::service::{
    Answer, CallError, Identity, Prompt, PromptError, Reply, Service, StepInput,
    scope::{Scope, View},
    text,
    transport::read_body,
};

/// What a step asks an index.
#[derive(Clone, Debug)]
pub struct QueryConfig {
    /// Name of the index.
    pub index: String,
    /// Words to look for.
    pub search: Option<Arc<Prompt>>,
    /// A vector to look for what is near it.
    pub vector: Option<VectorQuery>,
    /// Condition that documents must fulfil.
    pub filter: Option<Arc<Prompt>>,
    /// Fields of the answer; all that can be had if empty.
    pub select: Vec<String>,
    /// Most documents.
    pub top: u32,
    /// How many documents there are in all is asked for too.
    pub count: bool,
}

/// A vector to look for.
#[derive(Clone, Debug)]
pub struct VectorQuery {
    /// What gives it.
    pub vector: Node,
    /// The field that it is compared with.
    pub field: String,
    /// So many nearest documents are looked at.
    pub k: u32,
}

/// One query step, bound to its service.
pub(crate) struct Query {
    access: Access,
    url: Url,
    config: QueryConfig,
}

/// `POST …/docs/search.post.search`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SearchRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<String>,
    top: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    count: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector_queries: Option<[Near<'a>; 1]>,
}

#[derive(Serialize)]
struct Near<'a> {
    kind: &'static str,
    vector: Value,
    k: u32,
    fields: &'a str,
}

impl Query {
    pub(crate) fn new(access: Access, config: QueryConfig) -> Self {
        Self {
            url: access.url(&config.index, "search.post.search"),
            access,
            config,
        }
    }

    fn body(&self, input: &StepInput<'_>) -> Result<Vec<u8>, CallError> {
        let text = if self.needs_content() {
            text::read(&input.content, &input.message.file.media_type)?
        } else {
            "".into()
        };
        let scope = Scope::new(input.message, &text);
        let request = self
            .request(scope.view())
            .map_err(|error| error.into_call("template"))?;
        serde_json::to_vec(&request)
            .map_err(|error| CallError::Misconfigured(format!("cannot write the request: {error}")))
    }

    fn request(&self, view: View<'_>) -> Result<SearchRequest<'_>, PromptError> {
        let config = &self.config;
        let render = |prompt: &Arc<Prompt>| prompt.render_in(view.context());
        let near = |query: &'_ VectorQuery| {
            let vector = query.vector.make(view)?;
            let numbers = vector.as_array().filter(|items| !items.is_empty());
            if !numbers.is_some_and(|items| items.iter().all(Value::is_number)) {
                return Err(PromptError::Input(
                    "`vector` is no list of numbers".to_owned(),
                ));
            }
            Ok(vector)
        };
        let vector = config.vector.as_ref().map(near).transpose()?;
        let vector = config.vector.as_ref().zip(vector);
        Ok(SearchRequest {
            search: config.search.as_ref().map(render).transpose()?,
            filter: config.filter.as_ref().map(render).transpose()?,
            select: Some(config.select.join(",")).filter(|fields| !fields.is_empty()),
            top: config.top,
            count: config.count,
            vector_queries: vector.map(|(query, vector)| {
                [Near {
                    kind: "vector",
                    vector,
                    k: query.k,
                    fields: &query.field,
                }]
            }),
        })
    }
}

#[async_trait]
impl Service for Query {
    async fn call(&self, input: StepInput<'_>) -> Result<Reply, CallError> {
        let body = self.body(&input)?;
        let url = self.url.clone();
        let response = self.access.post(url, body, task(input.message)).await?;
        let status = response.status();
        let output = if status.is_success() {
            interpret(&read_body(response).await?)?
        } else if self.access.rehearsing && status == StatusCode::NOT_FOUND {
            // A simulator has none of the user's indexes, and so nothing is found in them.
            json!({"documents": []})
        } else {
            return Err(self.access.refused(response).await);
        };
        let usage = Usage {
            calls: 1,
            ..Usage::default()
        };
        Ok(Answer { output, usage }.into())
    }

    fn identity(&self, input: &StepInput<'_>) -> Option<Identity> {
        let body = self.body(input).ok()?;
        Some(Identity::of([&*body]))
    }

    fn needs_content(&self) -> bool {
        let config = &self.config;
        let prompts = [&config.search, &config.filter];
        let mut prompts = prompts.into_iter().flatten();
        let vector = config.vector.as_ref().map(|query| &query.vector);
        prompts.any(|prompt| prompt.mentions_text()) || vector.is_some_and(Node::mentions_text)
    }
}

/// The found documents, best first, without the service's annotations but for the score.
fn interpret(body: &[u8]) -> Result<Value, CallError> {
    let malformed = |detail: String| CallError::Malformed(format!("not an answer: {detail}"));
    let body: Value = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let found = body["value"].as_array();
    let found = found.ok_or_else(|| malformed("no documents".to_owned()))?;
    let document = |found: &Value| {
        let fields = found
            .as_object()
            .ok_or_else(|| malformed("no document".to_owned()))?;
        let mut document: Map<String, Value> = fields
            .iter()
            .filter(|(name, _)| !name.starts_with("@search."))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let score = found.get("@search.score").cloned().unwrap_or_default();
        document.insert("score".to_owned(), score);
        Ok::<_, CallError>(Value::Object(document))
    };
    let documents: Vec<Value> = found.iter().map(document).collect::<Result<_, _>>()?;
    let mut output = json!({"documents": documents});
    if let Some(count) = body.get("@odata.count") {
        output["count"] = count.clone();
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_with_their_score_and_without_annotations() {
        let body = json!({
            "@odata.count": 7,
            "@search.coverage": 100,
            "value": [{"@search.score": 1.5, "@search.highlights": null, "id": "a", "n": 1}],
        });
        let expected = json!({"count": 7, "documents": [{"score": 1.5, "id": "a", "n": 1}]});
        assert_eq!(interpret(body.to_string().as_bytes()).unwrap(), expected);
        let none = interpret(b"{\"value\": []}").unwrap();
        assert_eq!(none, json!({"documents": []}));
        for bad in ["", "[]", "{}", "{\"value\": [1]}"] {
            let read = interpret(bad.as_bytes());
            assert!(matches!(read, Err(CallError::Malformed(_))), "{bad}");
        }
    }
}
