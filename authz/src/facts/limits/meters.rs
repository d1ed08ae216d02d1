//! What is counted for each limit. Limits are named by the policy, so no label takes a client's text.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use authz_core::limit::{Charge, LimitState, StageOutcome, table};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChargeLabels {
    limit: String,
    outcome: &'static str,
}

/// The counters of one limit.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) name: Arc<str>,
    pub(super) allowed: Counter,
    pub(super) refused: Counter,
    pub(super) shadow_refused: Counter,
}

/// The counters of all limits, and the label under which the table counts the keys of each.
#[derive(Debug)]
pub(super) struct Meters {
    labels: ArcSwap<HashMap<Arc<str>, u8>>,
    growing: Mutex<()>,
    meters: Box<[OnceLock<Meter>]>,
    charges: Family<ChargeLabels, Counter>,
}

impl Meters {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let charges = Family::default();
        registry.register(
            "docsgate_authz_limit_charges",
            "Requests counted by each limit; shadow_refused would have been refused",
            charges.clone(),
        );
        let meters = (0..table::LABELS).map(|_| OnceLock::new()).collect();
        Self { labels: ArcSwap::default(), growing: Mutex::default(), meters, charges }
    }

    /// The labels of these charges.
    pub(super) fn labels(&self, charges: &[Charge]) -> Vec<u8> {
        let labels = self.labels.load();
        let known = |charge: &Charge| labels.get(&charge.rule.name).copied();
        charges.iter().map(|charge| known(charge).unwrap_or_else(|| self.add(&charge.rule.name))).collect()
    }

    /// A limit that was not seen before. The last label is shared by all limits that come after 255 others.
    fn add(&self, name: &Arc<str>) -> u8 {
        let _growing = self.growing.lock();
        let labels = self.labels.load();
        if let Some(label) = labels.get(name) {
            return *label;
        }
        let label = u8::try_from(labels.len()).unwrap_or(u8::MAX);
        self.meters[usize::from(label)].get_or_init(|| {
            let name = if label == u8::MAX { "others".into() } else { Arc::clone(name) };
            let counter =
                |outcome| self.charges.get_or_create(&ChargeLabels { limit: name.to_string(), outcome }).clone();
            let (allowed, refused) = (counter("allowed"), counter("refused"));
            let shadow_refused = counter("shadow_refused");
            Meter { name, allowed, refused, shadow_refused }
        });
        if label < u8::MAX {
            let mut grown = HashMap::clone(&labels);
            grown.insert(Arc::clone(name), label);
            self.labels.store(Arc::new(grown));
        }
        label
    }

    /// Counts what a stage said.
    pub(super) fn count(&self, labels: &[u8], outcome: &StageOutcome) {
        for (label, state) in labels.iter().zip(&outcome.states) {
            if let Some(meter) = self.meters[usize::from(*label)].get() {
                meter.of(state).inc();
            }
        }
    }

    /// All limits that were ever counted, with their labels.
    pub(super) fn all(&self) -> impl Iterator<Item = (u8, &Meter)> {
        (0..=u8::MAX).zip(self.meters.iter()).filter_map(|(label, meter)| Some((label, meter.get()?)))
    }
}

impl Meter {
    fn of(&self, state: &LimitState) -> &Counter {
        match (state.fits, state.shadow) {
            (true, _) => &self.allowed,
            (false, false) => &self.refused,
            (false, true) => &self.shadow_refused,
        }
    }
}
