//! Token issuers.

use std::time::Duration;

use super::{Compiler, Step::Key};
use crate::{
    identity::{Issuer, KeySource, TokenSource},
    policy::document::{IssuerDocument, TokenSourceDocument},
};

impl Compiler<'_, '_, '_> {
    pub(super) fn issuer(&mut self, name: &str, issuer: &IssuerDocument) -> Issuer {
        const DAY: Duration = Duration::from_secs(86_400);
        self.name("issuer", name, &[Key("issuers"), Key(name)]);
        let path = |key| [Key("issuers"), Key(name), Key(key)];
        if issuer.issuer.is_empty() {
            self.error(&path("issuer"), "the issuer is empty; expected the `iss` of its tokens");
        }
        if issuer.audiences.is_empty() {
            self.error(
                &path("audiences"),
                "no audience: tokens made for any other service would be accepted; list at least one",
            );
        }
        if issuer.algorithms.is_empty() {
            self.error(
                &path("algorithms"),
                "no algorithm: no token could be accepted; list at least one, such as `EdDSA`",
            );
        }
        let keys = match (&issuer.jwks_url, &issuer.jwks_file) {
            (Some(url), None) => {
                match url::Url::parse(url) {
                    Ok(parsed) if parsed.scheme() == "https" => {}
                    Ok(parsed) if parsed.scheme() == "http" => {
                        let help =
                            "use https; the process accepts http only with --allow-http-jwks (development)".to_owned();
                        self.findings.warning(
                            self.at(&path("jwks_url")),
                            "the keys are fetched without protection",
                            Some(help),
                        );
                    }
                    _ => self.error(&path("jwks_url"), format!("`{url}` is not an https URL")),
                }
                KeySource::Url(url.clone())
            }
            (None, Some(file)) => KeySource::File(file.clone()),
            _ => {
                self.error(
                    &[Key("issuers"), Key(name)],
                    format!("issuer `{name}` needs exactly one of `jwks_url` and `jwks_file`"),
                );
                KeySource::File(String::new())
            }
        };
        let token_from = issuer.token_from.iter().map(|source| match source {
            TokenSourceDocument::Header(header) => TokenSource::Header(header.to_ascii_lowercase()),
            TokenSourceDocument::Cookie(cookie) => TokenSource::Cookie(cookie.clone()),
        });
        let mut token_from: Vec<TokenSource> = token_from.collect();
        if token_from.is_empty() {
            token_from.push(TokenSource::Header("authorization".to_owned()));
        }
        Issuer {
            name: name.into(),
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            keys,
            algorithms: issuer.algorithms.clone(),
            token_from,
            types: issuer.types.iter().map(|kind| kind.to_ascii_lowercase()).collect(),
            required_claims: issuer.required_claims.clone(),
            leeway: self.duration(
                issuer.leeway.as_deref(),
                Duration::from_secs(30),
                (Duration::ZERO, Duration::from_secs(300)),
                &path("leeway"),
            ),
            max_lifetime: self.duration(
                issuer.max_lifetime.as_deref(),
                DAY,
                (Duration::from_secs(1), DAY * 366),
                &path("max_lifetime"),
            ),
            refresh: self.duration(
                issuer.refresh.as_deref(),
                Duration::from_secs(300),
                (Duration::from_secs(1), DAY),
                &path("refresh"),
            ),
            max_stale: self.duration(issuer.max_stale.as_deref(), DAY, (Duration::ZERO, DAY * 30), &path("max_stale")),
            ready_without_keys: issuer.ready_without_keys == Some(true),
        }
    }
}
