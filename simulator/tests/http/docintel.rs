//! Document Intelligence: sending, polling, results.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use filefleet_simulator::{
    Faults, Kind, OcrConfig, OcrQuotas, Quirk, Simulator, SimulatorConfig, Stats,
};
use serde_json::{Value, json};

use super::{Reply, Service};

const LAYOUT: &str =
    "/documentintelligence/documentModels/prebuilt-layout:analyze?api-version=2024-11-30";

async fn send(service: &Service, path: &str, media: &str, bytes: &[u8]) -> Reply {
    let url = format!("{}{path}", service.simulator.base_url());
    let request = service.client.post(url).header("content-type", media);
    let request = request.header("x-filefleet-task", "run/0");
    Reply::of(request.body(bytes.to_vec()).send().await.unwrap()).await
}

async fn poll(service: &Service, sent: &Reply) -> Reply {
    let location = sent.header("operation-location");
    Reply::of(service.client.get(location).send().await.unwrap()).await
}

/// The result of reading bytes, with more parameters.
async fn read(service: &Service, parameters: &str, bytes: &[u8]) -> Value {
    let path = format!("{LAYOUT}{parameters}");
    let sent = send(service, &path, "application/octet-stream", bytes).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let told = poll(service, &sent).await.json();
    assert_eq!(told["status"], "succeeded", "{told}");
    told["analyzeResult"].clone()
}

fn with(ocr: OcrConfig) -> SimulatorConfig {
    SimulatorConfig {
        ocr,
        ..SimulatorConfig::default()
    }
}

/// What a span of code points points at.
fn at(content: &str, span: &Value) -> String {
    let number = |name: &str| usize::try_from(span[name].as_u64().unwrap()).unwrap();
    let (offset, length) = (number("offset"), number("length"));
    content.chars().skip(offset).take(length).collect()
}

#[tokio::test]
async fn a_document_is_read_for_a_while_and_paid_once() {
    let service = Service::start(with(OcrConfig {
        processing: Duration::from_millis(300),
        ..OcrConfig::default()
    }))
    .await;
    let sent = send(&service, LAYOUT, "application/octet-stream", b"Hello").await;
    assert_eq!((sent.status.as_u16(), sent.text.as_str()), (202, ""));
    assert_eq!(sent.header("retry-after"), "1");
    let location = sent.header("operation-location").to_owned();
    let start = format!(
        "{}/documentintelligence/documentModels/prebuilt-layout/analyzeResults/",
        service.simulator.base_url()
    );
    assert!(location.starts_with(&start), "{location}");
    assert!(location.ends_with("?api-version=2024-11-30"), "{location}");
    let mut seen = Vec::new();
    let done = loop {
        let told = poll(&service, &sent).await;
        assert_eq!(told.status, 200);
        let status = told.json()["status"].as_str().unwrap().to_owned();
        if status == "succeeded" {
            assert!(told.headers.get("retry-after").is_none());
            break told.json();
        }
        assert_eq!(told.header("retry-after"), "1");
        assert!(told.json().get("analyzeResult").is_none());
        seen.push(status);
    };
    seen.dedup();
    assert!(
        seen == ["notStarted", "running"] || seen == ["running"],
        "{seen:?}"
    );
    assert_eq!(done["analyzeResult"]["content"], "Hello");
    assert!(done["createdDateTime"].as_str().unwrap().ends_with('Z'));
    let stats = service.stats().await;
    assert_eq!((stats.paid, stats.pages, stats.repeated), (1, 1, 0));
    let ocr = stats.kinds[&Kind::Ocr];
    assert_eq!((ocr.requests, ocr.paid, ocr.distinct_tasks), (1, 1, 1));
    assert_eq!(stats.kinds[&Kind::OcrPoll].paid, 0);
    send(&service, LAYOUT, "application/octet-stream", b"Hello").await;
    assert_eq!(service.stats().await.kinds[&Kind::Ocr].repeated, 1);
}

