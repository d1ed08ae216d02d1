//! A real Chromium on pages of an allowed and of another origin: what scripts may send, and what they may read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use docsgate_harness::process::{Launch, Process};
use docsgate_harness::system_tool::system_tool;
use serde_json::{Value, json};

use crate::gate::{Gate, Wanted, data};

/// The docs site: cross-origin to the gate but of one site with it, so that cookies are sent.
const DOCS: &str = "docs.example.org";
/// The gate's name in the browser.
const API: &str = "api.example.org";
/// Another site.
const OTHER: &str = "other.example";

/// Calls every entry of `CALLS`, notes what a script can see, and posts it to the page's own server.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>page</title><script type="module">
const calls = CALLS;
const seen = {};
for (const [name, url, init] of calls) {
  try {
    const response = await fetch(url, init);
    const headers = Object.fromEntries(response.headers);
    seen[name] = {type: response.type, status: response.status, headers, body: await response.text()};
  } catch (error) {
    seen[name] = {failed: error.name};
  }
}
await fetch("/report", {method: "POST", body: JSON.stringify(seen)});
</script>"#;

/// A web server for pages; what pages post comes out of `reports`.
struct Site {
    port: u16,
    reports: Receiver<Value>,
    page: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Site {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, reports) = channel();
        let page = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let served = std::sync::Arc::clone(&page);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, served) = (sender.clone(), std::sync::Arc::clone(&served));
                std::thread::spawn(move || answer(&stream, &sender, &served));
            }
        });
        Self { port, reports, page }
    }

    fn origin(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }
}

fn answer(mut stream: &TcpStream, sender: &Sender<Value>, page: &std::sync::Mutex<String>) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    if line.starts_with("POST /report") {
        let _ = sender.send(serde_json::from_slice(&body).unwrap());
    }
    let text = if line.starts_with("GET / ") { page.lock().unwrap().clone() } else { String::new() };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n";
    let _ = write!(stream, "{head}content-length: {}\r\n\r\n{text}", text.len());
}

