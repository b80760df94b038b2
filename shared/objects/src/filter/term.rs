//! One term of a filter, held against an object.

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage as _, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// A field, a test and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Where in the object.
    pub place: Place,
    /// What.
    pub test: Test,
    /// Against what.
    pub operand: Operand,
}

/// Where a value stands in an object: the fields on the way, and the last one.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A field with one value.
    Field(Vec<String>, String),
    /// A list.
    List(Vec<String>, String),
    /// A map from texts to texts.
    Map(Vec<String>, String),
    /// An entry of such a map.
    Entry(Vec<String>, String, String),
}

/// What is asked of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `:`: a text with this in it, a list with this element, a map with this key.
    Has,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A text.
    Text(String),
    /// A number, a time in microseconds, or the number of an enum's value.
    Number(i128),
    /// A flag.
    Flag(bool),
}

impl Term {
    /// Whether it holds of an object. What an object does not have is "", 0 or false; an entry that is not there equals
    /// nothing.
    pub fn holds(&self, object: &DynamicMessage) -> bool {
        match &self.place {
            Place::Field(way, last) => {
                at(object, way, last, |value| self.judge(value)).unwrap_or_else(|| self.of_nothing())
            }
            Place::List(way, last) => at(object, way, last, |value| {
                value.as_list().is_some_and(|items| items.iter().any(|item| self.equals(item)))
            })
            .unwrap_or(false),
            Place::Map(way, last) => {
                let Operand::Text(key) = &self.operand else { return false };
                let key = MapKey::String(key.clone());
                at(object, way, last, |value| value.as_map().is_some_and(|map| map.contains_key(&key)))
                    .unwrap_or(false)
            }
            Place::Entry(way, last, key) => {
                let key = MapKey::String(key.clone());
                let entry = at(object, way, last, |value| {
                    value.as_map().and_then(|map| map.get(&key)).map(|value| self.judge(value))
                });
                entry.flatten().unwrap_or(self.test == Test::IsNot)
            }
        }
    }

    fn judge(&self, value: &Value) -> bool {
        match self.test {
            Test::Is => self.equals(value),
            Test::IsNot => !self.equals(value),
            Test::Has => match (value, &self.operand) {
                (Value::String(text), Operand::Text(part)) => text.contains(part.as_str()),
                _ => false,
            },
            Test::Less => self.order(value).is_some_and(Ordering::is_lt),
            Test::AtMost => self.order(value).is_some_and(Ordering::is_le),
            Test::More => self.order(value).is_some_and(Ordering::is_gt),
            Test::AtLeast => self.order(value).is_some_and(Ordering::is_ge),
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match (value, &self.operand) {
            (Value::String(text), Operand::Text(other)) => text == other,
            (Value::Bool(flag), Operand::Flag(other)) => flag == other,
            _ => self.order(value).is_some_and(Ordering::is_eq),
        }
    }

    fn order(&self, value: &Value) -> Option<Ordering> {
        let Operand::Number(other) = &self.operand else { return None };
        Some(number(value)?.cmp(other))
    }

    /// A message on the way is not there: the field is as if nobody had set it.
    fn of_nothing(&self) -> bool {
        match &self.operand {
            Operand::Text(_) => self.judge(&Value::String(String::new())),
            Operand::Number(_) => self.judge(&Value::I64(0)),
            Operand::Flag(_) => self.judge(&Value::Bool(false)),
        }
    }
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::I32(number) | Value::EnumNumber(number) => Some((*number).into()),
        Value::I64(number) => Some((*number).into()),
        Value::U32(number) => Some((*number).into()),
        Value::U64(number) => Some((*number).into()),
        _ => None,
    }
}

/// What `look` says of the value at the end of the way; `None`: a message on the way is not there.
fn at<T>(object: &DynamicMessage, way: &[String], last: &str, look: impl FnOnce(&Value) -> T) -> Option<T> {
    let Some((next, rest)) = way.split_first() else {
        return object.get_field_by_name(last).map(|value| look(&value));
    };
    let field: FieldDescriptor = object.descriptor().get_field_by_name(next)?;
    if !object.has_field(&field) {
        return None;
    }
    let inner: Cow<'_, Value> = object.get_field(&field);
    at(inner.as_message()?, rest, last, look)
}
