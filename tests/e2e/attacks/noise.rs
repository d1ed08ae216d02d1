//! Requests that no route takes cost their sender nothing and authz memory and log: with large headers, and a decision log
//! whose reader had stalled, 8,400 of them took it from 30 to 360 MB; with a file they rotated everything else away.

use std::fs;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use docsgate_harness::authz;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;

use crate::gate::{Gate, ORIGIN, Wanted, client, eventually, header, ok, open_folder, problem};

/// The most that authz may have taken of memory at any time, in KiB. The chart's limit is 256 MiB.
const MOST_KIB: u64 = 128 * 1024;
/// Headers of 24 KB that the decision log keeps.
const LARGE: [&str; 2] = ["content-type", "access-control-request-headers"];
/// What Envoy answers when a machine that is busy with other tests lets authz wait for its turn.
const BUSY: u16 = 503;
/// An address that only asks what it may.
const READER: &str = "198.51.100.7";

fn behind_one_proxy(text: &str) -> String {
    text.replace("trusted_hops: 0", "trusted_hops: 1")
}

/// With a limit that a slow machine reaches too.
fn strict(text: &str) -> String {
    behind_one_proxy(text) + "limiter: {noise_rate: 60/hour}\n"
}

fn large(request: RequestBuilder) -> RequestBuilder {
    LARGE.iter().fold(request, |request, name| request.header(*name, "x".repeat(12_000)))
}