#[tokio::test]
async fn pages_lines_words_and_tables_have_their_places() {
    let service = Service::start(SimulatorConfig::default()).await;
    let text = "# Träger\nHello 🌍 world\n\nname\tprice\nBolt\t2.50\u{c}Second page";
    let result = read(
        &service,
        "&stringIndexType=unicodeCodePoint",
        text.as_bytes(),
    )
    .await;
    let content = result["content"].as_str().unwrap();
    assert_eq!(
        content,
        "Träger\nHello 🌍 world\nname\nprice\nBolt\n2.50\nSecond page"
    );
    let pages = result["pages"].as_array().unwrap();
    assert_eq!(pages.len(), 2);
    for page in pages {
        for word in page["words"].as_array().unwrap() {
            assert_eq!(at(content, &word["span"]), word["content"]);
            assert_eq!(word["polygon"].as_array().unwrap().len(), 8);
        }
        for line in page["lines"].as_array().unwrap() {
            assert_eq!(at(content, &line["spans"][0]), line["content"]);
        }
        assert_eq!(
            (&page["unit"], &page["width"]),
            (&json!("inch"), &json!(8.5))
        );
    }
    assert_eq!(at(content, &pages[1]["spans"][0]), "Second page");
    assert_eq!(result["paragraphs"][0]["role"], "title");
    let table = &result["tables"][0];
    assert_eq!(
        (&table["rowCount"], &table["columnCount"]),
        (&json!(2), &json!(2))
    );
    for cell in table["cells"].as_array().unwrap() {
        assert_eq!(at(content, &cell["spans"][0]), cell["content"]);
        let paragraph = cell["elements"][0].as_str().unwrap();
        assert_eq!(
            result.pointer(paragraph).unwrap()["content"],
            cell["content"]
        );
    }
    assert_eq!(table["cells"][0]["kind"], "columnHeader");
    // The usual unit counts the globe as one, UTF-16 as two.
    for (unit, offset) in [("", 15), ("&stringIndexType=utf16CodeUnit", 16)] {
        let result = read(&service, unit, text.as_bytes()).await;
        let span = &result["pages"][0]["words"][3]["span"];
        assert_eq!(span["offset"], offset, "{unit}");
    }
}

#[tokio::test]
async fn markdown_has_headings_tables_and_page_breaks() {
    let service = Service::start(SimulatorConfig::default()).await;
    let text = "# Title\nOne\n\na|b\n1|2\u{c}Two";
    let path = "&outputContentFormat=markdown&stringIndexType=unicodeCodePoint";
    let result = read(&service, path, text.as_bytes()).await;
    let content = result["content"].as_str().unwrap();
    assert_eq!(
        content,
        "# Title\n\nOne\n\n<table>\n<tr>\n<th>a</th>\n<th>b</th>\n</tr>\n<tr>\n<td>1</td>\n\
         <td>2</td>\n</tr>\n</table>\n\n<!-- PageBreak -->\n\nTwo"
    );
    assert_eq!(result["contentFormat"], "markdown");
    let table = &result["tables"][0];
    assert!(at(content, &table["spans"][0]).starts_with("<table>"));
    assert_eq!(at(content, &table["cells"][3]["spans"][0]), "2");
    let only = read(&service, "&pages=2", text.as_bytes()).await;
    assert_eq!(only["content"], "Two");
    assert_eq!(only["pages"][0]["pageNumber"], 2);
    let read_model = LAYOUT.replace("layout", "read");
    let sent = send(
        &service,
        &read_model,
        "application/octet-stream",
        text.as_bytes(),
    )
    .await;
    let result = poll(&service, &sent).await.json()["analyzeResult"].clone();
    assert!(result.get("tables").is_none(), "{result}");
}

#[tokio::test]
async fn images_pdf_office_and_html_are_told_apart() {
    let service = Service::start(SimulatorConfig::default()).await;
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend([0, 0, 2, 0, 0, 0, 1, 44]);
    let image = read(&service, "", &png).await;
    assert_eq!(image["pages"][0]["unit"], "pixel");
    assert_eq!(image["pages"][0]["width"], 512.0);
    assert!(
        image["content"]
            .as_str()
            .unwrap()
            .starts_with("[rehearsal]")
    );
    assert_eq!(read(&service, "", &png).await, image);

    let pdf = b"%PDF-1.4 /Type /Pages /Type /Page /Type /Page stream\n(Hello) Tj\nendstream";
    let pdf = read(&service, "", pdf).await;
    assert_eq!(pdf["pages"].as_array().unwrap().len(), 2);
    assert_eq!(pdf["pages"][0]["lines"][0]["content"], "Hello");

    let body = json!({"base64Source": BASE64_STANDARD.encode(b"PK\x03\x04...")}).to_string();
    let sent = send(&service, LAYOUT, "application/json", body.as_bytes()).await;
    let office = poll(&service, &sent).await.json()["analyzeResult"].clone();
    let page = &office["pages"][0];
    assert!(page.get("lines").is_none() && page.get("width").is_none());
    assert!(page["words"][0].get("polygon").is_none());
    let sent = send(&service, LAYOUT, "text/html", b"<p>Hello <b>you</b></p>").await;
    let html = poll(&service, &sent).await.json();
    assert_eq!(html["analyzeResult"]["content"], "Hello you");
    assert_eq!(service.stats().await.pages, 1 + 1 + 2 + 1 + 1);
}

