//! Reads serde types from a tree, so that raw texts become what the type
//! wants, no number loses a digit, and an error knows its place.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::secret::Secrets;
use crate::decode::{self, Scalar};
use crate::duration::Shown;
use crate::number::{Real, float};
use crate::tree::{self, Fault, Faults, Node, Place, Value};

pub(super) fn from_node<T: DeserializeOwned>(node: &Node, key: &str, secrets: &Secrets) -> Result<T, Fault> {
    let de = De { node, key: key.to_owned(), secrets };
    T::deserialize(&de).map_err(|error| {
        let error = de.locate(error);
        let (place, key) = error.at.unwrap_or_else(|| (node.place.clone(), key.to_owned()));
        Fault { place, key, message: error.message }
    })
}

/// A node while it is read.
struct De<'a> {
    node: &'a Node,
    key: String,
    secrets: &'a Secrets,
}

#[derive(Debug)]
struct DeError {
    message: String,
    at: Option<(Place, String)>,
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None }
    }

    // In the words of the other readers: what was found comes last, where it
    // can be left out.

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found {found}"))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found {found}"))
    }

    fn invalid_length(found: usize, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found a length of {found}"))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected one of {expected:?}, found {}", Shown(found)))
    }
}

impl<'a> De<'a> {
    fn below(&self, node: &'a Node, key: String) -> Self {
        De { node, key, secrets: self.secrets }
    }

    /// Gives an error the place where it arose; the innermost knows best.
    fn locate(&self, error: DeError) -> DeError {
        if error.at.is_some() {
            return error;
        }
        let message = if self.secrets.covers(&self.key) {
            "is not what is expected, and its value is secret".to_owned()
        } else {
            error.message
        };
        DeError { message, at: Some((self.node.place.clone(), self.key.clone())) }
    }

    fn scalar<T: Scalar>(&self) -> Result<T, DeError> {
        decode::value(self.node, &self.key).map_err(|faults: Faults| {
            let message = faults.iter().next().map(|fault| fault.message.clone()).unwrap_or_default();
            self.locate(DeError { message, at: None })
        })
    }

    fn integer<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DeError> {
        let result = match decode::value::<u64>(self.node, &self.key) {
            Ok(n) => visitor.visit_u64(n),
            Err(_) => visitor.visit_i64(self.scalar::<i64>()?),
        };
        result.map_err(|error| self.locate(error))
    }

    /// Of 128 bits.
    fn wide<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DeError> {
        let text = match &self.node.value {
            Value::Number(text) => text,
            Value::Raw(text) => text.trim(),
            _ => "",
        };
        let result = match (text.parse::<u64>(), text.parse::<u128>(), text.parse::<i128>()) {
            (Err(_), Ok(n), _) => visitor.visit_u128(n),
            (_, Err(_), Ok(n)) if i64::try_from(n).is_err() => visitor.visit_i128(n),
            _ => return self.integer(visitor),
        };
        result.map_err(|error| self.locate(error))
    }

    fn any<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Number(text) => any_number(text, visitor),
            Value::String(text) => visitor.visit_str(text),
            Value::Raw(text) => match text.trim() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                trimmed if serde_json::from_str::<serde_json::Number>(trimmed).is_ok() => {
                    any_number(trimmed, visitor)
                }
                _ => visitor.visit_str(text),
            },
            Value::Array(nodes) => {
                let mut seq = Seq { de: self, nodes: nodes.iter().enumerate() };
                let value = visitor.visit_seq(&mut seq)?;
                // What is left would be dropped, and nobody told.
                match (nodes.len(), seq.nodes.len()) {
                    (_, 0) => Ok(value),
                    (found, left) => {
                        let expected = format!("a list of {}", found - left);
                        Err(de::Error::invalid_length(found, &expected.as_str()))
                    }
                }
            }
            Value::Object(members) => {
                visitor.visit_map(Map { de: self, members: members.iter(), value: None })
            }
        }
    }
}

