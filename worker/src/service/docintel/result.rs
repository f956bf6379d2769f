//! What came of an operation.

use filefleet_shared::wire::Usage;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{ReadConfig, fields};
use crate::service::{Answer, CallError, azure::cause_of, detail::message, refusal::words};

/// More cells than any table has; a count of rows and columns alone must not fill the memory.
const MAX_CELLS: usize = 1_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation<T> {
    status: String,
    error: Option<Value>,
    analyze_result: Option<T>,
}

/// The useful parts of an `analyzeResult`; words and their places are skipped unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Analysis {
    content: String,
    content_format: Option<String>,
    pages: Vec<Page>,
    #[serde(default)]
    tables: Vec<Table>,
    #[serde(default)]
    documents: Vec<Document>,
    #[serde(default)]
    key_value_pairs: Vec<Pair>,
    #[serde(default)]
    languages: Vec<Language>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    barcodes: Vec<Barcode>,
}

#[derive(Deserialize)]
struct Barcode {
    kind: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    row_count: usize,
    column_count: usize,
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cell {
    row_index: usize,
    column_index: usize,
    content: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    doc_type: String,
    confidence: Option<f64>,
    #[serde(default)]
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
struct Pair {
    key: Text,
    value: Option<Text>,
}

#[derive(Deserialize)]
struct Text {
    content: String,
}

#[derive(Deserialize)]
struct Language {
    locale: String,
}

/// Reads the body of a 200; none while the operation goes on.
///
/// # Errors
/// `Malformed` if it is none of an operation, `Rejected` if the operation failed.
pub(super) fn interpret(body: &[u8], config: &ReadConfig) -> Result<Option<Answer>, CallError> {
    if config.full {
        return finished(body)?.map(whole).transpose();
    }
    let found = finished::<Analysis>(body)?;
    found.map(|analysis| useful(analysis, config)).transpose()
}

/// The result, none while the operation goes on.
fn finished<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, CallError> {
    let malformed = |what: String| CallError::Malformed(format!("not an analysis: {what}"));
    let operation: Operation<T> =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    match (operation.status.as_str(), operation.analyze_result) {
        ("succeeded", Some(result)) => Ok(Some(result)),
        ("succeeded", None) => Err(malformed("no result".to_owned())),
        ("notStarted" | "running", _) => Ok(None),
        ("failed", _) => Err(failed(&operation.error.unwrap_or_default())),
        ("canceled", _) => Err(given_up("operation_canceled", "the service canceled it")),
        ("skipped", _) => Err(given_up("operation_skipped", "the service skipped it")),
        (other, _) => Err(malformed(format!("status {other:?}"))),
    }
}

/// Why an operation failed; an operation that failed stays so, whatever the reason.
fn failed(error: &Value) -> CallError {
    let cause = cause_of(&words(error)).unwrap_or("analysis_failed");
    given_up(cause, &message(error))
}

fn given_up(cause: &'static str, detail: &str) -> CallError {
    CallError::rejected(cause, detail).called()
}

/// Everything that the service gave.
fn whole(result: Value) -> Result<Answer, CallError> {
    let pages = result["pages"].as_array().map(Vec::len);
    let pages =
        pages.ok_or_else(|| CallError::Malformed("an analysis without pages".to_owned()))?;
    Ok(Answer {
        output: result,
        usage: usage(pages),
    })
}

/// `content`, `format` and `pages`; `tables`, `documents`, `key_values`, `languages` and
/// `barcodes` where there are any.
fn useful(analysis: Analysis, config: &ReadConfig) -> Result<Answer, CallError> {
    let pages = analysis.pages.len();
    let format = analysis.content_format;
    let mut output = json!({
        "content": analysis.content,
        "format": format.unwrap_or_else(|| config.format.word().to_owned()),
        "pages": pages,
    });
    let tables = analysis.tables.into_iter().map(rows);
    let parts = [
        ("tables", tables.collect::<Result<Vec<_>, _>>()?),
        (
            "documents",
            analysis.documents.into_iter().map(document).collect(),
        ),
        (
            "key_values",
            analysis.key_value_pairs.into_iter().map(pair).collect(),
        ),
        ("languages", locales(analysis.languages)),
        ("barcodes", barcodes(analysis.pages)),
    ];
    for (name, items) in parts {
        if !items.is_empty() {
            output[name] = Value::Array(items);
        }
    }
    Ok(Answer {
        output,
        usage: usage(pages),
    })
}

/// The table as rows of texts; a cell over several places is at its first.
fn rows(table: Table) -> Result<Value, CallError> {
    let cells = table.row_count.checked_mul(table.column_count);
    if cells.is_none_or(|cells| cells > MAX_CELLS) {
        let (rows, columns) = (table.row_count, table.column_count);
        let detail = format!("a table of {rows} rows and {columns} columns");
        return Err(CallError::Malformed(detail));
    }
    let mut rows = vec![vec![String::new(); table.column_count]; table.row_count];
    for cell in table.cells {
        let row = rows.get_mut(cell.row_index);
        if let Some(place) = row.and_then(|row| row.get_mut(cell.column_index)) {
            *place = cell.content;
        }
    }
    Ok(json!(rows))
}

fn document(document: Document) -> Value {
    json!({
        "type": document.doc_type,
        "confidence": document.confidence,
        "fields": fields::values(document.fields),
    })
}

fn pair(pair: Pair) -> Value {
    json!({"key": pair.key.content, "value": pair.value.map(|value| value.content)})
}

/// Each locale once, in the order of the text.
fn locales(languages: Vec<Language>) -> Vec<Value> {
    let mut locales = Vec::new();
    for language in languages {
        let locale = Value::String(language.locale);
        if !locales.contains(&locale) {
            locales.push(locale);
        }
    }
    locales
}

fn barcodes(pages: Vec<Page>) -> Vec<Value> {
    let barcodes = pages.into_iter().flat_map(|page| page.barcodes);
    barcodes
        .map(|barcode| json!({"kind": barcode.kind, "value": barcode.value}))
        .collect()
}

fn usage(pages: usize) -> Usage {
    Usage {
        pages: pages as u64,
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests;
