//! CORS profiles.

use std::time::Duration;

use super::{
    Compiler,
    Step::{self, Index, Key},
};
use crate::{
    cors::{CorsProfile, DEFAULT_EXPOSED, Names, OriginPattern, OriginSet},
    policy::document::CorsDocument,
    request::is_token_byte,
};

impl Compiler<'_, '_, '_> {
    pub(super) fn cors(&mut self, name: &str, profile: &CorsDocument) -> CorsProfile {
        self.name("CORS profile", name, &[Key("cors"), Key(name)]);
        let mut patterns = self.origins(name, "allow_origins", &profile.allow_origins);
        let anonymous = self.origins(name, "anonymous_origins", &profile.anonymous_origins);
        if self.document.allow_env_overrides == Some(true) {
            for text in self
                .overrides
                .allow_origins
                .iter()
                .flat_map(|list| list.split(';'))
                .map(str::trim)
                .filter(|text| !text.is_empty())
            {
                match OriginPattern::parse(text) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(error) => self
                        .error(&[Key("cors"), Key(name)], format!("CORS_ALLOW_ORIGIN: `{text}` is refused: {error}")),
                }
            }
        }
        let null = profile.allow_null_origin == Some(true);
        if patterns.is_empty() && anonymous.is_empty() && !null && self.document.allow_nothing != Some(true) {
            self.error(
                &[Key("cors"), Key(name), Key("allow_origins")],
                "no origin is allowed, so every browser would be refused; list at least one",
            );
        }
        let credentials = profile.allow_credentials == Some(true);
        if credentials && patterns.contains(&OriginPattern::Any) {
            let path = [Key("cors"), Key(name), Key("allow_origins")];
            let help = "any site could read members' answers; list the origins".to_owned();
            self.findings.warning(self.at(&path), "`*` together with `allow_credentials: true`", Some(help));
        }
        let methods = self.names(
            &profile.allow_methods,
            |index| [Key("cors"), Key(name), Key("allow_methods"), Index(index)].into(),
            str::to_owned,
        );
        let headers = self.names(
            &profile.allow_headers,
            |index| [Key("cors"), Key(name), Key("allow_headers"), Index(index)].into(),
            str::to_ascii_lowercase,
        );
        let expose = profile.expose_headers.clone().unwrap_or_else(|| DEFAULT_EXPOSED.map(str::to_owned).into());
        for (index, header) in expose.iter().enumerate() {
            if header.is_empty() || !header.bytes().all(is_token_byte) {
                self.error(
                    &[Key("cors"), Key(name), Key("expose_headers"), Index(index)],
                    format!("`{header}` is not a header name"),
                );
            }
        }
        CorsProfile {
            name: name.to_owned(),
            origins: OriginSet::new(patterns, null),
            anonymous: OriginSet::new(anonymous, false),
            methods,
            headers,
            expose,
            credentials,
            max_age: profile.max_age.as_deref().map(|text| {
                let range = (Duration::ZERO, Duration::from_secs(86_400));
                self.duration(Some(text), Duration::from_secs(5), range, &[Key("cors"), Key(name), Key("max_age")])
            }),
            private_network: profile.allow_private_network == Some(true),
        }
    }

    fn origins(&mut self, profile: &str, field: &str, texts: &[String]) -> Vec<OriginPattern> {
        let mut patterns = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match OriginPattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let path = [Key("cors"), Key(profile), Key(field), Index(index)];
                    self.error(&path, format!("the origin `{text}` is refused: {error}"));
                }
            }
        }
        patterns
    }

    pub(super) fn names<'p>(
        &mut self,
        listed: &[String],
        path: impl Fn(usize) -> Vec<Step<'p>>,
        form: fn(&str) -> String,
    ) -> Names {
        for (index, name) in listed.iter().enumerate() {
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                self.error(&path(index), format!("`{name}` is not a name that can stand in a header"));
            }
        }
        if listed.iter().any(|name| name == "*") {
            Names::Any
        } else {
            Names::Listed(listed.iter().map(|name| form(name)).collect())
        }
    }
}
