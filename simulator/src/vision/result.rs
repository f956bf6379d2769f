//! The body of a 200: what was asked for of the analysis.

use serde_json::{Value, json};

use super::{options::Options, scene::Scene};
use crate::answer::LABEL;

/// A rectangle of pixels.
#[derive(Clone, Copy)]
struct Region {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

/// The analysis of an image of `size` pixels, the same for the same `luck`.
pub(super) fn analysis(options: &Options, size: (u32, u32), luck: u64) -> Value {
    let scene = Scene::new(luck);
    let (width, height) = size;
    let whole = Region {
        x: 0,
        y: 0,
        w: width,
        h: height,
    };
    let subject = whole.part(scene.share(1) * 0.5, 0.2, 0.45, 0.7);
    let thing = whole.part(scene.share(2) * 0.6, 0.6, 0.35, 0.3);
    let mut result = json!({
        "modelVersion": options.model_version,
        "metadata": {"width": width, "height": height},
    });
    let mut add = |asked: bool, name: &str, value: &dyn Fn() -> Value| {
        if asked {
            result[name] = value();
        }
    };
    let asked = &options.features;
    let neutral = options.gender_neutral;
    add(asked.caption, "captionResult", &|| caption(&scene, neutral));
    add(asked.dense_captions, "denseCaptionsResult", &|| {
        dense_captions(&scene, neutral, [whole, subject, thing])
    });
    add(asked.tags, "tagsResult", &|| tags(&scene));
    add(asked.objects, "objectsResult", &|| {
        objects(&scene, subject, thing)
    });
    add(asked.read, "readResult", &|| read(whole, luck));
    add(asked.smart_crops, "smartCropsResult", &|| {
        crops(whole, &options.ratios)
    });
    add(asked.people, "peopleResult", &|| people(&scene, subject));
    result
}

fn caption(scene: &Scene, neutral: bool) -> Value {
    let subject = scene.subject(neutral);
    json!({
        "text": format!("{LABEL} a {subject} {}", scene.place),
        "confidence": 0.7 + 0.2 * scene.share(3),
    })
}

/// The first is of the whole image.
fn dense_captions(scene: &Scene, neutral: bool, [whole, subject, thing]: [Region; 3]) -> Value {
    let with = |mut caption: Value, at: Region| {
        caption["boundingBox"] = at.json();
        caption
    };
    let near = |what: &str, salt| {
        json!({
            "text": format!("{LABEL} a close-up of a {what}"),
            "confidence": 0.6 + 0.25 * scene.share(salt),
        })
    };
    json!({"values": [
        with(caption(scene, neutral), whole),
        with(near(scene.subject(neutral), 4), subject),
        with(near(scene.things[0], 5), thing),
    ]})
}

/// The surest first.
fn tags(scene: &Scene) -> Value {
    let mut names = vec![scene.subject.class];
    names.extend(scene.things);
    names.push(scene.subject.name);
    let mut confidence = 0.99;
    let values: Vec<_> = (6..)
        .zip(names)
        .map(|(salt, name)| {
            confidence -= 0.01 + 0.08 * scene.share(salt);
            json!({"name": name, "confidence": confidence})
        })
        .collect();
    json!({"values": values})
}

fn objects(scene: &Scene, subject: Region, thing: Region) -> Value {
    let object = |name: &str, at: Region, salt| {
        json!({
            "boundingBox": at.json(),
            "tags": [{"name": name, "confidence": 0.5 + 0.4 * scene.share(salt)}],
        })
    };
    json!({"values": [
        object(scene.subject.class, subject, 11),
        object(scene.things[0], thing, 12),
    ]})
}

/// The service returns people that it is nearly sure not to have seen, too.
fn people(scene: &Scene, subject: Region) -> Value {
    let seen =
        |at: Region, confidence: f64| json!({"boundingBox": at.json(), "confidence": confidence});
    let mut values = Vec::new();
    if scene.subject.is_person {
        values.push(seen(subject, 0.8 + 0.15 * scene.share(13)));
    }
    values.push(seen(subject.part(0.4, 0.1, 0.2, 0.3), 0.002));
    json!({"values": values})
}

/// One block of lines below each other, each word as wide as it has letters.
fn read(whole: Region, luck: u64) -> Value {
    let texts = [
        LABEL.to_owned(),
        format!("{} x {} pixels", whole.w, whole.h),
        format!("No. {:08x}", luck >> 32),
    ];
    let tall = (whole.h / 12).max(2);
    let lines: Vec<_> = (1..)
        .zip(&texts)
        .map(|(row, text)| line(text, whole, row * (tall + tall / 2), tall))
        .collect();
    json!({"blocks": [{"lines": lines}]})
}

fn line(text: &str, whole: Region, y: u32, tall: u32) -> Value {
    let letter = (whole.w / 40).max(1);
    let at = |start: usize, letters: usize| {
        let pixels = |count: usize| u32::try_from(count).unwrap_or(u32::MAX) * letter;
        let x = letter + pixels(start);
        Region {
            x,
            y,
            w: pixels(letters),
            h: tall,
        }
        .corners()
    };
    let mut start = 0;
    let words: Vec<_> = text
        .split(' ')
        .map(|word| {
            let polygon = at(start, word.len());
            start += word.len() + 1;
            json!({"text": word, "boundingPolygon": polygon, "confidence": 0.99})
        })
        .collect();
    json!({"text": text, "boundingPolygon": at(0, text.len()), "words": words})
}

/// As large as fits, in the middle; one of the image's own shape if none is asked for.
fn crops(whole: Region, ratios: &[f64]) -> Value {
    let (width, height) = (f64::from(whole.w), f64::from(whole.h));
    let own = [((width / height).clamp(0.5, 2.0) * 100.0).round() / 100.0];
    let ratios = if ratios.is_empty() { &own } else { ratios };
    let crop = |ratio: &f64| {
        let (w, h) = ((height * ratio).min(width), (width / ratio).min(height));
        let (w, h) = (w / width, h / height);
        let at = whole.part((1.0 - w) / 2.0, (1.0 - h) / 2.0, w, h);
        json!({"aspectRatio": ratio, "boundingBox": at.json()})
    };
    json!({"values": ratios.iter().map(crop).collect::<Vec<_>>()})
}

impl Region {
    /// A part of it, in shares of its own width and height.
    fn part(self, x: f64, y: f64, w: f64, h: f64) -> Self {
        let (x, w) = (share(x, self.w), share(w, self.w));
        let (y, h) = (share(y, self.h), share(h, self.h));
        Self {
            x: self.x + x,
            y: self.y + y,
            w: w.clamp(1, (self.w - x).max(1)),
            h: h.clamp(1, (self.h - y).max(1)),
        }
    }

    fn json(self) -> Value {
        json!({"x": self.x, "y": self.y, "w": self.w, "h": self.h})
    }

    fn corners(self) -> Value {
        let (right, bottom) = (self.x + self.w, self.y + self.h);
        json!([
            {"x": self.x, "y": self.y},
            {"x": right, "y": self.y},
            {"x": right, "y": bottom},
            {"x": self.x, "y": bottom},
        ])
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of pixels is no more than the pixels"
)]
fn share(share: f64, of: u32) -> u32 {
    (share.clamp(0.0, 1.0) * f64::from(of)) as u32
}