/// An integer stays one, or is refused: a float would lose digits.
fn any_number<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, DeError> {
    if let Ok(n) = text.parse::<u64>() {
        return visitor.visit_u64(n);
    }
    if let Ok(n) = text.parse::<i64>() {
        return visitor.visit_i64(n);
    }
    let is_integer = !text.contains(['.', 'e', 'E']);
    match float(text) {
        Some(n) if !is_integer => visitor.visit_f64(n),
        _ => Err(de::Error::custom(format!("expected a number of 64 bits, found {text}"))),
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            self.integer(visitor)
        })*
    };
}

macro_rules! texts {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            visitor.visit_string(self.scalar()?).map_err(|error| self.locate(error))
        })*
    };
}

impl<'de> de::Deserializer<'de> for &De<'_> {
    type Error = DeError;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    texts! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.any(visitor).map_err(|error| self.locate(error))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_bool(self.scalar()?).map_err(|error| self.locate(error))
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.wide(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.wide(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let n: f64 = self.scalar()?;
        if !(n as f32).is_finite() {
            let error = format!("expected a number of 32 bits, found {}", Real(n));
            return Err(self.locate(de::Error::custom(error)));
        }
        visitor.visit_f64(n).map_err(|error| self.locate(error))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_f64(self.scalar()?).map_err(|error| self.locate(error))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.node.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let written = self.node.as_written();
        self.below(&written, self.key.clone()).deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let written = self.node.as_written();
        let result = match &written.value {
            Value::String(text) | Value::Raw(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Object(members) if members.len() == 1 => match members.iter().next() {
                Some(member) => {
                    let node = self.below(&member.node, tree::join(&self.key, &member.key));
                    visitor.visit_enum(Variant { name: &member.key, de: node })
                }
                None => Err(de::Error::custom("expected one key")),
            },
            _ => Err(de::Error::custom("expected a string, or an object with one key")),
        };
        result.map_err(|error| self.locate(error))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct }
}

struct Seq<'a, 'b> {
    de: &'b De<'a>,
    nodes: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for &mut Seq<'_, '_> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DeError> {
        let Some((idx, node)) = self.nodes.next() else { return Ok(None) };
        let de = self.de.below(node, tree::join_idx(&self.de.key, idx));
        seed.deserialize(&de).map(Some).map_err(|error| de.locate(error))
    }
}

struct Map<'a, 'b> {
    de: &'b De<'a>,
    members: std::slice::Iter<'a, tree::Member>,
    value: Option<De<'a>>,
}

impl<'de> de::MapAccess<'de> for Map<'_, '_> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        let Some(member) = self.members.next() else { return Ok(None) };
        let key = tree::join(&self.de.key, &member.key);
        // A key is a text that may be a number.
        let name = Node::new(member.key_place.clone(), Value::Raw(member.key.clone()));
        let none = Secrets::default();
        let de = De { node: &name, key: self.de.key.clone(), secrets: &none };
        let read = seed.deserialize(&KeyDe(&de)).map(Some).map_err(|error| de.locate(error));
        self.value = Some(self.de.below(&member.node, key));
        read
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DeError> {
        let Some(de) = self.value.take() else { return Err(de::Error::custom("a value before its key")) };
        seed.deserialize(&de).map_err(|error| de.locate(error))
    }
}

/// A key: a text to whoever takes anything.
struct KeyDe<'a, 'b>(&'b De<'a>);

impl KeyDe<'_, '_> {
    fn integer<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, DeError> {
        self.0.integer(visitor)
    }
}

impl<'de> de::Deserializer<'de> for &KeyDe<'_, '_> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.0.deserialize_str(visitor)
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.0.wide(visitor)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.0.wide(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.0.deserialize_bool(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Variant<'a> {
    name: &'a str,
    de: De<'a>,
}

impl<'de, 'a> de::EnumAccess<'de> for Variant<'a> {
    type Error = DeError;
    type Variant = De<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, De<'a>), DeError> {
        let name = seed.deserialize(self.name.into_deserializer())?;
        Ok((name, self.de))
    }
}

impl<'de> de::VariantAccess<'de> for De<'_> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        if self.node.value == Value::Null {
            return Ok(());
        }
        Err(self.locate(de::Error::custom("expected null")))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DeError> {
        seed.deserialize(&self).map_err(|error| self.locate(error))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DeError> {
        de::Deserializer::deserialize_seq(&self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        de::Deserializer::deserialize_seq(&self, visitor)
    }
}
