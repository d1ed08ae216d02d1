use authz_core::record::{RecordedDecision, RecordedFacts, RecordedRequest, SCHEMA};

use super::*;

fn config(target: Option<LogTarget>) -> DecisionLogConfig {
    DecisionLogConfig {
        decision_log: target,
        decision_log_max_bytes: 2000,
        decision_log_keep: 2,
        decision_log_sample: 1.0,
        decision_log_noise: 10,
        decision_log_memory: 64 * 1024,
        decision_log_addresses: Addresses::Truncated,
        recent_decisions: 3,
    }
}

fn record(id: &str) -> DecisionRecord {
    DecisionRecord {
        schema: SCHEMA.into(),
        time: "2026-01-05T12:00:00Z".into(),
        id: id.into(),
        policy: "v".into(),
        sampled: 1.0,
        truncated: false,
        request: RecordedRequest::malformed(),
        facts: RecordedFacts::default(),
        decision: RecordedDecision::default(),
        candidate: None,
        micros: 1,
    }
}

#[test]
fn every_line_is_written_before_the_end_and_files_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("decisions.jsonl");
    let log = DecisionLog::start(config(Some(LogTarget::File(path.clone()))), &mut Registry::default()).unwrap();
    for number in 0..20 {
        log.record(record(&format!("r{number}")));
    }
    log.finish();
    let mut ids = Vec::new();
    for name in ["decisions.jsonl.2", "decisions.jsonl.1", "decisions.jsonl"] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.len() <= 2000, "{name}: {}", text.len());
        ids.extend(text.lines().map(|line| serde_json::from_str::<DecisionRecord>(line).unwrap().id));
    }
    assert_eq!(ids.last().map(String::as_str), Some("r19"));
    assert!(ids.len() > 8, "{ids:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn only_the_most_recent_decisions_are_remembered() {
    let log = DecisionLog::start(config(None), &mut Registry::default()).unwrap();
    for number in 0..5 {
        log.record(record(&format!("r{number}")));
    }
    assert!(log.recent("r1").is_none());
    assert_eq!(log.recent("r4").unwrap().id, "r4");
    assert_eq!(log.latest(10).iter().map(|record| record.id.clone()).collect::<Vec<_>>(), ["r4", "r3", "r2"]);
}

/// A ring of any length is bounded by bytes too.
#[test]
fn recent_decisions_take_no_more_than_their_memory() {
    let config = DecisionLogConfig { recent_decisions: 1_000_000, ..config(None) };
    let log = DecisionLog::start(config, &mut Registry::default()).unwrap();
    for number in 0..200 {
        let mut large = record(&format!("r{number}"));
        large.request.path = "x".repeat(50_000);
        log.record(large);
    }
    let kept = log.latest(usize::MAX);
    assert!((5..=16).contains(&kept.len()), "{}", kept.len());
    assert!(kept.iter().all(|record| record.truncated && record.request.path.len() < 4096));
}

#[test]
fn a_writer_that_stands_still_holds_no_more_than_the_memory_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let stalled = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let mut registry = Registry::default();
    let log = DecisionLog::start(config(Some(LogTarget::File(pipe))), &mut registry).unwrap();
    for number in 0..400 {
        let mut large = record(&format!("r{number}"));
        large.request.path = "x".repeat(50_000);
        log.record(large);
    }
    assert!(log.room.available_permits() < 16 * 1024, "what waits has taken its room");
    let lost = log.dropped.get_or_create(&LostLabels { reason: lost::QUEUE_FULL }).get();
    assert!((300..400).contains(&lost), "{lost}");
    assert_eq!(log.written.get() + lost, 400);
    drop(stalled);
}

#[test]
fn a_share_of_the_requests_is_sampled_by_their_ids() {
    let kept = (0..10_000).filter(|number| is_sampled(&format!("id-{number}"), 0.1)).count();
    assert!((800..1200).contains(&kept), "{kept}");
    assert!(is_sampled("x", 1.0) && !is_sampled("x", 0.0));
}

#[test]
fn a_target_that_cannot_be_written_is_named() {
    let target = LogTarget::File("/nonexistent-folder/x".into());
    let error = DecisionLog::start(config(Some(target)), &mut Registry::default()).unwrap_err();
    assert!(error.contains("/nonexistent-folder/x"), "{error}");
}
