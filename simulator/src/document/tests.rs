use super::*;

const INVOICE: &str = "Müller & Söhne GmbH\nHauptstraße 3\n\nRechnung Nr. 2026-0417\nDatum: 12.03.2026\n\n\
    Beratung für die Halle   1.000,00 €\nGesamtbetrag 1.190,00 €\n\nZahlbar bis 26. März 2026 und wir danken.";

#[test]
fn an_invoice_is_read() {
    let facts = Facts::of(INVOICE, true);
    assert_eq!(facts.kind, "invoice");
    assert_eq!(facts.language, Some("de"));
    assert_eq!(facts.title, "Müller & Söhne GmbH");
    assert_eq!(facts.sender, "Müller & Söhne GmbH");
    assert_eq!(facts.number.as_deref(), Some("2026-0417"));
    assert_eq!(facts.dates, ["2026-03-12", "2026-03-26"]);
    assert_eq!(facts.total().map(|total| total.value), Some(1190.0));
    assert_eq!(facts.words, 28);
}

#[test]
fn an_instruction_in_front_is_not_the_document() {
    let prompt = format!("Extract vendor and total as JSON.\n\n{INVOICE}");
    assert_eq!(Facts::of(&prompt, false), Facts::of(INVOICE, true));
}

#[test]
fn kinds_are_told_apart() {
    for (text, kind) in [
        ("id,name,price\n1,Ana,3\n2,Bo,4\n", "table"),
        (
            "Dear Ms Smith,\n\nthank you.\n\nKind regards\nTom",
            "letter",
        ),
        ("# Weekly\n\nAttendees: Ana, Bo\n\nAgenda", "minutes"),
        ("{\"a\": \"b\"}", "data"),
        ("Roses are red", "text"),
        ("", "text"),
    ] {
        assert_eq!(Facts::of(text, true).kind, kind, "{text}");
    }
}

#[test]
fn any_text_can_be_read_without_harm() {
    for text in [
        "",
        "\n\n",
        "€",
        "€ €",
        "1",
        "…",
        "ß".repeat(70_000).as_str(),
        "- , ; |\n|||",
    ] {
        let facts = Facts::of(text, false);
        assert!(facts.title.chars().count() <= 120);
    }
}
