//! The OData filter expressions that clients use: comparisons, `and`, `or`, `not`,
//! `search.in(…)` and `collection/any(x: x eq …)`.

use std::cmp::Ordering;

use serde_json::Value;

use super::{definition::Definition, problems, store::Document};
use crate::azure::Problem;

/// A filter, checked against an index.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    Or(Vec<Filter>),
    And(Vec<Filter>),
    Not(Box<Filter>),
    /// Of a field, or of any value of a collection.
    Compare(String, Operator, Value),
    In(String, Vec<String>),
    /// A field of truth.
    Is(String),
    /// A collection that is not empty.
    Any(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
    Colon,
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    definition: &'a Definition,
    depth: usize,
}

/// Deeper than any filter of a client, and no danger to the stack.
const DEEPEST: usize = 100;

impl Filter {
    pub(super) fn parse(text: &str, definition: &Definition) -> Result<Self, Problem> {
        let mut parser = Parser {
            tokens: tokens(text)?.into_iter().peekable(),
            definition,
            depth: 0,
        };
        let filter = parser.or()?;
        match parser.tokens.next() {
            None => Ok(filter),
            Some(token) => Err(unexpected(&token)),
        }
    }

    pub(super) fn holds(&self, document: &Document) -> bool {
        let value = |name: &String| document.fields.get(name).unwrap_or(&Value::Null);
        match self {
            Self::Or(filters) => filters.iter().any(|filter| filter.holds(document)),
            Self::And(filters) => filters.iter().all(|filter| filter.holds(document)),
            Self::Not(filter) => !filter.holds(document),
            Self::Compare(name, operator, literal) => match value(name) {
                Value::Array(values) => values.iter().any(|value| operator.holds(value, literal)),
                value => operator.holds(value, literal),
            },
            Self::In(name, wanted) => {
                let is_wanted = |value: &Value| {
                    let text = value.as_str();
                    text.is_some_and(|text| wanted.iter().any(|wanted| wanted == text))
                };
                match value(name) {
                    Value::Array(values) => values.iter().any(is_wanted),
                    value => is_wanted(value),
                }
            }
            Self::Is(name) => *value(name) == Value::Bool(true),
            Self::Any(name) => value(name)
                .as_array()
                .is_some_and(|values| !values.is_empty()),
        }
    }
}

