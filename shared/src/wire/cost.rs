//! Money, exact in sums: billionths of a unit of whatever currency prices are in.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Billionths in one.
const ONE: f64 = 1e9;
/// The most there is; up to a million is written exactly.
const MOST: u64 = 9_000_000_000_000_000;

/// What calls have cost, in the currency that prices are configured in. As JSON, a number of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    billionths: u64,
}

impl Cost {
    /// So many billionths of one, at most nine million of those.
    #[must_use]
    pub const fn from_billionths(billionths: u64) -> Self {
        Self { billionths }
    }

    /// In billionths of one.
    #[must_use]
    pub fn billionths(self) -> u64 {
        self.billionths
    }

    /// The nearest amount; none if it is negative, not a number or over nine million.
    #[must_use]
    pub fn from_number(number: f64) -> Option<Self> {
        let billionths = (number * ONE).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the range is checked"
        )]
        (0.0..=MOST as f64).contains(&billionths).then_some(Self {
            billionths: billionths as u64,
        })
    }

    /// As a number, for people and JSON.
    #[must_use]
    pub fn as_number(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53 up to nine million")]
        let billionths = self.billionths as f64;
        billionths / ONE
    }

    /// It cost nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.billionths == 0
    }

    /// The sum, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            billionths: self.billionths.saturating_add(other.billionths).min(MOST),
        }
    }
}

/// Not an amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an amount like 25 or 0.50")]
pub struct NotACost;

impl FromStr for Cost {
    type Err = NotACost;

    fn from_str(text: &str) -> Result<Self, NotACost> {
        let number: f64 = text.trim().parse().map_err(|_| NotACost)?;
        Self::from_number(number).ok_or(NotACost)
    }
}

impl fmt::Display for Cost {
    /// With as many places as small amounts need, two at least.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = match self.billionths {
            0 => 2,
            1..10_000_000 => 6,
            10_000_000..1_000_000_000 => 4,
            _ => 2,
        };
        write!(f, "{:.places$}", self.as_number())
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_number())
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Self::from_number(number)
            .ok_or_else(|| serde::de::Error::custom("a cost is from 0 to nine million"))
    }
}

impl JsonSchema for Cost {
    fn schema_name() -> Cow<'static, str> {
        "Cost".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "In the currency that prices are configured in.",
            "type": "number",
            "minimum": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn amounts_survive_json_exactly(billionths in 0u64..1_000_000_000_000_000) {
            let cost = Cost::from_billionths(billionths);
            let json = serde_json::to_string(&cost).unwrap();
            prop_assert_eq!(serde_json::from_str::<Cost>(&json).unwrap(), cost);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["-1", "", "nan", "inf", "1e20", "$5"] {
            assert_eq!(text.parse::<Cost>(), Err(NotACost), "{text}");
        }
        assert_eq!("25.50".parse(), Ok(Cost::from_billionths(25_500_000_000)));
    }

    #[test]
    fn small_amounts_keep_their_digits() {
        let show = |billionths| Cost::from_billionths(billionths).to_string();
        assert_eq!(show(0), "0.00");
        assert_eq!(show(150_000), "0.000150");
        assert_eq!(show(123_456_789), "0.1235");
        assert_eq!(show(25_000_000_000), "25.00");
    }
}
