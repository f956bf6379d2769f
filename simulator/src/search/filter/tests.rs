use serde_json::json;

use super::*;

fn definition() -> Definition {
    Definition::parse(&json!({"name": "an-index", "fields": [
        {"name": "id", "type": "Edm.String", "key": true},
        {"name": "kind", "type": "Edm.String"},
        {"name": "size", "type": "Edm.Int32"},
        {"name": "open", "type": "Edm.Boolean"},
        {"name": "when", "type": "Edm.DateTimeOffset"},
        {"name": "tags", "type": "Collection(Edm.String)"},
        {"name": "text", "type": "Edm.String", "filterable": false},
    ]}))
    .unwrap()
}

fn holds(filter: &str) -> bool {
    let document = Document {
        fields: json!({
            "id": "1", "kind": "it's", "size": 7, "open": true,
            "when": "2026-05-01T00:00:00Z", "tags": ["a", "b"],
        })
        .as_object()
        .unwrap()
        .clone(),
        ..Document::default()
    };
    Filter::parse(filter, &definition())
        .unwrap()
        .holds(&document)
}

#[test]
fn expressions_bind_as_in_odata() {
    for filter in [
        "kind eq 'it''s'",
        "size eq 7 and open eq true",
        "size eq 1 and open eq true or kind ne 'x'",
        "not (size eq 1) and open",
        "not size eq 1",
        "size gt 6 and size ge 7 and size lt 8 and size le 7",
        "(size eq 1 or size eq 7) and not (open eq false)",
        "when gt 2026-04-30T10:00:00Z",
    ] {
        assert!(holds(filter), "{filter}");
    }
    for filter in ["size eq 1 and (open or open)", "kind eq null", "not open"] {
        assert!(!holds(filter), "{filter}");
    }
}

#[test]
fn collections_and_lists_are_searched() {
    for (filter, expected) in [
        ("tags/any(t: t eq 'b')", true),
        ("tags/any(t: t eq 'c')", false),
        ("tags/any()", true),
        ("tags/any(t: search.in(t, 'x, a'))", true),
        ("search.in(id, '3,1')", true),
        ("search.in(id, '3|1', '|')", true),
        ("search.in(id, '31')", false),
    ] {
        assert_eq!(holds(filter), expected, "{filter}");
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    for filter in [
        "",
        "size eq",
        "size eq 'seven'",
        "size eq 7 7",
        "(size eq 7",
        "kind eq 'open",
        "none eq 1",
        "text eq 'not filterable'",
        "tags/any(t: x eq 'a')",
    ] {
        assert!(Filter::parse(filter, &definition()).is_err(), "{filter}");
    }
    let deep = "(".repeat(1000);
    assert!(Filter::parse(&deep, &definition()).is_err());
}
