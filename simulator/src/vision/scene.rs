//! What is made up for an image.

use crate::chance::{mix, pick, unit};

/// Who or what is seen, and in gender-neutral words.
const SUBJECTS: [Subject; 8] = [
    Subject::person("woman", "person"),
    Subject::person("man", "person"),
    Subject::person("girl", "child"),
    Subject::person("boy", "child"),
    Subject::thing("dog", "animal"),
    Subject::thing("bicycle", "vehicle"),
    Subject::thing("laptop", "computer"),
    Subject::thing("stack of papers", "document"),
];

const PLACES: [(&str, [&str; 3]); 6] = [
    ("at a desk in an office", ["desk", "indoor", "office"]),
    ("in front of a brick wall", ["wall", "brick", "building"]),
    ("on a street with parked cars", ["street", "car", "outdoor"]),
    ("in a garden with trees", ["tree", "grass", "outdoor"]),
    ("next to a kitchen table", ["table", "kitchen", "indoor"]),
    ("in a room with a window", ["window", "room", "indoor"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) neutral: &'static str,
    /// What it is a kind of, for tags.
    pub(super) class: &'static str,
    pub(super) is_person: bool,
}

impl Subject {
    const fn person(name: &'static str, neutral: &'static str) -> Self {
        Self {
            name,
            neutral,
            class: "person",
            is_person: true,
        }
    }

    const fn thing(name: &'static str, class: &'static str) -> Self {
        Self {
            name,
            neutral: name,
            class,
            is_person: false,
        }
    }
}

/// A picture that nobody took, decided by the bytes of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) subject: Subject,
    pub(super) place: &'static str,
    pub(super) things: [&'static str; 3],
    luck: u64,
}

impl Scene {
    pub(super) fn new(luck: u64) -> Self {
        let (place, things) = PLACES[pick(mix(luck), PLACES.len())];
        Self {
            subject: SUBJECTS[pick(luck, SUBJECTS.len())],
            place,
            things,
            luck,
        }
    }

    pub(super) fn subject(&self, gender_neutral: bool) -> &'static str {
        if gender_neutral {
            self.subject.neutral
        } else {
            self.subject.name
        }
    }

    /// A share from 0 to below 1, its own for each `salt`.
    pub(super) fn share(&self, salt: u64) -> f64 {
        unit(mix(self.luck ^ mix(salt)))
    }
}
