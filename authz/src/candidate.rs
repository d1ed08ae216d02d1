//! A candidate policy, decided beside the one in force on the same requests. It changes no answer, charges no live
//! limit and delays nothing: requests that its worker cannot take in time are not compared, and counted.

use std::{
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use authz_core::{
    decide,
    record::{DecisionRecord, RecordedDecision},
    request::{Malformed, RequestView},
    time::Timestamp,
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::Serialize;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{Receiver, Sender, channel},
};

use crate::{
    decision_log::DecisionLog,
    facts::{LiveFacts, Sources, limits::Limiter},
    policy_source::PolicySource,
};

/// Requests that wait for the worker at the most, however small they are.
const QUEUE: usize = 4096;
/// Ways of differing that are told apart; the rest is counted as one.
const MAX_DIFFERENCES: usize = 256;
/// Examples kept of each.
const EXAMPLES: usize = 5;

/// One request, with the decision that was made.
#[derive(Debug)]
pub struct Job {
    /// The request.
    pub view: Result<RequestView, Malformed>,
    /// When it was decided.
    pub now: Timestamp,
    /// Its line of the decision log, which the worker passes on.
    pub record: DecisionRecord,
}

impl Job {
    /// About the bytes that it takes: the request, and its record, which holds no more of it.
    fn memory(&self) -> usize {
        let view = self.view.as_ref().map_or(0, RequestView::memory);
        size_of::<Self>() + 2 * view + 1024
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DifferenceLabels {
    route: String,
    active: String,
    candidate: String,
}

/// The candidate and what was found so far.
#[derive(Debug)]
pub struct Candidate {
    policy: Arc<PolicySource>,
    jobs: Sender<(Job, OwnedSemaphorePermit)>,
    /// Bytes that are left for what waits.
    room: Arc<Semaphore>,
    report: Mutex<Report>,
    compared: Counter,
    skipped: Counter,
    differing: Family<DifferenceLabels, Counter>,
}

/// What the admin listener shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Version of the candidate.
    pub version: String,
    /// Decisions compared since this version was loaded.
    pub compared: u64,
    /// Decisions that differ.
    pub differing: u64,
    /// Decisions that were not compared: the worker was busy, or they were refusals beyond those that are logged.
    pub skipped: u64,
    /// Time that the candidate's decisions took, in microseconds.
    pub micros: u64,
    /// Differences by route and decisions.
    pub differences: Vec<Difference>,
}

/// Decisions that differ in the same way.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Difference {
    /// The route.
    pub route: String,
    /// What the policy in force decided.
    pub active: String,
    /// What the candidate would have decided.
    pub candidate: String,
    /// How often.
    pub count: u64,
    /// Request ids of the first of them.
    pub examples: Vec<String>,
}

impl Candidate {
    /// Loads the candidate and starts its worker.
    ///
    /// # Errors
    /// The findings, rendered; or why the files cannot be read.
    pub fn start(
        path: &Path,
        sources: Arc<Sources>,
        log: Arc<DecisionLog>,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, String> {
        // Its own reloads are told by its report; two sources would register the same names.
        let policy = PolicySource::load(path, &mut Registry::default())?;
        let (compared, skipped) = (Counter::default(), Counter::default());
        let differing = Family::<DifferenceLabels, Counter>::default();
        registry.register(
            "docsgate_authz_candidate_decisions",
            "Decisions compared with the candidate",
            compared.clone(),
        );
        registry.register(
            "docsgate_authz_candidate_skipped",
            "Decisions not compared with the candidate: its worker was busy, or they are noise",
            skipped.clone(),
        );
        registry.register(
            "docsgate_authz_candidate_differences",
            "Decisions that the candidate would have made differently",
            differing.clone(),
        );
        let (jobs, queue) = channel(QUEUE);
        let report = Mutex::new(Report { version: policy.current().version.to_string(), ..Report::default() });
        let room = Arc::new(Semaphore::new(log.memory()));
        let candidate = Arc::new(Self { policy, jobs, room, report, compared, skipped, differing });
        let limits = Limiter::alone(&candidate.policy.current().limiter, &mut Registry::default());
        let worker = Worker { candidate: Arc::downgrade(&candidate), sources, limits, log };
        tokio::spawn(worker.run(queue));
        let watched = Arc::clone(&candidate);
        tokio::spawn(async move {
            let policy = Arc::clone(&watched.policy);
            policy
                .watch(move |snapshot| {
                    let fresh = Report { version: snapshot.version.to_string(), ..Report::default() };
                    *watched.report.lock() = fresh;
                })
                .await;
        });
        Ok(candidate)
    }

    /// Gives a decision to the worker; hands the job back when it is busy.
    ///
    /// # Errors
    /// The job, which was not taken.
    pub fn compare(&self, job: Job) -> Result<(), Box<Job>> {
        let bytes = u32::try_from(job.memory()).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else {
            self.skip();
            return Err(Box::new(job));
        };
        self.jobs.try_send((job, room)).map_err(|refused| {
            self.skip();
            Box::new(refused.into_inner().0)
        })
    }

    /// Counts a decision that is not compared.
    pub fn skip(&self) {
        self.skipped.inc();
        self.report.lock().skipped += 1;
    }

    /// What was found so far, the most frequent first.
    pub fn report(&self) -> Report {
        let mut report = self.report.lock().clone();
        report.differences.sort_by_key(|difference| std::cmp::Reverse(difference.count));
        report
    }

    async fn decide(&self, job: &mut Job, facts: &LiveFacts<'_>) {
        let policy = self.policy.current();
        let started = Instant::now();
        let decision = decide(&policy, &job.view, facts, job.now).await;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let after = RecordedDecision::of(&decision);
        let differs = job.record.decision.differs(&after);
        self.compared.inc();
        let mut report = self.report.lock();
        report.compared += 1;
        report.micros = report.micros.saturating_add(micros);
        if !differs {
            return;
        }
        report.differing += 1;
        self.note(&mut report, &job.record, &after);
        job.record.candidate = Some(after);
    }

    fn note(&self, report: &mut Report, record: &DecisionRecord, after: &RecordedDecision) {
        let route = after.route.as_ref().or(record.decision.route.as_ref()).map_or("none", String::as_str);
        let (active, candidate) = (record.decision.in_words(), after.in_words());
        let known = report.differences.iter().position(|difference| {
            difference.route == route && difference.active == active && difference.candidate == candidate
        });
        let index = known.unwrap_or(report.differences.len());
        if known.is_none() && index < MAX_DIFFERENCES {
            let fresh = Difference { route: route.to_owned(), active, candidate, ..Difference::default() };
            report.differences.push(fresh);
        }
        let Some(difference) = report.differences.get_mut(index) else { return };
        difference.count += 1;
        if difference.examples.len() < EXAMPLES {
            difference.examples.push(record.id.clone());
        }
        // Bounded by the differences that are told apart: no label takes a client's text.
        let labels = DifferenceLabels {
            route: difference.route.clone(),
            active: difference.active.clone(),
            candidate: difference.candidate.clone(),
        };
        self.differing.get_or_create(&labels).inc();
    }
}

/// Time for one decision of the candidate.
const DEADLINE: Duration = Duration::from_millis(500);

/// Decides one request after the other, and passes its line on.
struct Worker {
    candidate: Weak<Candidate>,
    sources: Arc<Sources>,
    /// The candidate's own: it charges no live limit.
    limits: Arc<Limiter>,
    log: Arc<DecisionLog>,
}

impl Worker {
    async fn run(self, mut queue: Receiver<(Job, OwnedSemaphorePermit)>) {
        while let Some((mut job, _room)) = queue.recv().await {
            let Some(candidate) = self.candidate.upgrade() else { return };
            let facts = self.sources.until((Instant::now() + DEADLINE).into()).counted_in(&self.limits);
            candidate.decide(&mut job, &facts).await;
            self.log.record(job.record);
        }
    }
}