#[tokio::test]
async fn an_invoice_has_fields() {
    let service = Service::start(SimulatorConfig::default()).await;
    let text = "Northwind Tools\nInvoice No. NW-77\nDate: 2026-05-04\n\nTotal: EUR 119.00\n";
    let path = LAYOUT.replace("layout", "invoice") + "&features=keyValuePairs,languages";
    let sent = send(&service, &path, "application/octet-stream", text.as_bytes()).await;
    let result = poll(&service, &sent).await.json()["analyzeResult"].clone();
    let fields = &result["documents"][0]["fields"];
    assert_eq!(fields["InvoiceId"]["valueString"], "NW-77");
    assert_eq!(fields["InvoiceDate"]["valueDate"], "2026-05-04");
    assert_eq!(fields["InvoiceTotal"]["valueCurrency"]["amount"], 119.0);
    assert_eq!(fields["VendorName"]["content"], "Northwind Tools");
    let content = result["content"].as_str().unwrap();
    assert_eq!(at(content, &fields["InvoiceId"]["spans"][0]), "NW-77");
    assert_eq!(result["keyValuePairs"][0]["value"]["content"], "2026-05-04");
}

#[tokio::test]
async fn a_failed_reading_is_a_200_and_not_paid() {
    let service = Service::with(&[Quirk::OcrFailed]).await;
    let sent = send(&service, LAYOUT, "application/pdf", b"%PDF").await;
    let told = poll(&service, &sent).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["status"], "failed");
    assert_eq!(told.error()["details"][0]["code"], "InvalidContent");
    assert_eq!(service.stats().await.paid, 0);
    service.control(json!({"quirks": ["markers"]})).await;
    for (text, status) in [("SIM_OCR_FAILED", "failed"), ("fine", "succeeded")] {
        let sent = send(
            &service,
            LAYOUT,
            "application/octet-stream",
            text.as_bytes(),
        )
        .await;
        assert_eq!(poll(&service, &sent).await.json()["status"], status);
    }
}

