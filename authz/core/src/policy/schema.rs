//! The JSON Schema of the policy document, and the check of a tree against it.
//!
//! schemars makes the schema from the document's own types, so editor completion, documentation and this check cannot
//! drift apart. The check reports everything that is wrong, each with its place.

use serde_json::{Map, Value as Json};

use super::{
    diagnostic::{Findings, Position, did_you_mean},
    document::PolicyDocument,
    yaml::{Node, Value},
};

/// The JSON Schema (draft 2020-12) of a policy document.
pub fn json_schema() -> Json {
    let mut schema = schemars::schema_for!(PolicyDocument).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$id".into(), "urn:docsgate:schema:policy:v1".into());
        object.insert("title".into(), "docsgate policy".into());
    }
    schema
}

/// Reports every place in which `node` does not have the form that `schema` describes.
pub(crate) fn check(schema: &Json, node: &Node, name: &str, findings: &mut Findings<'_>) {
    let empty = Map::new();
    let definitions = schema.get("$defs").and_then(Json::as_object).unwrap_or(&empty);
    Checker { definitions, findings }.check(schema, node, name);
}

struct Checker<'s, 'f, 't> {
    definitions: &'s Map<String, Json>,
    findings: &'f mut Findings<'t>,
}

impl<'s> Checker<'s, '_, '_> {
    fn check(&mut self, schema: &'s Json, node: &Node, name: &str) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array) {
            return self.check_choice(choices, node, name);
        }
        if let Some(allowed) = schema.get("enum").and_then(Json::as_array) {
            return self.check_words(&allowed.iter().filter_map(Json::as_str).collect::<Vec<_>>(), node, name);
        }
        if let Some(word) = schema.get("const").and_then(Json::as_str) {
            return self.check_words(&[word], node, name);
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|kind| has_type(&node.value, kind)) {
            let expected: Vec<&str> = types.iter().filter(|kind| **kind != "null").map(|kind| in_words(kind)).collect();
            let quote =
                matches!(node.value, Value::Integer(_) | Value::Float(_) | Value::Bool(_)) && types.contains(&"string");
            let help = quote.then(|| "put it into quotation marks".to_owned());
            let message = format!("{name} is {}; expected {}", node.value.kind(), expected.join(" or "));
            return self.findings.error(node.at, message, help);
        }
        match &node.value {
            Value::Map(entries) => self.check_map(schema, entries, (node.at, name)),
            Value::List(items) => {
                if let Some(schema) = schema.get("items") {
                    for item in items {
                        self.check(schema, item, &format!("an item of {name}"));
                    }
                }
            }
            Value::Integer(number) => {
                let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
                let widest = match schema.get("format").and_then(Json::as_str) {
                    Some("uint8") => f64::from(u8::MAX),
                    _ => f64::from(u32::MAX),
                };
                #[expect(clippy::cast_precision_loss, reason = "bounds of integers in policies are far below 2^52")]
                let value = *number as f64;
                let (least, most) = (bound("minimum").unwrap_or(0.0), bound("maximum").unwrap_or(widest));
                if value < least || value > most {
                    let expected = format!("expected a number from {least} to {most}");
                    self.findings.error(node.at, format!("{name} is {number}; {expected}"), None);
                }
            }
            _ => {}
        }
    }

    /// The fields of a map, which stands at this position under this name.
    fn check_map(&mut self, schema: &'s Json, entries: &[(String, Position, Node)], (at, name): (Position, &str)) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let additional = schema.get("additionalProperties");
        for (key, key_at, value) in entries {
            if let Some(property) = properties.and_then(|properties| properties.get(key)) {
                self.check(property, value, &format!("`{key}`"));
            } else if let Some(schema) = additional.filter(|schema| schema.is_object() || **schema == Json::Bool(true))
            {
                self.check(schema, value, &format!("`{key}`"));
            } else {
                let mut known: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                known.sort_unstable();
                let help = did_you_mean(key, known.iter().copied())
                    .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                self.findings.error(*key_at, format!("unknown field `{key}` in {name}"), Some(help));
            }
        }
        let required = schema.get("required").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        for missing in
            required.iter().filter_map(Json::as_str).filter(|key| !entries.iter().any(|(name, _, _)| name == key))
        {
            self.findings.error(at, format!("{name} lacks the field `{missing}`"), None);
        }
    }

    /// One of several forms: the one whose type fits says what is wrong.
    fn check_choice(&mut self, choices: &'s [Json], node: &Node, name: &str) {
        let words: Vec<&str> = choices
            .iter()
            .map(|choice| self.resolve(choice))
            .flat_map(|choice| {
                let listed = choice.get("enum").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
                listed.chain(choice.get("const").and_then(Json::as_str))
            })
            .collect();
        if !words.is_empty() && !matches!(node.value, Value::Map(_) | Value::List(_)) {
            if matches!(node.value, Value::Null)
                && choices.iter().any(|choice| types(self.resolve(choice)).contains(&"null"))
            {
                return;
            }
            return self.check_words(&words, node, name);
        }
        let fitting: Vec<&Json> = choices.iter().filter(|choice| self.may_have_type(choice, node)).collect();
        let has_own_key =
            |choice: &&&Json| match (&node.value, self.resolve(choice).get("properties").and_then(Json::as_object)) {
                (Value::Map(entries), Some(properties)) => {
                    entries.iter().any(|(key, _, _)| properties.contains_key(key))
                }
                _ => false,
            };
        match fitting.iter().find(has_own_key).or_else(|| fitting.first()) {
            Some(choice) => self.check(choice, node, name),
            None => {
                let expected: Vec<&str> = choices
                    .iter()
                    .flat_map(|choice| types(self.resolve(choice)))
                    .filter(|kind| *kind != "null")
                    .map(in_words)
                    .collect();
                let message = format!("{name} is {}; expected {}", node.value.kind(), expected.join(" or "));
                self.findings.error(node.at, message, None);
            }
        }
    }

    /// Whether the value is of a type that the schema, or one of its forms, takes.
    fn may_have_type(&self, schema: &'s Json, node: &Node) -> bool {
        let schema = self.resolve(schema);
        let forms = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array);
        types(schema).iter().any(|kind| has_type(&node.value, kind))
            || forms.is_some_and(|forms| forms.iter().any(|form| self.may_have_type(form, node)))
    }

    fn check_words(&mut self, allowed: &[&str], node: &Node, name: &str) {
        let expected = allowed.join("`, `");
        match &node.value {
            Value::String(word) if allowed.contains(&word.as_str()) => {}
            Value::String(word) => {
                let help = did_you_mean(word, allowed.iter().copied());
                self.findings.error(node.at, format!("{name} is `{word}`; expected one of `{expected}`"), help);
            }
            other => {
                self.findings.error(node.at, format!("{name} is {}; expected one of `{expected}`", other.kind()), None);
            }
        }
    }

    fn resolve(&self, schema: &'s Json) -> &'s Json {
        let name = schema.get("$ref").and_then(Json::as_str).and_then(|reference| reference.strip_prefix("#/$defs/"));
        name.and_then(|name| self.definitions.get(name)).unwrap_or(schema)
    }
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(value: &Value, kind: &str) -> bool {
    matches!(
        (value, kind),
        (Value::Null, "null")
            | (Value::Bool(_), "boolean")
            | (Value::Integer(_), "integer" | "number")
            | (Value::Float(_), "number")
            | (Value::String(_), "string")
            | (Value::List(_), "array")
            | (Value::Map(_), "object")
    )
}

fn in_words(kind: &str) -> &str {
    match kind {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "array" => "a list",
        "object" => "a map",
        other => other,
    }
}
