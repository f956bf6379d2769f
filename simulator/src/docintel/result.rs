//! The `analyzeResult` of a document.

use serde_json::{Map, Value, json};

use super::{
    API_VERSION, fields,
    operations::Wanted,
    render::{Area, Line, Page, Paragraph, Rendered, Table, render},
    source::Shape,
    spans::{Piece, Ruler},
};
use crate::chance;

/// A result while it is written.
pub(super) struct Desk<'a> {
    pub(super) rendered: &'a Rendered,
    pub(super) ruler: Ruler,
    shape: Shape,
}

/// Writes the result; the same for the same document and options.
pub(super) fn result(wanted: &Wanted) -> Value {
    let tables = wanted.model != "prebuilt-read";
    let rendered = render(&wanted.sheets, wanted.options.markdown, tables);
    let desk = Desk {
        ruler: Ruler::new(&rendered.content, wanted.options.unit),
        shape: wanted.shape,
        rendered: &rendered,
    };
    let pages: Vec<_> = rendered.pages.iter().map(|page| desk.page(page)).collect();
    let paragraphs = rendered.paragraphs.iter();
    let paragraphs: Vec<_> = paragraphs
        .map(|paragraph| desk.paragraph(paragraph))
        .collect();
    let format = if wanted.options.markdown {
        "markdown"
    } else {
        "text"
    };
    let mut result = json!({
        "apiVersion": API_VERSION,
        "modelId": wanted.model,
        "stringIndexType": wanted.options.unit.as_str(),
        "content": rendered.content,
        "pages": pages,
        "paragraphs": paragraphs,
        "styles": [],
        "contentFormat": format,
    });
    if tables {
        let tables: Vec<_> = rendered
            .tables
            .iter()
            .map(|table| desk.table(table))
            .collect();
        result["tables"] = Value::Array(tables);
    }
    if wanted.options.languages {
        result["languages"] = fields::languages(&desk);
    }
    if wanted.options.key_value_pairs {
        result["keyValuePairs"] = fields::key_value_pairs(&desk);
    }
    if wanted.model == "prebuilt-invoice" {
        result["documents"] = fields::invoice(&desk);
    }
    result
}

impl Desk<'_> {
    pub(super) fn text(&self, piece: Piece) -> &str {
        let text = self.rendered.content.get(piece.from..piece.to);
        text.unwrap_or_default()
    }

    pub(super) fn all(&self) -> Piece {
        Piece {
            from: 0,
            to: self.rendered.content.len(),
        }
    }

    /// Content, spans and regions of a piece: those of the lines that it touches.
    pub(super) fn element(&self, piece: Piece) -> Map<String, Value> {
        let touches = |line: &&Line| line.piece.from < piece.to && piece.from < line.piece.to;
        let mut regions = Vec::new();
        for (index, page) in self.rendered.pages.iter().enumerate() {
            if let Some(line) = page.lines.iter().find(touches) {
                regions.extend(self.region(index, line.area));
            }
        }
        let mut element = Map::new();
        element.insert("content".to_owned(), self.text(piece).into());
        element.insert("spans".to_owned(), json!([self.ruler.span(piece)]));
        element.insert("boundingRegions".to_owned(), Value::Array(regions));
        element
    }

    fn page(&self, page: &Page) -> Value {
        let mut json = json!({
            "pageNumber": page.number,
            "spans": [self.ruler.span(page.piece)],
        });
        let words = page.lines.iter().flat_map(|line| &line.words);
        let words = words.map(|(piece, area)| {
            let text = self.text(*piece);
            let mut word = json!({
                "content": text,
                "span": self.ruler.span(*piece),
                "confidence": confidence(text),
            });
            self.put_polygon(&mut word, page, *area);
            word
        });
        json["words"] = words.collect();
        let Some((width, height, unit)) = self.measures() else {
            return json;
        };
        let lines = page.lines.iter().map(|line| {
            let mut json = json!({
                "content": self.text(line.piece),
                "spans": [self.ruler.span(line.piece)],
            });
            self.put_polygon(&mut json, page, line.area);
            json
        });
        json["lines"] = lines.collect();
        json["angle"] = json!(0);
        json["width"] = json!(width);
        json["height"] = json!(height);
        json["unit"] = json!(unit);
        json
    }

    fn paragraph(&self, paragraph: &Paragraph) -> Value {
        let mut json = json!({
            "content": self.text(paragraph.piece),
            "spans": [self.ruler.span(paragraph.piece)],
            "boundingRegions": self.region(paragraph.page, paragraph.area),
        });
        if let Some(role) = paragraph.role {
            json["role"] = json!(role);
        }
        json
    }

    fn table(&self, table: &Table) -> Value {
        let mut cells = Vec::new();
        for (row, paragraphs) in table.rows.iter().enumerate() {
            for (column, &index) in paragraphs.iter().enumerate() {
                let paragraph = &self.rendered.paragraphs[index];
                let kind = if row == 0 { "columnHeader" } else { "content" };
                cells.push(json!({
                    "kind": kind,
                    "rowIndex": row,
                    "columnIndex": column,
                    "content": self.text(paragraph.piece),
                    "spans": [self.ruler.span(paragraph.piece)],
                    "boundingRegions": self.region(paragraph.page, paragraph.area),
                    "elements": [format!("/paragraphs/{index}")],
                }));
            }
        }
        json!({
            "rowCount": table.rows.len(),
            "columnCount": table.columns,
            "cells": cells,
            "spans": [self.ruler.span(table.piece)],
            "boundingRegions": self.region(table.page, table.area),
        })
    }

    fn region(&self, page: usize, area: Area) -> Vec<Value> {
        let page = &self.rendered.pages[page];
        let polygon = self.polygon(page, area);
        let region = |polygon| json!({"pageNumber": page.number, "polygon": polygon});
        polygon.map(region).into_iter().collect()
    }

    fn put_polygon(&self, json: &mut Value, page: &Page, area: Area) {
        if let Some(polygon) = self.polygon(page, area) {
            json["polygon"] = json!(polygon);
        }
    }

    /// Width, height and unit of a page, if it has any.
    fn measures(&self) -> Option<(f64, f64, &'static str)> {
        match self.shape {
            Shape::Paper => Some((8.5, 11.0, "inch")),
            Shape::Pixels(width, height) => Some((width.into(), height.into(), "pixel")),
            Shape::Flowing => None,
        }
    }

    /// The corners of a rectangle, clockwise from the upper left one.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a page has far fewer characters than an f64 counts exactly"
    )]
    fn polygon(&self, page: &Page, area: Area) -> Option<[f64; 8]> {
        const MARGIN: f64 = 0.08;
        let (width, height, _) = self.measures()?;
        let across = |column: usize| {
            let share = column as f64 / page.grid.columns as f64;
            round(width * (MARGIN + share * (1.0 - 2.0 * MARGIN)))
        };
        let down = |row: usize| {
            let share = row as f64 / page.grid.rows as f64;
            round(height * (MARGIN + share * (1.0 - 2.0 * MARGIN)))
        };
        let (left, right) = (across(area.column), across(area.column + area.columns));
        let (top, bottom) = (down(area.row), down(area.row + area.rows));
        Some([left, top, right, top, right, bottom, left, bottom])
    }
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// From 0.95 to 1, the same for the same word.
#[expect(
    clippy::cast_precision_loss,
    reason = "numbers below 50 are exact in an f64"
)]
pub(super) fn confidence(text: &str) -> f64 {
    let thousandths = chance::hash(text.as_bytes()) % 50;
    round(0.95 + thousandths as f64 / 1e3)
}