/// Opens `url` in a browser of its own and waits for the page's report.
fn visit(
    chromium: &Path,
    folder: &Path,
    url: &str,
    site: &Site,
    calls: &Value,
    cookie: &str,
) -> BTreeMap<String, Value> {
    let cookie = if cookie.is_empty() {
        String::new()
    } else {
        format!("<script>document.cookie = {};</script>", json!(cookie))
    };
    *site.page.lock().unwrap() =
        PAGE.replace("<script type", &format!("{cookie}<script type")).replace("CALLS", &calls.to_string());
    let profile = tempfile::tempdir_in(folder).unwrap();
    let browser: Process = Launch::new("chromium", chromium, folder.join("chromium.log"))
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        // The names of this test lead here, and every other name nowhere.
        .arg("--host-resolver-rules=MAP *.example.org 127.0.0.1, MAP other.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg("--remote-debugging-port=0")
        .arg(url)
        .spawn()
        .unwrap();
    let report = site.reports.recv_timeout(Duration::from_secs(90));
    browser.stop(Duration::from_secs(5));
    let log = || fs::read_to_string(folder.join("chromium.log")).unwrap_or_default();
    let report = report.unwrap_or_else(|error| panic!("no report from {url}: {error}\n{}", log()));
    serde_json::from_value(report).unwrap()
}

/// The tests' policy for these sites, with the member token in a cookie too. What a page may ask for without a preflight
/// needs routes that take no header of their own.
fn policy(allowed: &str) -> String {
    let text = fs::read_to_string(data().join("policy.yaml"))
        .unwrap()
        .replace("https://docs.example.org\"", &format!("{allowed}\""))
        .replace(
            "algorithms: [EdDSA, ES256, RS256]",
            "algorithms: [EdDSA]\n    token_from: [{header: authorization}, {cookie: docs}]",
        );
    format!(
        "{}
  - {{name: few, match: {{path: /few}}, cors: docs, corpus: auto, limits: [few]}}
  - {{name: only, match: {{path: /only}}, cors: docs, corpus: member, limits: [flood]}}
",
        text.trim_end()
    )
}

#[test]
fn chromium_can_do_and_read_what_the_policy_says_and_nothing_else() {
    let Some(chromium) = system_tool("chromium") else { return };
    let site = Site::start();
    let gate = Gate::with(Wanted { policy_text: Some(policy(&site.origin(DOCS))), ..Wanted::default() });
    let member = gate.member_token();
    let stranger = gate.token("nobody");
    gate.look_up(&member);
    gate.look_up(&stranger);
    let api = format!("http://{API}:{}", gate.stack.envoy.listen.port());
    let search = format!("{api}/api/docs-search?q=zanzibar");
    let bearer = |token: &str| json!({"authorization": format!("Bearer {token}")});
    let question = json!({"question": "When are the tides?"}).to_string();
    let calls = json!([
        ["get", search, {}],
        ["get-with-credentials", search, {"credentials": "include"}],
        ["post-json", format!("{api}/api/docs-chat"), {"method": "POST", "headers": {"content-type": "application/json"}, "body": question}],
        ["bearer", search, {"headers": bearer(&member)}],
        ["header-not-allowed", search, {"headers": {"x-custom": "1"}}],
        ["method-not-allowed", format!("{api}/api/docs-search"), {"method": "DELETE"}],
        ["401", search, {"headers": bearer("not.a.token")}],
        ["403", format!("{api}/only"), {"headers": bearer(&stranger)}],
        ["404", format!("{api}/elsewhere"), {}],
        ["429-1", format!("{api}/few"), {}],
        ["429-2", format!("{api}/few"), {}],
        ["429-3", format!("{api}/few"), {}],
        ["429", format!("{api}/few"), {}],
    ]);
    let cookie = format!("docs={member}; domain=example.org; path=/");
    let seen = visit(&chromium, gate.folder.path(), &site.origin(DOCS), &site, &calls, &cookie);
    let status = |name: &str| seen[name]["status"].as_u64().unwrap_or_else(|| panic!("{name}: {}", seen[name]));
    let body = |name: &str| serde_json::from_str::<Value>(seen[name]["body"].as_str().unwrap()).unwrap();

    assert_eq!(status("get"), 200);
    assert_eq!(seen["get"]["type"], "cors");
    assert_eq!(body("get")["corpus"], "public", "without credentials the cookie stays at home");
    assert_eq!(status("get-with-credentials"), 200);
    assert_eq!(body("get-with-credentials")["corpus"], "member", "{}", seen["get-with-credentials"]);
    assert_eq!(status("post-json"), 200);
    assert!(body("post-json")["answer"].is_string() || body("post-json")["grounded"].is_boolean());
    assert_eq!(body("bearer")["corpus"], "member");
    for name in ["get", "401", "429"] {
        for header in ["x-request-id", "ratelimit", "ratelimit-policy"] {
            // A refused token is refused before the limits of callers, but after those of addresses.
            assert!(seen[name]["headers"][header].is_string(), "{name}: {header} cannot be read: {}", seen[name]);
        }
    }
    assert_eq!(status("401"), 401);
    assert_eq!(body("401")["type"], "urn:docsgate:problem:invalid_token");
    assert!(seen["401"]["headers"]["www-authenticate"].as_str().unwrap().contains("invalid_token"));
    assert_eq!(status("403"), 403);
    assert_eq!(body("403")["type"], "urn:docsgate:problem:insufficient_entitlement");
    assert_eq!(status("429"), 429);
    assert!(seen["429"]["headers"]["retry-after"].as_str().unwrap().parse::<u32>().unwrap() >= 1);
    for name in ["header-not-allowed", "method-not-allowed", "404"] {
        assert_eq!(seen[name]["failed"], "TypeError", "{name}: {}", seen[name]);
    }

    // The same page at another site: the browser lets its script see nothing, whatever it sends.
    let seen = visit(&chromium, gate.folder.path(), &site.origin(OTHER), &site, &calls, "");
    for (name, outcome) in &seen {
        assert_eq!(outcome["failed"], "TypeError", "{name}: {outcome}");
    }
    // It may send a request without reading the answer; the gate refuses even to pass it on.
    let calls = json!([["opaque", search, {"mode": "no-cors"}]]);
    let seen = visit(&chromium, gate.folder.path(), &site.origin(DOCS), &site, &calls, "");
    assert_eq!(seen["opaque"]["status"], 0, "{}", seen["opaque"]);
}