/// Statuses of requests that no route takes, each from the address that `address` gives it.
fn noise(gate: &Gate, numbers: Range<usize>, address: impl Fn(usize) -> String + Sync) -> Vec<u16> {
    const THREADS: usize = 3;
    let one = |http: &Client, number: usize| {
        let request = http.get(gate.url("/wp-login.php")).header("x-forwarded-for", address(number));
        large(request).send().unwrap().status().as_u16()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (numbers, one) = (numbers.clone(), &one);
                scope.spawn(move || {
                    let http = client();
                    numbers.skip(thread).step_by(THREADS).map(|number| one(&http, number)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The peak of authz's resident memory, in KiB.
fn peak_kib(gate: &Gate) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.stack.authz.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Lines that the log has not, by reason.
fn lost(gate: &Gate, reason: &str) -> u64 {
    let text = gate.http.get(format!("{}/metrics", gate.stack.authz.admin_url)).send().unwrap().text().unwrap();
    let line = format!("docsgate_authz_decision_log_dropped_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|text| text.strip_prefix(&line)).unwrap_or_else(|| panic!("{line}: {text}")).parse().unwrap()
}

#[test]
fn noise_with_a_log_that_nobody_reads_costs_little_memory_and_no_reader_an_answer() {
    let folder = open_folder();
    let pipe = folder.path().join("decisions");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Whoever holds both ends reads nothing: authz's writer stands still as soon as the pipe is full.
    let _stalled = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let gate = Gate::with(Wanted {
        policy: Some(strict),
        authz_extra: vec![format!("--decision-log={}", pipe.display()), "--decision-log-memory=1048576".to_owned()],
        ..Wanted::default()
    });
    let before = peak_kib(&gate);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut served = 0;
            while !ended.load(Ordering::Relaxed) {
                let response = gate.search("tides").header("x-forwarded-for", READER).send().unwrap();
                match response.status().as_u16() {
                    BUSY => {}
                    _ => served += usize::from(ok(response)["hits"].is_array()),
                }
            }
            served
        });
        // One address that is far beyond what it may be refused, and thousands that are not.
        let alone = noise(&gate, 0..3_000, |_| "203.0.113.1".to_owned());
        let many = noise(&gate, 0..5_400, |number| format!("2001:db8:bad:{number:x}::1"));
        ended.store(true, Ordering::Relaxed);
        assert!(alone.iter().filter(|status| **status == 429).count() > 1_000, "{alone:?}");
        assert!(alone.iter().all(|status| [404, 429, BUSY].contains(status)), "{alone:?}");
        assert!(many.iter().all(|status| [404, BUSY].contains(status)), "each is below its own limit: {many:?}");
        let served = reader.join().unwrap();
        assert!(served >= 100, "{served}");
    });
    // Decisions that are logged, however large the request is: what the writer cannot take is dropped.
    eventually("lines that the queue could not take", || {
        for _ in 0..100 {
            let request = gate.http.get(gate.url("/healthz")).header("x-forwarded-for", READER);
            assert!([200, BUSY].contains(&large(request).send().unwrap().status().as_u16()));
        }
        (lost(&gate, "queue_full") > 100).then_some(())
    });
    assert!(lost(&gate, "noise") > 5_000, "{}", lost(&gate, "noise"));
    assert_eq!((lost(&gate, "too_large"), lost(&gate, "write_failed")), (0, 0));
    let peak = peak_kib(&gate);
    assert!(peak < MOST_KIB, "from {before} to {peak} KiB");
}

#[test]
fn a_refusal_that_no_limit_counts_is_limited_and_readable() {
    let gate = Gate::with(Wanted { policy: Some(strict), ..Wanted::default() });
    noise(&gate, 0..40, |_| "203.0.113.1".to_owned());
    let ask = |method: &str, path: &str, address: &str, origin: &str| {
        let request = gate.http.request(method.parse().unwrap(), gate.url(path));
        request.header("x-forwarded-for", address).header("origin", origin).send().unwrap()
    };
    for (method, path, origin, otherwise) in [
        ("GET", "/nowhere", ORIGIN, (404, "no_route")),
        ("PUT", "/api/docs-search", ORIGIN, (405, "method_not_allowed")),
        ("GET", "/api/docs-search", "https://evil.example", (403, "origin_not_allowed")),
        ("GET", "/api/docs-search", "nonsense", (400, "malformed_origin")),
    ] {
        let response = ask(method, path, "203.0.113.1", origin);
        assert!(header(&response, "retry-after").parse::<u64>().unwrap() >= 1, "{response:?}");
        if otherwise.0 == 405 {
            assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
        }
        problem(response, 429, "rate_limited");
        problem(ask(method, path, "203.0.113.2", origin), otherwise.0, otherwise.1);
    }
    // What a route takes is not touched by it.
    let search = gate.search("tides").header("x-forwarded-for", "203.0.113.1").header("origin", ORIGIN);
    ok(search.send().unwrap());
}

#[test]
fn noise_does_not_rotate_a_file_away() {
    let folder = open_folder();
    let log = folder.path().join("decisions.jsonl");
    let gate = Gate::with(Wanted {
        policy: Some(behind_one_proxy),
        authz_extra: vec![
            format!("--decision-log={}", log.display()),
            "--decision-log-max-bytes=2097152".to_owned(),
            "--decision-log-keep=2".to_owned(),
        ],
        ..Wanted::default()
    });
    let refused = gate.search("tides").bearer_auth("not-a-token").send().unwrap();
    let id = header(&refused, "x-request-id").to_owned();
    problem(refused, 401, "invalid_token");
    // Sixteen megabytes even of lines that are cut, where the files have room for six.
    noise(&gate, 0..4_000, |number| format!("2001:db8:bad:{number:x}::1"));
    ok(gate.search("tides").send().unwrap());

    let lines = eventually("the last line", || {
        let texts = ["decisions.jsonl.2", "decisions.jsonl.1", "decisions.jsonl"];
        let texts = texts.map(|name| fs::read_to_string(folder.path().join(name)).unwrap_or_default());
        let lines: Vec<String> = texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
        let last: Value = serde_json::from_str(lines.last()?).ok()?;
        (last["decision"]["outcome"] == "allowed").then_some(lines)
    });
    assert!(lines.iter().all(|line| line.len() <= 4096));
    let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().any(|record| record["id"] == id), "the line of interest is gone");
    let noisy = records.iter().filter(|record| record["decision"]["reason"] == "no_route");
    let (mut written, mut stands_for) = (0, 0.0);
    for record in noisy {
        assert_eq!(record["truncated"], true);
        written += 1;
        stands_for += 1.0 / record["sampled"].as_f64().unwrap();
    }
    // Each line says how many it stands for; those after the last one are not told yet.
    assert!(written >= 100 && stands_for <= 4_000.5, "{written} lines for {stands_for}");
    assert_eq!(lost(&gate, "noise"), 4_000 - written);

    // What is not whole is not decided again.
    let policy = gate.stack.policy.served().display().to_string();
    let replayed = authz::command(&["replay", "--output", "json", "--policy", &policy, log.to_str().unwrap()]).unwrap();
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    assert!(replayed["truncated"].as_u64().unwrap() > 0 && replayed["changed"] == 0, "{replayed:#}");
}
