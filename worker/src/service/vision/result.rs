//! What was seen, flattened.

use filefleet_shared::wire::Usage;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::service::{Answer, CallError};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Analysis {
    model_version: String,
    metadata: Metadata,
    caption_result: Option<Caption>,
    dense_captions_result: Option<Values<Region>>,
    tags_result: Option<Values<Tag>>,
    objects_result: Option<Values<Object>>,
    read_result: Option<Text>,
    smart_crops_result: Option<Values<Crop>>,
    people_result: Option<Values<Person>>,
}

#[derive(Deserialize)]
struct Metadata {
    width: u64,
    height: u64,
}

#[derive(Deserialize)]
struct Values<T> {
    values: Vec<T>,
}

#[derive(Deserialize)]
struct Caption {
    text: String,
    confidence: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    text: String,
    confidence: f64,
    bounding_box: Rectangle,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    confidence: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    bounding_box: Rectangle,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Text {
    blocks: Vec<Block>,
}

#[derive(Deserialize)]
struct Block {
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Crop {
    aspect_ratio: f64,
    bounding_box: Rectangle,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    bounding_box: Rectangle,
    confidence: f64,
}

#[derive(Deserialize)]
struct Rectangle {
    x: i64,
    y: i64,
    w: i64,
    h: i64,
}

/// Reads the body of a 200. What was not asked for is not there:
///
/// | key | shape |
/// |---|---|
/// | `width`, `height`, `model` | pixels, and the version of the model |
/// | `caption` | `{text, confidence}` |
/// | `captions` | `[{text, confidence, box}]`, of regions |
/// | `tags` | `[{name, confidence}]` |
/// | `objects` | `[{name, confidence, box}]`, one entry per name of an object |
/// | `text`, `lines` | all text with line ends, and `[text]` |
/// | `people` | `[{confidence, box}]` |
/// | `crops` | `[{ratio, box}]` |
///
/// A `box` is `[x, y, width, height]` in pixels.
///
/// # Errors
/// `Malformed` if it is no analysis.
pub(super) fn interpret(body: &[u8]) -> Result<Answer, CallError> {
    let analysis: Analysis = serde_json::from_slice(body)
        .map_err(|error| CallError::Malformed(format!("not an image analysis: {error}")))?;
    let mut output = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        output.extend(value.map(|value| (key.to_owned(), value)));
    };
    let lines = analysis.read_result.map(lines);
    put("width", Some(analysis.metadata.width.into()));
    put("height", Some(analysis.metadata.height.into()));
    put("model", Some(analysis.model_version.into()));
    put("caption", analysis.caption_result.as_ref().map(caption));
    put(
        "captions",
        analysis
            .dense_captions_result
            .map(|found| each(&found, region)),
    );
    put("tags", analysis.tags_result.map(|found| each(&found, tag)));
    put("objects", analysis.objects_result.map(objects));
    put("text", lines.as_ref().map(|lines| lines.join("\n").into()));
    put("lines", lines.map(Value::from));
    put(
        "people",
        analysis.people_result.map(|found| each(&found, person)),
    );
    put(
        "crops",
        analysis.smart_crops_result.map(|found| each(&found, crop)),
    );
    Ok(Answer {
        output: Value::Object(output),
        usage: Usage {
            calls: 1,
            ..Usage::default()
        },
    })
}

fn each<T>(found: &Values<T>, value: fn(&T) -> Value) -> Value {
    found.values.iter().map(value).collect()
}

fn caption(caption: &Caption) -> Value {
    json!({"text": caption.text, "confidence": caption.confidence})
}

fn region(region: &Region) -> Value {
    let place = place(&region.bounding_box);
    json!({"text": region.text, "confidence": region.confidence, "box": place})
}

fn tag(tag: &Tag) -> Value {
    json!({"name": tag.name, "confidence": tag.confidence})
}

fn objects(found: Values<Object>) -> Value {
    let named = |object: Object| {
        let place = place(&object.bounding_box);
        object
            .tags
            .into_iter()
            .map(move |tag| json!({"name": tag.name, "confidence": tag.confidence, "box": place}))
    };
    found.values.into_iter().flat_map(named).collect()
}

fn lines(text: Text) -> Vec<String> {
    let lines = text.blocks.into_iter().flat_map(|block| block.lines);
    lines.map(|line| line.text).collect()
}

fn person(person: &Person) -> Value {
    json!({"confidence": person.confidence, "box": place(&person.bounding_box)})
}

fn crop(crop: &Crop) -> Value {
    json!({"ratio": crop.aspect_ratio, "box": place(&crop.bounding_box)})
}

fn place(rectangle: &Rectangle) -> [i64; 4] {
    let Rectangle { x, y, w, h } = *rectangle;
    [x, y, w, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_asked_for_is_flattened() {
        let rectangle = json!({"x": 1, "y": 2, "w": 3, "h": 4});
        let polygon = json!([{"x": 0, "y": 0}]);
        let body = json!({
            "modelVersion": "2023-10-01",
            "metadata": {"width": 864, "height": 576},
            "captionResult": {"text": "a table", "confidence": 0.5},
            "denseCaptionsResult": {"values": [{"text": "a leg", "confidence": 0.25, "boundingBox": rectangle}]},
            "tagsResult": {"values": [{"name": "wood", "confidence": 0.75}]},
            "objectsResult": {"values": [{"boundingBox": rectangle, "tags": [{"name": "table", "confidence": 0.5}]}]},
            "readResult": {"blocks": [{"lines": [
                {"text": "one", "boundingPolygon": polygon, "words": []},
                {"text": "two", "boundingPolygon": polygon, "words": []}]}]},
            "smartCropsResult": {"values": [{"aspectRatio": 1.25, "boundingBox": rectangle}]},
            "peopleResult": {"values": [{"boundingBox": rectangle, "confidence": 0.5}]},
        });
        let answer = interpret(body.to_string().as_bytes()).unwrap();
        let place = [1, 2, 3, 4];
        let expected = json!({
            "width": 864, "height": 576, "model": "2023-10-01",
            "caption": {"text": "a table", "confidence": 0.5},
            "captions": [{"text": "a leg", "confidence": 0.25, "box": place}],
            "tags": [{"name": "wood", "confidence": 0.75}],
            "objects": [{"name": "table", "confidence": 0.5, "box": place}],
            "text": "one\ntwo", "lines": ["one", "two"],
            "people": [{"confidence": 0.5, "box": place}],
            "crops": [{"ratio": 1.25, "box": place}],
        });
        assert_eq!((answer.output, answer.usage.calls), (expected, 1));
    }

    #[test]
    fn what_was_not_asked_for_is_not_there() {
        let body = br#"{"modelVersion":"m","metadata":{"width":60,"height":60},"readResult":{"blocks":[]}}"#;
        let expected = json!({"width": 60, "height": 60, "model": "m", "text": "", "lines": []});
        assert_eq!(interpret(body).unwrap().output, expected);
    }

    #[test]
    fn what_is_no_analysis_is_malformed() {
        for body in ["", "<html>", "{}", "{\"modelVersion\":\"m\"}"] {
            let result = interpret(body.as_bytes());
            assert!(matches!(result, Err(CallError::Malformed(_))), "{body}");
        }
    }
}
