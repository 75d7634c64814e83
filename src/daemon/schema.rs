//! What a descriptor may hold, as a JSON Schema for editors: from the same
//! descriptions that people read.

use loopkeeper::Result;
use loopkeeper::decode::{FieldInfo, Presence};
use loopkeeper::host::deploy::{Registry, TypeInfo};
use serde_json::{Map, Value, json};

/// The schema of a descriptor of any type, or of one.
pub(crate) fn text(registry: &Registry, name: Option<&str>) -> Result<String> {
    let names = match name {
        Some(name) => vec![name],
        None => registry.names().collect(),
    };
    let types: Result<Vec<TypeInfo>> = names.into_iter().map(|name| registry.describe(name)).collect();
    let schema = schema(&types?);
    Ok(serde_json::to_string_pretty(&schema).unwrap_or_default())
}

fn schema(types: &[TypeInfo]) -> Value {
    let names: Vec<&str> = types.iter().map(|info| info.name.as_str()).collect();
    let one = |info: &TypeInfo| {
        json!({
            "title": info.name, "description": info.summary,
            "properties": {"type": {"const": info.name}, "config": config(&info.fields)},
        })
    };
    let requirement = json!({
        "type": "object", "required": ["name"], "additionalProperties": false,
        "properties": {
            "name": {"$ref": "#/$defs/name"},
            "on_down": {"enum": ["keep", "stop"], "default": "keep",
                        "description": "What to do when it is ready no longer."},
            "timeout": {"$ref": "#/$defs/duration", "description": "How long to wait for it; for ever when absent."},
        },
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A component of loopkeeper",
        "type": "object",
        "required": ["name", "type", "config"],
        "additionalProperties": false,
        "properties": {
            "name": {"$ref": "#/$defs/name", "description": "Its name, which no other has."},
            "type": {"enum": names, "description": "What it is."},
            "enabled": {"type": "boolean", "default": true, "description": "Whether it should run."},
            "requires": {
                "type": "array", "default": [], "description": "What must be ready before it starts.",
                "items": {"anyOf": [{"$ref": "#/$defs/name"}, requirement]},
            },
            "config": {"type": "object", "description": "Its settings."},
        },
        "oneOf": types.iter().map(one).collect::<Vec<_>>(),
        "$defs": {
            "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
            "duration": {
                "description": "Text such as \"250ms\" or \"1h30m\", or a number of seconds.",
                "anyOf": [
                    {"type": "string", "pattern": "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)|^0$"},
                    {"type": "number", "minimum": 0},
                ],
            },
            "size": {
                "description": "Text such as \"1GiB\" or \"10%\", or a number of bytes.",
                "anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}],
            },
        },
    })
}

/// One object and what is below it.
#[derive(Default)]
struct Shape<'f> {
    info: Option<&'f FieldInfo>,
    /// In the order in which they are read.
    below: Vec<(&'f str, Shape<'f>)>,
}

impl<'f> Shape<'f> {
    /// Finds what stands at a path, or makes a place for it.
    fn at(&mut self, path: &'f str) -> &mut Self {
        path.split('.').fold(self, |shape, key| {
            // The items of a list are described below it.
            let key = key.trim_end_matches("[]");
            let idx = shape.below.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                shape.below.push((key, Shape::default()));
                shape.below.len() - 1
            });
            &mut shape.below[idx].1
        })
    }

    fn object(&self) -> Map<String, Value> {
        let properties: Map<String, Value> =
            self.below.iter().map(|(key, shape)| ((*key).to_owned(), shape.schema())).collect();
        let is_required =
            |shape: &Shape<'_>| shape.info.is_some_and(|info| info.presence == Presence::Required);
        let required: Vec<&str> =
            self.below.iter().filter(|(_, shape)| is_required(shape)).map(|(key, _)| *key).collect();
        let mut object = Map::new();
        object.insert("type".to_owned(), "object".into());
        if !self.below.is_empty() {
            object.insert("properties".to_owned(), properties.into());
            object.insert("additionalProperties".to_owned(), false.into());
        }
        if !required.is_empty() {
            object.insert("required".to_owned(), required.into());
        }
        object
    }

    fn schema(&self) -> Value {
        let Some(info) = self.info else { return self.object().into() };
        let mut schema = self.kind(&info.kind);
        let mut description = info.doc.to_owned();
        if !description.is_empty() {
            description.push(' ');
        }
        description.push_str(&format!("({})", info.kind));
        schema.insert("description".to_owned(), description.into());
        if let Presence::Default(Some(default)) = &info.presence {
            if let Ok(default) = serde_json::from_str::<Value>(default) {
                schema.insert("default".to_owned(), default);
            }
        }
        schema.into()
    }

    /// What the words for a kind say, as far as a schema can. What it does not
    /// know it allows.
    fn kind(&self, kind: &str) -> Map<String, Value> {
        let of = |value: Value| value.as_object().cloned().unwrap_or_default();
        if kind.starts_with("a string") || kind.starts_with("a JSON pointer") {
            return of(json!({"type": "string"}));
        }
        if kind.starts_with("true or false") {
            return of(json!({"type": "boolean"}));
        }
        if kind.starts_with("a duration") {
            return of(json!({"$ref": "#/$defs/duration"}));
        }
        if kind.starts_with("a size") {
            return of(json!({"$ref": "#/$defs/size"}));
        }
        if kind.starts_with("a whole number") || kind.starts_with("a number") {
            return number(kind);
        }
        if kind.starts_with("an object of strings") {
            return of(json!({"type": "object", "additionalProperties": {"type": "string"}}));
        }
        if kind.starts_with("an object with exactly one of") {
            let mut object = self.object();
            object.insert("minProperties".to_owned(), 1.into());
            object.insert("maxProperties".to_owned(), 1.into());
            return object;
        }
        match kind {
            "an object" => self.object(),
            "a list of strings" => of(json!({"type": "array", "items": {"type": "string"}})),
            "a list of objects" => of(json!({"type": "array", "items": self.object()})),
            "a list of strings or objects" => {
                of(json!({"type": "array", "items": {"anyOf": [{"type": "string"}, self.object()]}}))
            }
            _ => match words(kind) {
                Some(words) => of(json!({"enum": words})),
                None => Map::new(),
            },
        }
    }
}

