//! A portal as it is on its bad days, over real TCP: the last good keys stay, and the error says what was wrong.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
};

use super::*;

/// An HTTP server that answers whatever it was last told to, and notes what it was asked.
struct Portal {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Portal {
    fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let portal = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&portal.answer), Arc::clone(&portal.asked));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => request.extend_from_slice(&buffer[..read]),
                    }
                }
                asked.lock().push(String::from_utf8_lossy(&request).to_lowercase());
                // Noted before the write: whoever sees the result finds the request.
                let bytes = answer.lock().clone();
                let _ = stream.write_all(&bytes);
            }
        });
        portal
    }

    fn answers(&self, answer: Vec<u8>) {
        *self.answer.lock() = answer;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    fn follow(&self) -> (Arc<KeyState>, Registry) {
        let mut registry = Registry::default();
        let source = KeySource::Url(format!("http://{}/jwks.json", self.address));
        (KeyState::follow(source, true, KeyMetrics::new(&mut registry)), registry)
    }
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
        .into_bytes()
}

/// A set with Ed25519 keys of these ids (the public key of RFC 8037, appendix A.2).
fn set(kids: &[&str]) -> String {
    let key = |kid: &&str| serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    serde_json::json!({"keys": kids.iter().map(key).collect::<Vec<_>>()}).to_string()
}

fn good(kids: &[&str]) -> Vec<u8> {
    http("200 OK", "cache-control: max-age=0\r\netag: \"v1\"\r\n", &set(kids))
}

async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn usable(state: &KeyState) -> Option<Arc<LoadedKeys>> {
    state.usable(Duration::from_secs(3600))
}

/// Every way in which an answer can be no key set, and what the operator reads.
fn bad_days() -> Vec<(Vec<u8>, &'static str)> {
    let weak =
        serde_json::json!({"keys": [{"kty": "RSA", "kid": "w", "e": "AQAB", "n": format!("{}w", "u".repeat(170))}]})
            .to_string();
    vec![
        (
            http("200 OK", "content-type: text/html\r\n", "<!doctype html><title>Sign in</title>"),
            "not a JSON Web Key Set",
        ),
        (http("200 OK", "", &"x".repeat(10 * 1024 * 1024)), "more than 524288 bytes"),
        (http("200 OK", "", "{\"keys\":[]}"), "the set is empty"),
        (http("200 OK", "", &weak), "expected 2048 to 8192"),
        (http("302 Found", "location: https://elsewhere.example/\r\n", ""), "redirects are not followed"),
        (http("500 Internal Server Error", "", "oops"), "status 500"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":".to_vec(), "cannot be fetched"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "cannot be fetched"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_portal_answers_the_last_good_keys_stay() {
    let days = bad_days().into_iter().map(|(answer, said)| async move {
        let portal = Portal::start(good(&["a"]));
        let (state, registry) = portal.follow();
        let set = until("the first set", || usable(&state)).await.set;
        portal.answers(answer);
        let error = until(said, || state.last_error()).await;
        assert!(error.contains(said) && error.contains("/jwks.json"), "{said}: {error}");
        let kept = usable(&state).unwrap();
        assert_eq!((kept.set, kept.keys.len()), (set, 1), "{said}");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("docsgate_authz_jwks_fetches_total{result=\"failed\"}"), "{text}");
        // The portal gets well, and nobody has to do anything.
        portal.answers(good(&["a", "b"]));
        until("the new set", || usable(&state).filter(|loaded| loaded.keys.len() == 2)).await;
        assert_eq!(state.last_error(), None);
    });
    let days: Vec<_> = days.map(tokio::spawn).collect();
    for day in days {
        day.await.unwrap();
    }
}

#[tokio::test]
async fn a_portal_that_is_away_from_the_start_gives_no_keys_and_a_reason() {
    // Bound, and never listened at: connections are refused, and nobody else gets the port.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap();
    let mut registry = Registry::default();
    let source = KeySource::Url(format!("http://{address}/jwks.json"));
    let state = KeyState::follow(source, true, KeyMetrics::new(&mut registry));
    let error = until("the error", || state.last_error()).await;
    assert!(error.contains("cannot be fetched") && usable(&state).is_none(), "{error}");
}

#[tokio::test]
async fn keys_over_http_are_refused_outside_development() {
    let portal = Portal::start(good(&["a"]));
    let mut registry = Registry::default();
    let source = KeySource::Url(format!("http://{}/jwks.json", portal.address));
    let state = KeyState::follow(source, false, KeyMetrics::new(&mut registry));
    let error = until("the error", || state.last_error()).await;
    assert!(error.contains("https only"), "{error}");
    assert!(portal.asked().is_empty(), "not even asked");
}

#[tokio::test]
async fn an_unchanged_set_is_confirmed_by_its_etag() {
    let portal = Portal::start(good(&["a"]));
    let (state, _registry) = portal.follow();
    let first = until("the first set", || usable(&state)).await;
    portal.answers(http("304 Not Modified", "cache-control: max-age=0\r\n", ""));
    until("the second request", || (portal.asked().len() >= 2).then_some(())).await;
    assert!(!portal.asked()[0].contains("if-none-match"));
    assert!(portal.asked()[1].contains("if-none-match: \"v1\""), "{}", portal.asked()[1]);
    let fresh_until = || *first.fresh_until.lock();
    let before = fresh_until();
    until("the confirmation", || (fresh_until() > before).then_some(())).await;
    assert!(Arc::ptr_eq(&usable(&state).unwrap(), &first), "what was verified with it stays so");
    assert_eq!(state.last_error(), None);
}

#[tokio::test]
async fn an_unknown_key_causes_one_fetch_however_many_ask() {
    let portal = Portal::start(http("200 OK", "cache-control: max-age=3600\r\n", &set(&["a"])));
    let (state, _registry) = portal.follow();
    let first = until("the first set", || usable(&state)).await;
    portal.answers(http("200 OK", "cache-control: max-age=3600\r\n", &set(&["a", "b"])));
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let state = Arc::clone(&state);
            tokio::spawn(async move { state.refetched_on_demand().await })
        })
        .collect();
    for asked in asking {
        let _ = asked.await.unwrap();
    }
    let loaded = until("the rotated set", || usable(&state).filter(|loaded| loaded.keys.len() == 2)).await;
    assert_ne!(loaded.set, first.set, "a new set voids what was verified with the old one");
    assert!(!state.refetched_on_demand().await, "within the interval nobody is asked again");
    assert_eq!(portal.asked().len(), 2);
}

