//! What some models and features find in the text besides its layout.

use serde_json::{Map, Value, json};

use super::{
    result::{Desk, confidence},
    spans::Piece,
};
use crate::document::Facts;

/// The language of the whole text, if it can be told.
pub(super) fn languages(desk: &Desk<'_>) -> Value {
    let facts = Facts::of(desk.text(desk.all()), true);
    let languages = facts.language.into_iter();
    languages
        .map(|locale| {
            json!({"locale": locale, "spans": [desk.ruler.span(desk.all())], "confidence": 0.9})
        })
        .collect()
}

/// Lines like `Key: value`.
pub(super) fn key_value_pairs(desk: &Desk<'_>) -> Value {
    let lines = desk.rendered.pages.iter().flat_map(|page| &page.lines);
    let pairs = lines.filter_map(|line| {
        let (key, value) = desk.text(line.piece).split_once(": ")?;
        let start = line.piece.from + key.len() + 2;
        let value_piece = Piece {
            from: start + value.len() - value.trim_start().len(),
            to: start + value.trim_end().len(),
        };
        let key_piece = Piece {
            from: line.piece.from,
            to: line.piece.from + key.len() + 1,
        };
        let short = !value.trim().is_empty() && key.split_whitespace().count() <= 5;
        short.then(|| {
            json!({
                "key": desk.element(key_piece),
                "value": desk.element(value_piece),
                "confidence": confidence(key),
            })
        })
    });
    pairs.collect()
}

/// The fields of an invoice that can be read off its text.
pub(super) fn invoice(desk: &Desk<'_>) -> Value {
    let facts = Facts::of(desk.text(desk.all()), true);
    let mut fields = Map::new();
    let mut put = |name: &str, kind: &str, value: (&str, Value), written: &str| {
        if !written.is_empty() {
            fields.insert(name.to_owned(), field(desk, kind, value, written));
        }
    };
    let text = |text: &str| ("valueString", Value::from(text));
    put("VendorName", "string", text(&facts.sender), &facts.sender);
    let number = facts.number.as_deref().unwrap_or_default();
    put("InvoiceId", "string", text(number), number);
    let dates = ["InvoiceDate", "DueDate"].into_iter().zip(&facts.dates);
    for (name, date) in dates {
        put(name, "date", ("valueDate", json!(date)), date);
    }
    if let Some(total) = facts.total() {
        let value = json!({"amount": total.value, "currencyCode": total.currency});
        put(
            "InvoiceTotal",
            "currency",
            ("valueCurrency", value),
            &total.written,
        );
    }
    let regions = desk.element(desk.all()).remove("boundingRegions");
    json!([{
        "docType": "invoice",
        "boundingRegions": regions,
        "spans": [desk.ruler.span(desk.all())],
        "fields": fields,
        "confidence": 1.0,
    }])
}

fn field(desk: &Desk<'_>, kind: &str, (name, value): (&str, Value), written: &str) -> Value {
    // A date is known only in its normal form, which may not be how it is written.
    let place = desk.text(desk.all()).find(written);
    let mut field = match place {
        Some(from) => desk.element(Piece {
            from,
            to: from + written.len(),
        }),
        None => Map::new(),
    };
    field.insert("type".to_owned(), kind.into());
    field.insert(name.to_owned(), value);
    field.insert("confidence".to_owned(), json!(confidence(written)));
    Value::Object(field)
}
