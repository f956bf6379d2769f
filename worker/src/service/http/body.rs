//! What a request carries, made for one file.

use std::sync::Arc;

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::{
    Body as Sent, RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    multipart::{Form, Part},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::Rendering;
use crate::service::{CallError, Prompt};

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    Nothing,
    /// JSON whose texts are templates.
    Json(Node),
    /// A template that gives JSON.
    JsonTemplate(Arc<Prompt>),
    /// A template that gives text.
    Text(Arc<Prompt>),
    /// The file as it is.
    File,
    /// The file in a form.
    Form(FileForm),
}

/// A form with a file in it.
#[derive(Clone, Debug)]
pub struct FileForm {
    /// Name of the file's field.
    pub field: String,
    /// What the file is called there.
    pub file_name: Arc<Prompt>,
    /// The other fields.
    pub fields: Vec<(String, Arc<Prompt>)>,
}

/// A part of a JSON body.
#[derive(Clone, Debug)]
pub enum Node {
    /// The same for every file.
    Fixed(Value),
    /// A text made for each file.
    Text(Arc<Prompt>),
    /// The file in base64.
    File,
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

/// A [`Node`] for one file. The file is encoded only as it is written.
enum Rendered<'a> {
    Fixed(&'a Value),
    Text(String),
    File(&'a [u8]),
    List(Vec<Self>),
    Object(Vec<(&'a str, Self)>),
}

impl Node {
    /// Puts the file at a JSON pointer, with the objects that are missing on the way.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn place_file(&mut self, pointer: &str) -> Result<(), String> {
        let taken = || format!("something else stands at {pointer:?} in `json`");
        let mut node = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let Self::Object(entries) = node else {
                return Err(taken());
            };
            let at = entries.iter().position(|(name, _)| *name == part);
            let at = at.unwrap_or_else(|| {
                entries.push((part, Self::Object(Vec::new())));
                entries.len() - 1
            });
            node = &mut entries[at].1;
        }
        match node {
            Self::Object(entries) if entries.is_empty() => {
                *node = Self::File;
                Ok(())
            }
            _ => Err(taken()),
        }
    }

    fn mentions(&self, what: &impl Fn(&Prompt) -> bool) -> bool {
        match self {
            Self::Fixed(_) | Self::File => false,
            Self::Text(prompt) => what(prompt),
            Self::List(items) => items.iter().any(|item| item.mentions(what)),
            Self::Object(entries) => entries.iter().any(|(_, value)| value.mentions(what)),
        }
    }

    fn has_file(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::Text(_) => false,
            Self::File => true,
            Self::List(items) => items.iter().any(Self::has_file),
            Self::Object(entries) => entries.iter().any(|(_, value)| value.has_file()),
        }
    }

    fn render<'a>(&'a self, with: &'a Rendering<'a>) -> Result<Rendered<'a>, CallError> {
        Ok(match self {
            Self::Fixed(value) => Rendered::Fixed(value),
            Self::Text(prompt) => Rendered::Text(with.render(prompt)?),
            Self::File => Rendered::File(with.content),
            Self::List(items) => Rendered::List(
                items
                    .iter()
                    .map(|item| item.render(with))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(entries) => Rendered::Object(
                entries
                    .iter()
                    .map(|(name, value)| Ok((name.as_str(), value.render(with)?)))
                    .collect::<Result<_, CallError>>()?,
            ),
        })
    }
}

impl Body {
    /// The file's bytes go into it.
    pub(crate) fn has_file(&self) -> bool {
        match self {
            Self::Json(node) => node.has_file(),
            Self::File | Self::Form(_) => true,
            Self::Nothing | Self::JsonTemplate(_) | Self::Text(_) => false,
        }
    }

    /// One of its templates is so.
    pub(crate) fn mentions(&self, what: &impl Fn(&Prompt) -> bool) -> bool {
        match self {
            Self::Nothing | Self::File => false,
            Self::Json(node) => node.mentions(what),
            Self::JsonTemplate(prompt) | Self::Text(prompt) => what(prompt),
            Self::Form(form) => {
                what(&form.file_name) || form.fields.iter().any(|(_, prompt)| what(prompt))
            }
        }
    }

    /// Adds the body, with its content type where the headers name none.
    pub(crate) fn attach(
        &self,
        request: RequestBuilder,
        headers: &mut HeaderMap,
        with: &Rendering<'_>,
        content: Bytes,
    ) -> Result<RequestBuilder, CallError> {
        let (content_type, body) = match self {
            Self::Nothing => return Ok(request),
            Self::Json(node) => ("application/json", written(&node.render(with)?)?.into()),
            Self::JsonTemplate(prompt) => {
                let text = with.render(prompt)?;
                // Read here: a service's complaint about it would be paid and less clear.
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
                    let detail = format!("`json` is no JSON for this file: {error}");
                    return Err(CallError::rejected("template", detail));
                }
                ("application/json", Sent::from(text))
            }
            Self::Text(prompt) => ("text/plain; charset=utf-8", with.render(prompt)?.into()),
            Self::File => (with.message.file.media_type.as_str(), content.into()),
            Self::Form(form) => return form.attach(request, headers, with, content),
        };
        if !headers.contains_key(CONTENT_TYPE) {
            let fallback = HeaderValue::from_static("application/octet-stream");
            let value = HeaderValue::try_from(content_type).unwrap_or(fallback);
            headers.insert(CONTENT_TYPE, value);
        }
        Ok(request.body(body))
    }
}

impl FileForm {
    fn attach(
        &self,
        request: RequestBuilder,
        headers: &mut HeaderMap,
        with: &Rendering<'_>,
        content: Bytes,
    ) -> Result<RequestBuilder, CallError> {
        // Only the form knows its boundary.
        headers.remove(CONTENT_TYPE);
        let mut form = Form::new();
        for (name, prompt) in &self.fields {
            form = form.text(name.clone(), with.render(prompt)?);
        }
        let length = content.len() as u64;
        let mut part =
            Part::stream_with_length(content, length).file_name(with.render(&self.file_name)?);
        let media_type = &with.message.file.media_type;
        part = part.mime_str(media_type).map_err(|_| {
            CallError::rejected("template", "the file's media type cannot stand in a form")
        })?;
        Ok(request.multipart(form.part(self.field.clone(), part)))
    }
}

fn written(body: &Rendered<'_>) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(body)
        .map_err(|error| CallError::Misconfigured(format!("cannot write the request: {error}")))
}

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(value) => value.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::File(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}