#[tokio::test]
async fn sending_and_polling_have_quotas_of_their_own() {
    let service = Service::start(with(OcrConfig {
        quotas: Some(OcrQuotas {
            posts_per_second: 2,
            gets_per_second: 3,
        }),
        ..OcrConfig::default()
    }))
    .await;
    let (one, two, three) = tokio::join!(
        send(&service, LAYOUT, "application/octet-stream", b"a"),
        send(&service, LAYOUT, "application/octet-stream", b"b"),
        send(&service, LAYOUT, "application/octet-stream", b"c"),
    );
    let mut all = [one, two, three];
    all.sort_by_key(|reply| reply.status);
    let statuses = all.each_ref().map(|reply| reply.status.as_u16());
    assert_eq!(statuses, [202, 202, 429]);
    assert_eq!(all[2].header("retry-after"), "1");
    assert_eq!(all[2].error()["code"], "429");
    for status in [200, 200, 200, 429] {
        let told = poll(&service, &all[0]).await;
        assert_eq!(told.status, status);
        assert_eq!(told.headers.get("retry-after").is_some(), status == 429);
    }
    service.control(json!({"ocr": {"quotas": {}}})).await;
    let ocr = service.simulator.config().ocr;
    assert_eq!(ocr.quotas, Some(OcrQuotas::default()));
    service
        .control(json!({"ocr": {"quotas": null, "processing_ms": 60_000}}))
        .await;
    assert_eq!(poll(&service, &all[0]).await.json()["status"], "notStarted");
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_the_words_of_azure() {
    let service = Service::start(SimulatorConfig {
        require_key: Some("k".to_owned()),
        ..SimulatorConfig::default()
    })
    .await;
    let sent = send(&service, LAYOUT, "application/pdf", b"%PDF").await;
    assert_eq!(
        (sent.status.as_u16(), &sent.error()["code"]),
        (401, &json!("401"))
    );
    service.control(json!({"require_key": null})).await;
    let bytes = "application/octet-stream";
    let unknown = LAYOUT.replace("layout", "nonsense");
    let zoomed = format!("{LAYOUT}&features=zoom");
    let wide = format!("{LAYOUT}&pages=3-1");
    let far = format!("{LAYOUT}&pages=9");
    let unversioned = LAYOUT.replace("?api-version=2024-11-30", "");
    let old = LAYOUT.replace("2024-11-30", "2023-07-31");
    let json = "application/json";
    for (path, media, body, status, code) in [
        (LAYOUT, "text/plain", &b"x"[..], 415, "UnsupportedContent"),
        (LAYOUT, bytes, b"", 400, "InvalidContentLength"),
        (LAYOUT, bytes, b"\xff\xfe\0\x01", 400, "InvalidContent"),
        (LAYOUT, json, b"{}", 400, "InvalidJsonRequest"),
        (
            LAYOUT,
            json,
            br#"{"urlSource": "file:///etc"}"#,
            400,
            "ContentSourceNotAccessible",
        ),
        (&unknown, bytes, b"x", 404, "ModelNotFound"),
        (&zoomed, bytes, b"x", 400, "InvalidParameter"),
        (&wide, bytes, b"x", 400, "InvalidParameter"),
        (&far, bytes, b"x", 400, "InvalidParameter"),
        (&unversioned, bytes, b"x", 400, "MissingApiVersionParameter"),
        (&old, bytes, b"x", 400, "UnsupportedApiVersionValue"),
    ] {
        let reply = send(&service, path, media, body).await;
        assert_eq!(reply.status, status, "{path} {}", reply.text);
        let error = reply.error();
        let inner = error["innererror"]["code"].as_str();
        assert_eq!(
            inner.or(error["code"].as_str()),
            Some(code),
            "{}",
            reply.text
        );
    }
    assert_eq!(service.stats().await.paid, 0);
}

#[tokio::test]
async fn results_are_deleted_and_unknown_ones_not_found() {
    let service = Service::start(SimulatorConfig::default()).await;
    let sent = send(&service, LAYOUT, "application/pdf", b"%PDF").await;
    let location = sent.header("operation-location").to_owned();
    let other_model = location.replace("layout", "read");
    let reply = Reply::of(service.client.get(other_model).send().await.unwrap()).await;
    assert_eq!(reply.status, 404);
    let deleted = service.client.delete(&location).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    let reply = poll(&service, &sent).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.error()["innererror"]["code"], "OperationNotFound");
}

#[tokio::test]
async fn faults_strike_as_they_do_chat() {
    let service = Service::start(SimulatorConfig {
        faults: Faults {
            error_429: 1.0,
            ..Faults::default()
        },
        ..SimulatorConfig::default()
    })
    .await;
    let sent = send(&service, LAYOUT, "application/pdf", b"%PDF").await;
    assert_eq!(
        (sent.status.as_u16(), sent.header("retry-after")),
        (429, "1")
    );
    let day = json!({"quirks": ["retry-after-24h"]});
    service.control(day).await;
    let sent = send(&service, LAYOUT, "application/pdf", b"%PDF").await;
    assert_eq!(sent.header("retry-after"), "86400");
    let lost = json!({"error_429": 0, "reset": 1});
    service.control(lost).await;
    let url = format!("{}{LAYOUT}", service.simulator.base_url());
    let request = service
        .client
        .post(url)
        .header("content-type", "application/pdf");
    assert!(request.body("%PDF").send().await.is_err());
    let stats: Stats = Simulator::stats(&service.simulator);
    // The document was taken, though the client does not know.
    assert_eq!((stats.paid, stats.reset, stats.throttled), (1, 1, 2));
    service.control(json!({"down": true})).await;
    let url = format!("{}{LAYOUT}", service.simulator.base_url());
    assert!(service.client.post(url).body("x").send().await.is_err());
    assert_eq!(service.stats().await.closed, 1);
}
