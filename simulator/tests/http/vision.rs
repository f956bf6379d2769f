//! Image Analysis: features, limits, and what it shares with the other services.

use std::time::Duration;

use filefleet_simulator::{Faults, Kind, Latency, Quirk, Quotas, SimulatorConfig};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Reply, Service};

const PATH: &str = "/computervision/imageanalysis:analyze";
const ALL: &str = "tags,caption,denseCaptions,objects,read,smartCrops,people";

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend(width.to_be_bytes());
    png.extend(height.to_be_bytes());
    png
}

fn sending(service: &Service, query: &str, image: Vec<u8>) -> RequestBuilder {
    let url = format!(
        "{}{PATH}?api-version=2023-10-01&{query}",
        service.simulator.base_url()
    );
    service
        .client
        .post(url)
        .header("content-type", "application/octet-stream")
        .body(image)
}

async fn analyze(service: &Service, query: &str, image: Vec<u8>) -> Reply {
    Reply::of(sending(service, query, image).send().await.unwrap()).await
}

async fn refused(service: &Service, query: &str, image: Vec<u8>) -> Value {
    let reply = analyze(service, query, image).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    assert_eq!(reply.error()["code"], "InvalidRequest");
    assert_eq!(reply.header("x-ms-error-code"), "InvalidRequest");
    reply.error()
}

fn assert_inside(at: &Value, width: u64, height: u64) {
    let of = |name: &str| at[name].as_u64().unwrap();
    assert!(of("x") + of("w") <= width, "{at}");
    assert!(of("y") + of("h") <= height, "{at}");
    assert!(of("w") > 0 && of("h") > 0, "{at}");
}

#[tokio::test]
async fn every_feature_has_the_shape_of_the_specification() {
    let service = Service::with(&[]).await;
    for (width, height) in [(864, 576), (50, 16_000), (16_000, 50)] {
        let query = format!("features={ALL}&smartcrops-aspect-ratios=0.9,1.33");
        let reply = analyze(&service, &query, png(width, height)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.header("apim-request-id");
        assert!(!reply.headers.contains_key("openai-processing-ms"));
        let body = reply.json();
        let (width, height) = (u64::from(width), u64::from(height));
        assert_eq!(body["modelVersion"], "2023-10-01");
        assert_eq!(body["metadata"], json!({"width": width, "height": height}));
        assert!(body["captionResult"]["confidence"].as_f64().unwrap() <= 1.0);
        let caption = &body["captionResult"]["text"];
        assert!(caption.as_str().unwrap().starts_with("[rehearsal] a "));
        let dense = &body["denseCaptionsResult"]["values"];
        assert_eq!(dense[0]["text"], *caption);
        assert_eq!(
            dense[0]["boundingBox"],
            json!({"x": 0, "y": 0, "w": width, "h": height})
        );
        for name in ["denseCaptions", "objects", "people", "smartCrops"] {
            let values = body[format!("{name}Result")]["values"].as_array().unwrap();
            assert!(!values.is_empty(), "{name}");
            for value in values {
                assert_inside(&value["boundingBox"], width, height);
            }
        }
        assert_eq!(body["smartCropsResult"]["values"][1]["aspectRatio"], 1.33);
        let tags = body["tagsResult"]["values"].as_array().unwrap();
        let sure = |tag: &Value| tag["confidence"].as_f64().unwrap();
        assert!(tags.is_sorted_by(|one, other| sure(one) >= sure(other)));
        let lines = body["readResult"]["blocks"][0]["lines"].as_array().unwrap();
        for line in lines {
            assert_eq!(line["boundingPolygon"].as_array().unwrap().len(), 4);
            let words = line["words"].as_array().unwrap().iter();
            let words: Vec<_> = words.map(|word| word["text"].as_str().unwrap()).collect();
            assert_eq!(words.join(" "), line["text"]);
        }
        assert_eq!(lines[1]["text"], format!("{width} x {height} pixels"));
    }
}

#[tokio::test]
async fn only_what_is_asked_for_is_answered() {
    let service = Service::with(&[]).await;
    let body = analyze(&service, "features=read%2Ctags", png(60, 60))
        .await
        .json();
    let names: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["metadata", "modelVersion", "readResult", "tagsResult"]
    );
}