impl Operator {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "le" => Self::Le,
            _ => return None,
        })
    }

    fn holds(self, value: &Value, literal: &Value) -> bool {
        let order = compare(value, literal);
        match self {
            Self::Eq => order == Some(Ordering::Equal),
            Self::Ne => order != Some(Ordering::Equal),
            Self::Gt => order == Some(Ordering::Greater),
            Self::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::Lt => order == Some(Ordering::Less),
            Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

/// The order of two values of the same type.
pub(super) fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        _ => None,
    }
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Filter, Problem> {
        let mut filters = vec![self.and()?];
        while self.takes_word("or") {
            filters.push(self.and()?);
        }
        Ok(one_or(filters, Filter::Or))
    }

    fn and(&mut self) -> Result<Filter, Problem> {
        let mut filters = vec![self.not()?];
        while self.takes_word("and") {
            filters.push(self.not()?);
        }
        Ok(one_or(filters, Filter::And))
    }

    fn not(&mut self) -> Result<Filter, Problem> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(problems::invalid_expression("The filter is too deep."));
        }
        let filter = if self.takes_word("not") {
            Filter::Not(Box::new(self.not()?))
        } else if self.takes(&Token::Open) {
            let filter = self.or()?;
            self.expect(&Token::Close)?;
            filter
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn comparison(&mut self) -> Result<Filter, Problem> {
        let name = self.word()?;
        if name == "search.in" {
            return self.within();
        }
        if let Some(field) = name.strip_suffix("/any") {
            return self.any(field.to_owned());
        }
        self.check(&name)?;
        let next = self.tokens.peek();
        let operator = next.and_then(|token| match token {
            Token::Word(word) => Operator::named(word),
            _ => None,
        });
        let Some(operator) = operator else {
            return Ok(Filter::Is(name));
        };
        self.tokens.next();
        let literal = self.literal()?;
        let field = self.definition.field(&name);
        if field.is_some_and(|field| !field.takes(&literal)) {
            return Err(problems::invalid_expression(&format!(
                "A value of '{name}' cannot be compared with {literal}."
            )));
        }
        Ok(Filter::Compare(name, operator, literal))
    }

    /// `search.in(field, 'a,b')`, with the separators as a third argument.
    fn within(&mut self) -> Result<Filter, Problem> {
        self.expect(&Token::Open)?;
        let name = self.word()?;
        self.check(&name)?;
        self.expect(&Token::Comma)?;
        let list = self.text()?;
        let separators = if self.takes(&Token::Comma) {
            self.text()?
        } else {
            " ,".to_owned()
        };
        self.expect(&Token::Close)?;
        let wanted = list.split(|c| separators.contains(c));
        let wanted = wanted.filter(|value| !value.is_empty());
        Ok(Filter::In(name, wanted.map(str::to_owned).collect()))
    }

    /// `any()`, `any(x: x eq 'a')` or `any(x: search.in(x, 'a,b'))`.
    fn any(&mut self, field: String) -> Result<Filter, Problem> {
        self.check(&field)?;
        self.expect(&Token::Open)?;
        if self.takes(&Token::Close) {
            return Ok(Filter::Any(field));
        }
        let variable = self.word()?;
        self.expect(&Token::Colon)?;
        let filter = if self.takes_word("search.in") {
            self.expect(&Token::Open)?;
            let named = self.word()? == variable;
            self.expect(&Token::Comma)?;
            let list = self.text()?;
            self.expect(&Token::Close)?;
            let wanted = list.split([' ', ',']).filter(|value| !value.is_empty());
            let wanted = wanted.map(str::to_owned).collect();
            named.then_some(Filter::In(field, wanted))
        } else {
            let named = self.word()? == variable;
            let operator = Operator::named(&self.word()?);
            let literal = self.literal()?;
            let operator = operator.filter(|_| named);
            operator.map(|operator| Filter::Compare(field, operator, literal))
        };
        self.expect(&Token::Close)?;
        filter.ok_or_else(|| problems::invalid_expression("A comparison is expected in any()."))
    }

    fn check(&self, name: &str) -> Result<(), Problem> {
        match self.definition.field(name) {
            Some(field) if field.filterable => Ok(()),
            Some(_) => Err(problems::invalid_expression(&format!(
                "'{name}' is not a filterable field. Only filterable fields can be used in filter \
                 expressions."
            ))),
            None => Err(problems::invalid_expression(&format!(
                "Could not find a property named '{name}' on type 'search.document'."
            ))),
        }
    }

    fn literal(&mut self) -> Result<Value, Problem> {
        match self.tokens.next() {
            Some(Token::Text(text)) => Ok(Value::String(text)),
            Some(Token::Word(word)) => Ok(match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                // A date has no quotes.
                word => serde_json::from_str(word)
                    .ok()
                    .filter(Value::is_number)
                    .unwrap_or_else(|| Value::String(word.to_owned())),
            }),
            Some(token) => Err(unexpected(&token)),
            None => Err(ended()),
        }
    }

    fn word(&mut self) -> Result<String, Problem> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            Some(token) => Err(unexpected(&token)),
            None => Err(ended()),
        }
    }

    fn text(&mut self) -> Result<String, Problem> {
        match self.tokens.next() {
            Some(Token::Text(text)) => Ok(text),
            Some(token) => Err(unexpected(&token)),
            None => Err(ended()),
        }
    }

    fn takes(&mut self, token: &Token) -> bool {
        self.tokens.next_if_eq(token).is_some()
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word.to_owned()))
    }

    fn expect(&mut self, token: &Token) -> Result<(), Problem> {
        match self.tokens.next() {
            Some(found) if found == *token => Ok(()),
            Some(found) => Err(unexpected(&found)),
            None => Err(ended()),
        }
    }
}

fn one_or(mut filters: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match filters.pop() {
        Some(filter) if filters.is_empty() => filter,
        last => {
            filters.extend(last);
            many(filters)
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let single = match first {
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            ',' => Some(Token::Comma),
            ':' => Some(Token::Colon),
            _ => None,
        };
        if let Some(token) = single {
            tokens.push(token);
            rest = &rest[1..];
        } else if first == '\'' {
            let (text, after) = quoted(&rest[1..]).ok_or_else(|| {
                problems::invalid_expression("There is an unterminated string literal.")
            })?;
            tokens.push(Token::Text(text));
            rest = after;
        } else {
            // A colon is part of a date, and not of a name.
            let dated = first.is_ascii_digit();
            let end = rest
                .find(|c: char| c.is_whitespace() || "(),'".contains(c) || (c == ':' && !dated));
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// A text up to its closing quote; a quote in it is written twice.
fn quoted(mut rest: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        text += part;
        match after.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Some((text, after)),
        }
    }
}

fn unexpected(token: &Token) -> Problem {
    let token = match token {
        Token::Word(word) => word.clone(),
        Token::Text(text) => format!("'{text}'"),
        Token::Open => "(".to_owned(),
        Token::Close => ")".to_owned(),
        Token::Comma => ",".to_owned(),
        Token::Colon => ":".to_owned(),
    };
    problems::invalid_expression(&format!("Syntax error at '{token}'."))
}

fn ended() -> Problem {
    problems::invalid_expression("The filter ends too early.")
}

#[cfg(test)]
mod tests;
