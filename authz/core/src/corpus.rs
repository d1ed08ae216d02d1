//! Step 9: which corpora the caller may read.

use std::sync::Arc;

use crate::{entitlement::Entitlements, time::Timestamp};

/// One corpus of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// Name: what the grant lists and copilot serves.
    pub name: Arc<str>,
    /// The entitlement that opens it; `None` opens it to everyone.
    pub entitlement: Option<String>,
}

/// What a route serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteCorpus {
    /// `allow: anyone`: no corpus, no identity.
    None,
    /// `corpus: auto`: all that the caller may read.
    Auto,
    /// Exactly this one.
    Only(Arc<Corpus>),
}

/// The corpora open to a caller with these entitlements: those that need one first, then the public ones, each in the
/// order of the policy. The first is the one named in logs.
pub fn open_to(corpora: &[Arc<Corpus>], entitlements: &Entitlements, now: Timestamp) -> Vec<Arc<str>> {
    let entitled = corpora
        .iter()
        .filter(|corpus| corpus.entitlement.as_deref().is_some_and(|feature| entitlements.in_force(feature, now)));
    let public = corpora.iter().filter(|corpus| corpus.entitlement.is_none());
    entitled.chain(public).map(|corpus| Arc::clone(&corpus.name)).collect()
}
