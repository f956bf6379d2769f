use filefleet_worker::service::{Answer, CallError, Reply};
use serde_json::json;

use super::stand::{Stand, call, cause, message};

const SPEC: &str = include_str!("../specs/imageanalysis-2023-10-01.json");
/// The answer of the specification's own example.
const ANSWER: &str = include_str!("../specs/imageanalysis-2023-10-01-answer.json");

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0]);
    bytes
}

fn answered(reply: Result<Reply, CallError>) -> Answer {
    match reply {
        Ok(Reply::Answered(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_image_is_looked_at_as_the_specification_has_it() {
    let stand = Stand::new(SPEC, vec![(200, &[], ANSWER.to_owned())]).await;
    let action = "look = { features = [\"tags\", \"caption\", \"denseCaptions\", \"objects\", \"read\", \
                  \"smartCrops\", \"people\"], language = \"en\", gender_neutral_caption = true, \
                  smartcrops_aspect_ratios = [0.9, 1.33], model_version = \"latest\" }";
    let step = stand.step("vision", action);
    let answer = answered(call(&step, &message(&step, "image/png"), &png(864, 576)).await);
    let output = &answer.output;
    let caption = "a woman wearing a mask sitting at a table with a laptop";
    assert_eq!(output["caption"]["text"], caption);
    assert_eq!(output["captions"].as_array().unwrap().len(), 10);
    assert_eq!(output["objects"][0]["name"], "chair");
    assert_eq!(output["objects"][0]["box"], json!([603, 225, 152, 224]));
    assert_eq!(output["text"], "Sample text\nHand writing\n123 456");
    assert_eq!(output["crops"].as_array().unwrap().len(), 2);
    assert!(!output["people"].as_array().unwrap().is_empty());
    assert_eq!((answer.usage.calls, answer.usage.pages), (1, 0));
    let requests = stand.requests();
    assert_eq!(
        requests[0].target,
        "/computervision/imageanalysis:analyze?api-version=2023-10-01\
         &features=tags,caption,denseCaptions,objects,read,smartCrops,people&language=en\
         &gender-neutral-caption=true&smartcrops-aspect-ratios=0.9,1.33&model-version=latest"
    );
    assert_eq!(requests[0].body, png(864, 576));
}

#[tokio::test]
async fn what_the_service_would_refuse_is_refused_before_a_call() {
    let stand = Stand::new(SPEC, Vec::new()).await;
    let step = stand.step("vision", "look = { features = [\"tags\"] }");
    let image = message(&step, "image/png");
    assert_eq!(
        cause(call(&step, &image, &png(49, 600)).await),
        "image_dimensions"
    );
    assert_eq!(
        cause(call(&step, &image, &png(600, 16_001)).await),
        "image_dimensions"
    );
    assert_eq!(
        cause(call(&step, &image, b"a letter, not an image").await),
        "not_an_image"
    );
    let mut large = png(600, 600);
    large.resize(20_971_521, 0);
    assert_eq!(cause(call(&step, &image, &large).await), "image_too_large");
    assert_eq!(step.too_large, "image_too_large");
    assert!(stand.requests().is_empty());
}

#[tokio::test]
async fn refusals_of_an_image_are_named() {
    let size = r#"{"error":{"code":"InvalidRequest","message":"m","innererror":{"code":"InvalidImageSize","message":"why"}}}"#;
    let language = r#"{"error":{"code":"InvalidRequest","message":"m","innererror":{"code":"NotSupportedLanguage","message":"why"}}}"#;
    let stand = Stand::new(
        SPEC,
        vec![
            (
                400,
                &[("x-ms-error-code", "InvalidRequest")],
                size.to_owned(),
            ),
            (400, &[], language.to_owned()),
            (429, &[("retry-after", "1")], String::new()),
            (200, &[], "{}".to_owned()),
        ],
    )
    .await;
    let step = stand.step("vision", "look = { features = [\"caption\"] }");
    let image = message(&step, "image/png");
    assert_eq!(
        cause(call(&step, &image, &png(60, 60)).await),
        "image_too_large"
    );
    let unspoken = call(&step, &image, &png(60, 60)).await;
    assert!(
        matches!(unspoken, Err(CallError::Misconfigured(_))),
        "{unspoken:?}"
    );
    let limited = call(&step, &image, &png(60, 60)).await;
    assert!(
        matches!(limited, Err(CallError::RateLimited { .. })),
        "{limited:?}"
    );
    let garbled = call(&step, &image, &png(60, 60)).await;
    assert!(
        matches!(garbled, Err(CallError::Malformed(_))),
        "{garbled:?}"
    );
    assert_eq!(stand.requests().len(), 4);
}