#[tokio::test]
async fn the_same_image_has_the_same_answer_and_neutral_captions_name_no_gender() {
    let service = Service::with(&[]).await;
    let captions = async |more: &str| {
        let mut captions = Vec::new();
        for side in 50..80 {
            let query = format!("features=caption{more}");
            let body = analyze(&service, &query, png(side, 60)).await.json();
            captions.push(body["captionResult"]["text"].as_str().unwrap().to_owned());
        }
        captions
    };
    let first = captions("").await;
    assert_eq!(first, captions("&language=en").await);
    let names_gender = |caption: &String| {
        let mut words = caption.split(' ');
        words.any(|word| ["man", "woman", "boy", "girl"].contains(&word))
    };
    assert!(first.iter().any(names_gender));
    let neutral = captions("&gender-neutral-caption=true").await;
    assert!(!neutral.iter().any(names_gender));
}

#[tokio::test]
async fn an_image_at_an_address_is_not_fetched() {
    let service = Service::with(&[]).await;
    let path = format!("{PATH}?api-version=2023-10-01&features=caption");
    let reply = service
        .post(&path, &json!({"url": "http://host.invalid/y.png"}))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.json()["metadata"]["width"], 1024);
    for body in [json!({"url": "y.png"}), json!({}), json!("x")] {
        let reply = service.post(&path, &body).await;
        assert_eq!(reply.status, 400);
        assert_eq!(
            reply.error()["message"],
            "Image URL is badly formatted or not accessible."
        );
    }
}

#[tokio::test]
async fn wrong_queries_are_refused_with_an_inner_error() {
    let service = Service::with(&[]).await;
    for (query, code) in [
        ("features=colours", "NotSupportedVisualFeature"),
        ("features=caption&language=de", "NotSupportedLanguage"),
        ("features=tags&language=tlh", "NotSupportedLanguage"),
        (
            "features=smartCrops&smartcrops-aspect-ratios=2",
            "BadArgument",
        ),
        (
            "features=caption&gender-neutral-caption=maybe",
            "BadArgument",
        ),
        ("features=caption&model-version=newest", "BadArgument"),
    ] {
        let error = refused(&service, query, png(60, 60)).await;
        assert_eq!(error["message"], "Analyze query is invalid.");
        assert_eq!(error["innererror"]["code"], code, "{query}");
    }
    let none = refused(&service, "features=", png(60, 60)).await;
    assert!(none.get("innererror").is_none());
    let german = analyze(&service, "features=tags&language=de", png(60, 60)).await;
    assert_eq!(german.status, 200);
    let dated = "features=tags&model-version=2023-02-01-preview";
    let dated = analyze(&service, dated, png(60, 60)).await.json();
    assert_eq!(dated["modelVersion"], "2023-02-01-preview");
}

#[tokio::test]
async fn images_beyond_the_limits_are_refused() {
    let service = Service::with(&[]).await;
    let query = "features=tags";
    let bytes = "The image size is not allowed to be zero or larger than 20971520 bytes.";
    let side = "The image dimension is not allowed to be smaller than 50 and larger than 16000.";
    let mut large = png(60, 60);
    large.resize(20_971_520, 0);
    assert_eq!(analyze(&service, query, large.clone()).await.status, 200);
    large.push(0);
    for (image, message, inner) in [
        (Vec::new(), bytes, None),
        (large, bytes, None),
        (png(49, 60), side, Some("InvalidImageSize")),
        (png(60, 16_001), side, Some("InvalidImageSize")),
        (
            b"%PDF-1.7".to_vec(),
            "Image format is not valid.",
            Some("InvalidImageFormat"),
        ),
        (
            b"GIF89a".to_vec(),
            "Image format is not valid.",
            Some("InvalidImageFormat"),
        ),
    ] {
        let error = refused(&service, query, image).await;
        assert_eq!(error["message"], message);
        assert_eq!(error["innererror"]["code"].as_str(), inner);
    }
}

#[tokio::test]
async fn the_content_type_must_be_of_an_image_or_json() {
    let service = Service::with(&[]).await;
    let url = format!("{PATH}?api-version=2023-10-01&features=tags");
    let send = async |content_type: &'static str| {
        let request = service
            .client
            .post(format!("{}{url}", service.simulator.base_url()));
        let request = request
            .header("content-type", content_type)
            .body(png(60, 60));
        Reply::of(request.send().await.unwrap()).await
    };
    assert_eq!(send("image/png").await.status, 200);
    let text = send("text/plain; charset=utf-8").await;
    assert_eq!(text.status, 400);
    assert_eq!(
        text.error()["message"],
        "The provided image content type text/plain is not supported."
    );
}

