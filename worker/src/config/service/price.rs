//! `price` and `prices`: what the calls of a service cost.

use std::collections::BTreeMap;

use filefleet_shared::{
    config::Section,
    wire::{Cost, Usage},
};

/// What one unit of each kind costs. The currency is the user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// A thousand tokens of prompts.
    pub per_1k_input_tokens: Cost,
    /// A thousand tokens of prompts that the service had cached; as others if absent.
    pub per_1k_cached_tokens: Option<Cost>,
    /// A thousand tokens of answers.
    pub per_1k_output_tokens: Cost,
    /// A page of a document.
    pub per_page: Cost,
    /// A call.
    pub per_call: Cost,
}

/// Prices of a service: of its models, and of what is none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// Of every model without a price of its own; none if nobody says.
    pub others: Option<Price>,
    /// By model.
    pub models: BTreeMap<String, Price>,
}

impl Price {
    /// What a usage costs.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> Cost {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let cached_price = self
            .per_1k_cached_tokens
            .unwrap_or(self.per_1k_input_tokens);
        [
            times(self.per_1k_input_tokens, usage.input_tokens - cached, 1000),
            times(cached_price, cached, 1000),
            times(self.per_1k_output_tokens, usage.output_tokens, 1000),
            times(self.per_page, usage.pages, 1),
            times(self.per_call, usage.calls, 1),
        ]
        .into_iter()
        .fold(Cost::default(), Cost::plus)
    }
}

impl Prices {
    /// The price of a step that uses this model, or none; where nobody says, it costs nothing.
    #[must_use]
    pub fn of(&self, model: Option<&str>) -> Price {
        self.find(model).unwrap_or_default()
    }

    /// Whether somebody says what such a step costs.
    #[must_use]
    pub fn has(&self, model: Option<&str>) -> bool {
        self.find(model).is_some()
    }

    fn find(&self, model: Option<&str>) -> Option<Price> {
        let own = model.and_then(|model| self.models.get(model));
        own.copied().or(self.others)
    }
}

fn times(price: Cost, count: u64, per: u64) -> Cost {
    let billionths = u128::from(price.billionths()) * u128::from(count) / u128::from(per);
    Cost::from_billionths(u64::try_from(billionths).unwrap_or(u64::MAX))
}

pub(super) fn read_all(section: &mut Section<'_>) -> Prices {
    let others = section.opt_section("price").map(read);
    let mut models = BTreeMap::new();
    if let Some(mut tables) = section.opt_section("prices") {
        for model in tables.keys() {
            if let Some(mut table) = tables.opt_section(&model) {
                refuse_dots(&mut table, &model);
                models.insert(model, read(table));
            }
        }
        tables.finish();
    }
    Prices { others, models }
}

/// A table within a price is the rest of a model's name that has a dot.
fn refuse_dots(section: &mut Section<'_>, model: &str) {
    for rest in section.tables() {
        if section.opt_section(&rest).is_some() {
            let message = format!("a name with a dot is written in quotes: \"{model}.{rest}\"");
            section.error(&rest, message);
        }
    }
}

fn read(mut section: Section<'_>) -> Price {
    let mut amount = |key: &str| {
        let number = section.opt_number(key, 0.0..=1_000_000.0)?;
        let cost = Cost::from_number(number)?;
        if cost.is_zero() && number > 0.0 {
            section.error(key, "would count as 0: the least is 0.000000001");
        }
        Some(cost)
    };
    let price = Price {
        per_1k_input_tokens: amount("per_1k_input_tokens").unwrap_or_default(),
        per_1k_cached_tokens: amount("per_1k_cached_tokens"),
        per_1k_output_tokens: amount("per_1k_output_tokens").unwrap_or_default(),
        per_page: amount("per_page").unwrap_or_default(),
        per_call: amount("per_call").unwrap_or_default(),
    };
    section.finish();
    price
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_paid_for_and_cached_tokens_are_not_paid_twice() {
        let cost = |number: f64| Cost::from_number(number).unwrap();
        let price = Price {
            per_1k_input_tokens: cost(0.000_15),
            per_1k_cached_tokens: Some(cost(0.000_075)),
            per_1k_output_tokens: cost(0.000_6),
            per_page: cost(0.001_5),
            per_call: cost(0.01),
        };
        let usage = Usage {
            calls: 2,
            input_tokens: 3_000,
            cached_tokens: 1_000,
            output_tokens: 500,
            reasoning_tokens: 100,
            pages: 4,
            ..Usage::default()
        };
        let expected = 0.000_3 + 0.000_075 + 0.000_3 + 0.006 + 0.02;
        assert_eq!(price.of(&usage), cost(expected));
        assert_eq!(Price::default().of(&usage), Cost::default());
    }
}