fn config(fields: &[FieldInfo]) -> Value {
    let mut shape = Shape::default();
    for field in fields {
        shape.at(&field.path).info = Some(field);
    }
    shape.object().into()
}

/// The bounds of `a whole number from 0 to 9, at least 1, at most 5`.
fn number(kind: &str) -> Map<String, Value> {
    let mut schema = Map::new();
    let whole = kind.starts_with("a whole number");
    schema.insert("type".to_owned(), if whole { "integer" } else { "number" }.into());
    for (key, words) in [("minimum", [" from ", "at least "]), ("maximum", [" to ", "at most "])] {
        // The last of them is the narrower one.
        for word in words {
            let Some((_, rest)) = kind.split_once(word) else { continue };
            let end = rest.find([',', ' ', ';']).unwrap_or(rest.len());
            if let Ok(bound @ Value::Number(_)) = serde_json::from_str(&rest[..end]) {
                schema.insert(key.to_owned(), bound);
            }
        }
    }
    schema
}

/// The words of `"a", "b" or "c"`, when there is nothing else in it.
fn words(kind: &str) -> Option<Vec<String>> {
    let parts: Vec<&str> = kind.split(", ").flat_map(|part| part.split(" or ")).collect();
    let unquoted = |part: &str| Some(part.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    parts.into_iter().map(unquoted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopkeeper::shipped;

    #[test]
    fn kinds_in_words_become_schemas() {
        let shape = Shape::default();
        for (kind, expected) in [
            ("a string", json!({"type": "string"})),
            ("a duration such as \"30s\", at least 1s", json!({"$ref": "#/$defs/duration"})),
            ("a number, at least 0, at most 1", json!({"type": "number", "minimum": 0, "maximum": 1})),
            (
                "a whole number from 0 to 4294967295, at least 1, at most 20",
                json!({"type": "integer", "minimum": 1, "maximum": 20}),
            ),
            ("\"1m\", \"5m\" or \"15m\"", json!({"enum": ["1m", "5m", "15m"]})),
            ("\"latest\" or an object with \"best\"", json!({})),
            ("a status, a range such as \"200-299\", or a list of these", json!({})),
        ] {
            assert_eq!(Value::Object(shape.kind(kind)), expected, "{kind}");
        }
    }

    #[test]
    fn a_type_is_a_branch_with_all_its_settings() {
        let schema: Value =
            serde_json::from_str(&text(&shipped::registry(), Some("watcher")).unwrap()).unwrap();
        let watcher = &schema["oneOf"][0];
        assert_eq!(watcher["properties"]["type"]["const"], "watcher");
        let config = &watcher["properties"]["config"];
        assert_eq!(config["required"], json!(["probe"]));
        assert_eq!(config["properties"]["probe"]["maxProperties"], 1);
        assert_eq!(config["properties"]["probe"]["properties"]["tcp"]["required"], json!(["address"]));
        assert_eq!(config["properties"]["backoff"]["properties"]["max_delay"]["default"], "1m0s");
        let unknown = text(&shipped::registry(), Some("wacher")).unwrap_err();
        assert_eq!(unknown.to_string(), "unknown type \"wacher\", did you mean \"watcher\"?");
        let all: Value = serde_json::from_str(&text(&shipped::registry(), None).unwrap()).unwrap();
        assert_eq!(all["oneOf"].as_array().unwrap().len(), shipped::registry().names().count());
    }
}