#[tokio::test]
async fn the_key_may_be_in_either_header() {
    let service = Service::start(SimulatorConfig {
        require_key: Some("right".to_owned()),
        ..SimulatorConfig::default()
    })
    .await;
    let request = || sending(&service, "features=tags", png(60, 60));
    for allowed in [
        request().header("ocp-apim-subscription-key", "right"),
        request().bearer_auth("right"),
    ] {
        assert_eq!(allowed.send().await.unwrap().status(), 200);
    }
    for denied in [
        request(),
        request().header("api-key", "right"),
        request().header("ocp-apim-subscription-key", "wrong"),
    ] {
        let reply = Reply::of(denied.send().await.unwrap()).await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.error()["code"], "401");
        assert_eq!(reply.header("x-ms-error-code"), "401");
    }
}

#[tokio::test]
async fn unknown_versions_and_paths_are_not_found() {
    let service = Service::with(&[]).await;
    for path in [
        format!("{PATH}?features=tags"),
        format!("{PATH}?api-version=2020-01-01&features=tags"),
        "/computervision/imageanalysis:segment?api-version=2023-10-01".to_owned(),
    ] {
        let reply = service.post(&path, &json!({"url": "http://x/y.png"})).await;
        assert_eq!(reply.status, 404);
        let error = json!({"code": "404", "message": "Resource not found"});
        assert_eq!(reply.error(), error);
    }
}

#[tokio::test]
async fn requests_are_limited_and_tokens_are_not() {
    let service = Service::start(SimulatorConfig {
        quotas: Quotas {
            requests_per_minute: Some(2),
            request_window: Duration::from_secs(60),
            tokens_per_minute: Some(1),
            ..Quotas::default()
        },
        ..SimulatorConfig::default()
    })
    .await;
    let send = || analyze(&service, "features=tags", png(60, 60));
    for _ in 0..2 {
        let reply = send().await;
        assert_eq!(reply.status, 200);
        assert!(!reply.headers.contains_key("x-ratelimit-limit-requests"));
    }
    let reply = send().await;
    assert_eq!(reply.status, 429);
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(!reply.headers.contains_key("retry-after-ms"));
    let error = reply.error();
    assert_eq!(error["code"], "429");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("Computer Vision API (2023-10-01) have exceeded call rate limit"));
}

#[tokio::test]
async fn latency_faults_and_quirks_strike_images_too() {
    let service = Service::start(SimulatorConfig {
        latency: Latency::Fixed(Duration::from_millis(60)),
        faults: Faults {
            error_503: 1.0,
            ..Faults::default()
        },
        ..SimulatorConfig::default()
    })
    .await;
    let send = || analyze(&service, "features=tags", png(60, 60));
    let reply = send().await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.error()["code"], "ServiceUnavailable");
    service
        .control(json!({"error_503": 0, "error_429": 1, "quirks": ["retry-after-24h"]}))
        .await;
    assert_eq!(send().await.header("retry-after"), "86400");
    service
        .control(json!({"error_429": 0, "malformed": 1, "quirks": []}))
        .await;
    let malformed = send().await;
    let took = malformed.header("x-envoy-upstream-service-time");
    assert!(took.parse::<u64>().unwrap() >= 60);
    assert!(serde_json::from_str::<Value>(&malformed.text).is_err());
    let stats = service.stats().await;
    assert_eq!((stats.paid, stats.malformed), (1, 1));

    let marked = Service::with(&[Quirk::Markers]).await;
    let image = [png(60, 60), b"tEXt SIM_ERROR".to_vec()].concat();
    let reply = analyze(&marked, "features=tags", image).await;
    assert_eq!(reply.status, 500);
    assert_eq!(reply.error()["code"], "InternalServerError");
}

#[tokio::test]
async fn images_paid_twice_are_counted() {
    let service = Service::with(&[]).await;
    for task in ["run/0", "run/1", "run/0"] {
        let request = sending(&service, "features=tags", png(60, 60));
        let request = request.header("x-filefleet-task", task);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    let vision = service.stats().await.kinds[&Kind::Vision];
    assert_eq!((vision.requests, vision.paid), (3, 3));
    assert_eq!((vision.distinct_tasks, vision.repeated), (2, 1));
}