#[tokio::test]
async fn a_file_is_followed_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, set(&["a"])).unwrap();
    let mut registry = Registry::default();
    let source = KeySource::File(path.display().to_string());
    let state = KeyState::follow(source, false, KeyMetrics::new(&mut registry));
    until("the first set", || usable(&state)).await;
    std::fs::write(&path, "{\"keys\":").unwrap();
    let error = until("the error", || state.last_error()).await;
    assert!(error.contains("jwks.json") && error.contains("not a JSON Web Key Set"), "{error}");
    assert_eq!(usable(&state).unwrap().keys.len(), 1);
    // As a mounted Secret changes: a link is swapped.
    std::fs::write(folder.path().join("next"), set(&["a", "b"])).unwrap();
    std::os::unix::fs::symlink("next", folder.path().join("link")).unwrap();
    std::fs::rename(folder.path().join("link"), &path).unwrap();
    until("the new set", || usable(&state).filter(|loaded| loaded.keys.len() == 2)).await;
}

#[tokio::test]
async fn max_stale_begins_when_the_keys_are_no_longer_fresh_and_zero_is_zero() {
    // Fresh for five seconds, the shortest.
    let portal = Portal::start(good(&["a"]));
    let (state, _registry) = portal.follow();
    until("the first set", || state.usable(Duration::ZERO)).await;
    portal.answers(http("500 Internal Server Error", "", "oops"));
    until("the end of freshness", || state.usable(Duration::ZERO).is_none().then_some(())).await;
    assert!(state.usable(Duration::from_secs(3600)).is_some(), "stale, and that is allowed");
    portal.answers(good(&["a"]));
    until("the portal's return", || state.usable(Duration::ZERO)).await;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, set(&["a"])).unwrap();
    let state = {
        let mut registry = Registry::default();
        KeyState::follow(KeySource::File(path.display().to_string()), false, KeyMetrics::new(&mut registry))
    };
    until("the file", || state.usable(Duration::ZERO)).await;
    std::fs::remove_file(&path).unwrap();
    until("the end of the file's freshness", || state.usable(Duration::ZERO).is_none().then_some(())).await;
    assert!(state.usable(Duration::from_secs(3600)).is_some());
}

#[test]
fn keys_are_fetched_before_they_are_stale() {
    for seconds in [5, 30, 300, 3600] {
        let fresh_for = Duration::from_secs(seconds);
        assert!(before_stale(fresh_for) < fresh_for && before_stale(fresh_for) > fresh_for / 2);
    }
}
