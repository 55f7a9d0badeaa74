//! Headers that mirror a message of the stateless era, `Mcp-Param-*` of annotated arguments among them.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::json::Object;

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";
/// Tools whose annotations are remembered.
const TOOLS: usize = 10_000;
/// How deep schemas are looked into.
const DEPTH: usize = 16;

/// The annotated arguments of the tools that were listed.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    by_tool: HashMap<String, Vec<Annotation>>,
}

#[derive(Debug)]
struct Annotation {
    path: Vec<String>,
    header: HeaderName,
}

impl Annotations {
    /// Remembers what a `tools/list` result says.
    pub(crate) fn learn(&mut self, result: &Object<'_>) {
        let Some(Ok(Value::Array(tools))) = result.get("tools").map(|tools| serde_json::from_str(tools.get())) else {
            return;
        };
        for tool in &tools {
            let Some(name) = tool.get("name").and_then(Value::as_str) else { continue };
            let mut found = Vec::new();
            collect(tool.get("inputSchema").and_then(|schema| schema.get("properties")), &mut Vec::new(), &mut found);
            if found.is_empty() {
                self.by_tool.remove(name);
            } else if self.by_tool.len() < TOOLS {
                self.by_tool.insert(name.to_owned(), found);
            }
        }
    }

    /// Mirrors a message into headers.
    pub(crate) fn mirror(&self, method: &str, params: Option<&Object<'_>>, headers: &mut HeaderMap) {
        insert(headers, HeaderName::from_static("mcp-method"), method);
        let Some(params) = params else { return };
        let named_by = match method {
            "tools/call" | "prompts/get" => Some("name"),
            "resources/read" => Some("uri"),
            method if method.starts_with("tasks/") => Some("taskId"),
            _ => None,
        };
        let name = named_by.and_then(|member| params.text(member));
        if let Some(name) = &name {
            insert(headers, HeaderName::from_static("mcp-name"), name);
        }
        if method == "tools/call"
            && let Some(annotations) = name.and_then(|name| self.by_tool.get(name.as_ref()))
            && let Some(Ok(arguments)) =
                params.get("arguments").map(|arguments| serde_json::from_str::<Value>(arguments.get()))
        {
            for annotation in annotations {
                if let Some(value) = annotation.value(&arguments) {
                    insert(headers, annotation.header.clone(), &value);
                }
            }
        }
    }
}

impl Annotation {
    fn value(&self, arguments: &Value) -> Option<String> {
        let value = self.path.iter().try_fold(arguments, |value, key| value.get(key))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
            _ => None,
        }
    }
}

fn collect(properties: Option<&Value>, path: &mut Vec<String>, found: &mut Vec<Annotation>) {
    let Some(Value::Object(properties)) = properties else { return };
    if path.len() >= DEPTH {
        return;
    }
    for (name, schema) in properties {
        path.push(name.clone());
        let header = schema.get("x-mcp-header").and_then(Value::as_str).filter(|header| !header.is_empty());
        let header = header.and_then(|header| HeaderName::from_bytes(format!("mcp-param-{header}").as_bytes()).ok());
        if let Some(header) = header {
            found.push(Annotation { path: path.clone(), header });
        }
        collect(schema.get("properties"), path, found);
        path.pop();
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(&encode(value)) {
        headers.insert(name, value);
    }
}

/// A value that cannot travel bare, or that looks like one that was wrapped, is wrapped.
pub(crate) fn encode(value: &str) -> String {
    let printable =
        value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && value.trim() == value && !value.is_empty();
    let looks_wrapped = value.starts_with(OPEN) && value.ends_with(CLOSE);
    if printable && !looks_wrapped {
        value.to_owned()
    } else {
        format!("{OPEN}{}{CLOSE}", BASE64_STANDARD.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_travel_bare_are_wrapped() {
        assert_eq!(encode("read_balance"), "read_balance");
        assert_eq!(encode("bücher"), "=?base64?YsO8Y2hlcg==?=");
        assert_eq!(encode(" a"), "=?base64?IGE=?=");
        assert_eq!(encode("a\nb"), "=?base64?YQpi?=");
        assert_eq!(encode("=?base64?YQ==?="), format!("=?base64?{}?=", BASE64_STANDARD.encode("=?base64?YQ==?=")));
    }

    #[test]
    fn annotated_arguments_become_headers() {
        let mut annotations = Annotations::default();
        let list = r#"{"tools":[{"name":"t","inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"},
            "deep":{"properties":{"n":{"type":"integer","x-mcp-header":"N"}}},"bad":{"x-mcp-header":"a b"}}}}]}"#;
        annotations.learn(&Object::parse(list).unwrap());
        let params =
            Object::parse(r#"{"name":"t","arguments":{"region":"eu west","deep":{"n":7},"bad":"x"}}"#).unwrap();
        let mut headers = HeaderMap::new();
        annotations.mirror("tools/call", Some(&params), &mut headers);
        assert_eq!(headers.get("mcp-name").unwrap(), "t");
        assert_eq!(headers.get("mcp-param-region").unwrap(), "eu west");
        assert_eq!(headers.get("mcp-param-n").unwrap(), "7");
        assert_eq!(headers.len(), 4);
    }
}
