use super::*;

const INVOICE: &str = "Müller GmbH\nRechnung Nr. 2026-0417\n12.03.2026\nGesamt 1.190,00 €";

fn filled(schema: &Value) -> Value {
    fill(schema, &Facts::of(INVOICE, true), "[rehearsal] s")
}

#[test]
fn an_invoice_schema_is_filled_from_the_invoice() {
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["vendor", "invoice_number", "date", "total", "currency", "kind", "paid", "summary"],
        "properties": {
            "vendor": {"type": "string"},
            "invoice_number": {"type": ["string", "null"]},
            "date": {"type": "string", "format": "date"},
            "total": {"type": "number"},
            "currency": {"enum": ["USD", "EUR"]},
            "kind": {"type": "string", "enum": ["letter", "invoice"]},
            "paid": {"type": "boolean"},
            "summary": {"type": "string"},
        },
    });
    assert_eq!(
        filled(&schema),
        json!({
            "vendor": "Müller GmbH",
            "invoice_number": "2026-0417",
            "date": "2026-03-12",
            "total": 1190.0,
            "currency": "EUR",
            "kind": "invoice",
            "paid": false,
            "summary": "[rehearsal] s",
        })
    );
}

#[test]
fn bounds_are_kept() {
    let of = |schema: Value| {
        filled(&json!({"type": "object", "properties": {"x": schema}}))["x"].clone()
    };
    assert_eq!(of(json!({"type": "integer", "minimum": 3})), 3);
    assert_eq!(of(json!({"type": "integer", "exclusiveMinimum": 3})), 4);
    assert_eq!(of(json!({"type": "integer", "maximum": -2})), -2);
    assert_eq!(
        of(json!({"type": "integer", "minimum": 7, "multipleOf": 5})),
        10
    );
    assert_eq!(of(json!({"type": "string", "maxLength": 4})), "[reh");
    let long = of(json!({"type": "string", "minLength": 40}));
    assert_eq!(long.as_str().unwrap().len(), 40);
    assert_eq!(
        of(json!({"type": "array", "minItems": 3}))
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(of(json!({"type": "array", "maxItems": 0})), json!([]));
    assert_eq!(of(json!({"const": [1]})), json!([1]));
}

#[test]
fn references_and_alternatives_are_followed() {
    let schema = json!({
        "$defs": {"line": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}}},
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            "due_date": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "both": {"allOf": [{"$ref": "#/$defs/line"}, {"properties": {"b": {"const": 1}}}]},
        },
    });
    assert_eq!(
        filled(&schema),
        json!({
            "lines": [{"amount": 1190.0}],
            "due_date": "2026-03-12",
            "both": {"amount": 1190.0, "b": 1},
        })
    );
}

#[test]
fn a_schema_that_contains_itself_ends() {
    let schema = json!({
        "$defs": {"node": {
            "type": "object",
            "required": ["name", "children", "next"],
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
        }},
        "$ref": "#/$defs/node",
    });
    assert!(filled(&schema)["children"][0]["name"].is_string());
    let endless = json!({"$ref": "#"});
    assert_eq!(filled(&endless), Value::Null);
}
