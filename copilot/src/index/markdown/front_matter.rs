//! A page's own front matter, as it is read.

use serde::Deserialize;

use crate::index::page::FrontMatter;

/// Front matter and what follows it.
pub(super) fn split_front_matter(source: &str) -> (FrontMatter, &str) {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let none = || (FrontMatter::default(), source);
    let Some(rest) = source.strip_prefix("---\n").or_else(|| source.strip_prefix("---\r\n")) else { return none() };
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            let yaml = rest.get(..end).unwrap_or_default();
            let body = rest.get(end + line.len()..).unwrap_or_default();
            return (read(yaml), body);
        }
        end += line.len();
        if end > 64 * 1024 {
            break;
        }
    }
    none()
}

#[derive(Deserialize)]
struct Fields(serde_json::Map<String, serde_json::Value>);

/// Front matter that is not YAML is passed over, as MkDocs does.
fn read(yaml: &str) -> FrontMatter {
    let Ok(Fields(values)) = serde_saphyr::from_str::<Fields>(yaml) else { return FrontMatter::default() };
    let yes = |value: &serde_json::Value| value.as_bool() == Some(true) || value.as_str() == Some("exclude");
    let search = values.get("search");
    let title = values.get("title").and_then(serde_json::Value::as_str).map(|title| title.trim().to_owned());
    FrontMatter {
        title: title.filter(|title| !title.is_empty()),
        excluded: values.get("draft").is_some_and(yes)
            || search.is_some_and(yes)
            || search.and_then(|search| search.get("exclude")).is_some_and(yes),
        #[expect(clippy::cast_possible_truncation, reason = "a factor near 1")]
        boost: search
            .and_then(|search| search.get("boost"))
            .and_then(serde_json::Value::as_f64)
            .map(|boost| boost.clamp(0.01, 100.0) as f32),
        values,
    }
}
