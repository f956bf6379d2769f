//! What happens to one request: faults by chance, quirks for all, markers in its text.

use crate::{
    Quirk, SimulatorConfig,
    chance::{self, Fault},
};

/// How an answer deviates from a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) fault: Option<Fault>,
    pub(crate) content: Option<Content>,
    pub(crate) slow: bool,
}

/// What is wrong with the content of an answer that is a 200 (or with the prompt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The prompt is refused with 400.
    PromptFiltered,
    /// The answer is withheld.
    Filtered,
    Refused,
    Truncated,
    Empty,
    /// It is not the JSON that was asked for.
    Invalid,
    /// The same, until the model is told so.
    InvalidAtFirst,
}

const CONTENTS: [(Quirk, Content); 6] = [
    // Its marker begins with the other filter's, so it is looked for first.
    (Quirk::ContentFilter200, Content::Filtered),
    (Quirk::ContentFilter400, Content::PromptFiltered),
    (Quirk::Refusal, Content::Refused),
    (Quirk::Truncated, Content::Truncated),
    (Quirk::EmptyContent, Content::Empty),
    (Quirk::InvalidJson, Content::InvalidAtFirst),
];

/// Draws the chance of [`Content::Invalid`] apart from that of other parts.
const INVALID: u64 = u64::MAX;

impl Effects {
    /// Decides by the seed, the request's number and its text.
    pub(crate) fn of(config: &SimulatorConfig, number: u64, text: &str) -> Self {
        let mut effects = Self::asked_for(config, number, text);
        let share = config.faults.invalid_json;
        if effects.content.is_none() && chance::strikes(config.seed, number, INVALID, share) {
            effects.content = Some(Content::Invalid);
        }
        effects
    }

    fn asked_for(config: &SimulatorConfig, number: u64, text: &str) -> Self {
        let by_chance = chance::fault(config.seed, number, &config.faults);
        if !config.has(Quirk::Markers) {
            return Self {
                fault: by_chance,
                content: CONTENTS
                    .into_iter()
                    .find(|(quirk, _)| config.has(*quirk))
                    .map(|(_, content)| content),
                slow: config.has(Quirk::Slow),
            };
        }
        let has = |word: &str| text.contains(word);
        if !has("SIM_") {
            return Self {
                fault: by_chance,
                ..Self::default()
            };
        }
        let fault = [
            ("SIM_ERROR", Fault::Internal),
            ("SIM_RESET", Fault::Reset),
            ("SIM_MALFORMED", Fault::Malformed),
        ]
        .into_iter()
        .find(|(word, _)| has(word))
        .map(|(_, fault)| fault);
        let content = CONTENTS
            .into_iter()
            .find(|(quirk, _)| quirk.marker().is_some_and(has))
            .map(|(_, content)| match content {
                // The plain marker follows the quirk that is on beside the markers.
                Content::PromptFiltered if config.has(Quirk::ContentFilter200) => Content::Filtered,
                other => other,
            });
        Self {
            fault: fault.or(by_chance),
            content,
            slow: Quirk::Slow.marker().is_some_and(has),
        }
    }
}
