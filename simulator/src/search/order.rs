//! The order of results: `orderby`.

use std::cmp::Ordering;

use super::{definition::Definition, filter::compare, problems, score::Ranking, store::Index};
use crate::azure::Problem;

/// What to sort by, first things first.
#[derive(Debug)]
pub(super) struct Order(Vec<Clause>);

#[derive(Debug)]
struct Clause {
    /// A field, or the score.
    field: Option<String>,
    descending: bool,
}

impl Order {
    pub(super) fn parse(text: &str, definition: &Definition) -> Result<Self, Problem> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let clauses = parts.map(|part| {
            let mut words = part.split_whitespace();
            let name = words.next().unwrap_or_default();
            let descending = match words.next() {
                None | Some("asc") => false,
                Some("desc") => true,
                Some(word) => {
                    let message = format!("Syntax error at '{word}' in $orderby.");
                    return Err(problems::invalid_expression(&message));
                }
            };
            let field = (name != "search.score()").then(|| name.to_owned());
            if let Some(name) = &field
                && !definition.field(name).is_some_and(|field| field.sortable)
            {
                return Err(problems::invalid_expression(&format!(
                    "'{name}' is not a sortable field. Only sortable fields can be used in \
                     $orderby."
                )));
            }
            Ok(Clause { field, descending })
        });
        Ok(Self(clauses.collect::<Result<_, _>>()?))
    }

    /// Sorts a ranking; of equals the better score stays first.
    pub(super) fn sort(&self, ranking: &mut Ranking<'_>, index: &Index) {
        if self.0.is_empty() {
            return;
        }
        ranking.sort_by(|one, other| {
            let orders = self.0.iter().map(|clause| clause.order(one, other, index));
            orders.fold(Ordering::Equal, Ordering::then)
        });
    }
}

impl Clause {
    fn order(&self, one: &(&str, f64), other: &(&str, f64), index: &Index) -> Ordering {
        let order = match &self.field {
            None => one.1.total_cmp(&other.1),
            Some(name) => {
                let value = |key: &str| {
                    let fields = &index.documents.get(key)?.fields;
                    fields.get(name).filter(|value| !value.is_null())
                };
                match (value(one.0), value(other.0)) {
                    (Some(one), Some(other)) => compare(one, other).unwrap_or(Ordering::Equal),
                    // Nothing comes before everything.
                    (one, other) => one.is_some().cmp(&other.is_some()),
                }
            }
        };
        if self.descending {
            order.reverse()
        } else {
            order
        }
    }
}
