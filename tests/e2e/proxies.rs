//! The HTTP front end behind the proxies that it is for, each with the configuration that is shipped for it. Every one must
//! say and hide the same, but for what its table in `docs/public/proxies.md` says that it cannot carry.

use std::{fs, net::SocketAddr, path::PathBuf};

use docsgate_harness::{envoy, http, paths, process::Process, system_tool::system_tool};
use reqwest::{
    Method,
    blocking::{Client, RequestBuilder, Response},
};
use serde_json::{Value, json};

use crate::{
    backend::Backend,
    chart::schemas,
    gate::{Gate, ORIGIN, Wanted, eventually, header, ok, urls},
    server::{self, on_a_free_port},
};

/// A proxy in front of authz's HTTP front end, and the gate that authz belongs to. The gate's own Envoy is not asked.
struct Proxied {
    _proxy: Process,
    url: String,
    gate: Gate,
    http: Client,
    /// What it says when the gate cannot be asked, by its table.
    without: u16,
    /// What this proxy does not carry.
    silent: &'static [&'static str],
}

/// What a client could say to be somebody else, somewhere else or about something else.
const FORGED: [(&str, &str); 16] = [
    ("x-original-method", "OPTIONS"),
    ("x-original-url", "http://docs.example.org/healthz"),
    ("x-original-uri", "/healthz"),
    ("x-forwarded-method", "OPTIONS"),
    ("x-forwarded-uri", "/healthz"),
    ("x-forwarded-host", "elsewhere.example.org"),
    ("x-forwarded-for", "198.51.100.66"),
    ("x-real-ip", "198.51.100.66"),
    ("x-docsgate-peer", "198.51.100.66"),
    ("x-docsgate-grant", "eyJhbGciOiJub25lIn0.e30."),
    ("x-docsgate-corpus", "member"),
    ("x-docsgate-member", "ada"),
    ("x-docsgate-status", "204"),
    ("x-envoy-original-path", "/healthz"),
    ("x-envoy-auth-headers-to-remove", "x-docsgate-corpus"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

impl Proxied {
    /// A gate with the front end for `profile`, and the address at which it listens.
    fn gate(profile: &str, backend: Option<&Backend>) -> (Gate, SocketAddr) {
        let flags = ["--http-listen", "127.0.0.1:0", "--http-profile", profile, "--decision-log-addresses", "full"];
        let gate = Gate::with(Wanted {
            authz_extra: flags.map(str::to_owned).to_vec(),
            backend: backend.map(|backend| backend.address.clone()),
            ..Wanted::default()
        });
        let ready: Value = serde_json::from_slice(&fs::read(gate.folder.path().join("authz.ready")).unwrap()).unwrap();
        let address = ready["listeners"]["http"].as_str().unwrap().parse().unwrap();
        (gate, address)
    }

    /// Where requests go that the gate lets through.
    fn backend(gate: &Gate, backend: Option<&Backend>) -> String {
        match (backend, &gate.stack.copilot) {
            (Some(Backend { address: (host, port), .. }), _) => format!("{host}:{port}"),
            (None, Some(copilot)) => copilot.address.clone(),
            (None, None) => unreachable!("a gate has a backend"),
        }
    }

    fn nginx(backend: Option<&Backend>) -> Option<Self> {
        let nginx = system_tool("nginx")?;
        let (gate, authz) = Self::gate("nginx", backend);
        let shipped = shipped("nginx");
        let folder = gate.folder.path();
        fs::copy(shipped.join("gated.conf"), folder.join("gated.conf")).unwrap();
        let check = fs::read_to_string(shipped.join("check.conf")).unwrap();
        fs::write(folder.join("check.conf"), patient(&check)).unwrap();
        let upstream = Self::backend(&gate, backend);
        let own = folder.display();
        let (process, port) = server::nginx(&nginx, folder, |port| {
            format!(
                "upstream docsgate_authz {{ server {authz}; keepalive 8; }}
                 server {{
                     listen 127.0.0.1:{port};
                     include {own}/check.conf;
                     location / {{
                         include {own}/gated.conf;
                         proxy_pass http://{upstream};
                     }}
                 }}"
            )
        });
        Some(Self::behind(process, port, gate, 503))
    }

    fn caddy(backend: Option<&Backend>) -> Option<Self> {
        let caddy = system_tool("caddy")?;
        let (gate, authz) = Self::gate("caddy", backend);
        let folder = gate.folder.path();
        let snippet = patient(&fs::read_to_string(shipped("caddy").join("Caddyfile")).unwrap());
        let upstream = Self::backend(&gate, backend);
        let config = |port: u16| {
            format!(
                "{{\n\tadmin off\n\tauto_https off\n}}\n{snippet}\n\
                 http://127.0.0.1:{port}, http://:{port} {{\n\tbind 127.0.0.1\n\troute {{\n\t\timport docsgate {authz}\n\t\treverse_proxy {upstream}\n\t}}\n}}\n"
            )
        };
        let arguments = |file: &str| ["run", "--adapter", "caddyfile", "--config", file].map(str::to_owned).to_vec();
        let (process, port) = on_a_free_port(&caddy, folder, config, arguments);
        Some(Self::behind(process, port, gate, 502))
    }

    fn envoy(backend: Option<&Backend>) -> Self {
        let (gate, authz) = Self::gate("envoy", backend);
        let folder = gate.folder.path().join("envoy-http");
        fs::create_dir(&folder).unwrap();
        let mut bootstrap = envoy::shipped().unwrap();
        let text = fs::read_to_string(shipped("envoy").join("ext_authz_http.yaml")).unwrap();
        let mut ours: Value = serde_saphyr::from_str(&text).unwrap();
        envoy::be_patient(&mut ours);
        let (host, port) =
            Self::backend(&gate, backend).rsplit_once(':').map(|(h, p)| (h.to_owned(), p.parse().unwrap())).unwrap();
        let addresses = envoy::Addresses {
            listen: "127.0.0.1:0".parse().unwrap(),
            authz_socket: folder.join("unused.sock"),
            backend: (host, port),
            backend_grpc: None,
        };
        let access_log = folder.join("access.jsonl");
        envoy::place_patiently(&mut bootstrap, &addresses, &access_log).unwrap();
        let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        let manager = bootstrap.pointer_mut(manager).unwrap();
        let early = "/early_header_mutation_extensions/0/typed_config/mutations";
        manager.pointer_mut(early).unwrap().as_array_mut().unwrap().push(ours["early_header_mutation"].clone());
        manager["http_filters"][0] = ours["http_filter"].clone();
        let mut cluster = ours["cluster"].clone();
        *cluster
            .pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value")
            .unwrap() = json!(authz.port());
        bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
        let envoy = envoy::Envoy::start_with(&bootstrap, access_log, &folder).unwrap();
        let port = envoy.listen.port();
        Self { silent: &["vary of an allowed answer"], ..Self::behind(envoy.process, port, gate, 503) }
    }

    fn behind(proxy: Process, port: u16, gate: Gate, without: u16) -> Self {
        let (url, http) = (format!("http://127.0.0.1:{port}"), crate::gate::client());
        Self { _proxy: proxy, url, gate, http, without, silent: &[] }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header("host", "docs.example.org")
    }

    fn search(&self) -> RequestBuilder {
        self.request(Method::GET, "/api/docs-search?q=tides")
    }

    fn carries(&self, what: &str) -> bool {
        !self.silent.contains(&what)
    }

    /// The decision of the request with this id.
    fn decision(&self, id: &str) -> Value {
        let url = format!("{}/decisions/{id}", self.gate.stack.authz.admin_url);
        eventually("the decision", || {
            let (status, body) = http::get(&url).ok()?;
            (status == 200).then(|| serde_json::from_str(&body).unwrap())
        })
    }
}

fn shipped(proxy: &str) -> PathBuf {
    paths::repository().unwrap().join("proxies").join(proxy)
}

/// A configuration that waits longer than the shipped one: a busy machine is not what is tested here.
fn patient(config: &str) -> String {
    let patient = config.replace(" 200ms", " 5s").replace(" 500ms", " 10s");
    assert_ne!(patient, config, "the shipped time-outs are others now");
    patient
}

/// A problem as the client must see it behind every proxy.
fn refused(response: Response, status: u16, kind: &str) -> Value {
    crate::gate::problem(response, status, kind)
}

fn everything_a_client_sees(proxied: &Proxied) {
    // Anybody, from a page that may ask.
    let response = proxied.search().header("origin", ORIGIN).send().unwrap();
    assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
    assert_eq!(header(&response, "access-control-allow-credentials"), "true");
    assert!(header(&response, "ratelimit").contains("flood"), "{response:?}");
    if proxied.carries("vary of an allowed answer") {
        let vary: Vec<_> = response.headers().get_all("vary").iter().map(|line| line.to_str().unwrap()).collect();
        assert!(vary.join(",").to_ascii_lowercase().contains("origin"), "{vary:?}");
    }
    assert!(response.headers().get("x-docsgate-grant").is_none(), "a client never learns a grant");
    let id = header(&response, "x-request-id").to_owned();
    assert!(urls(&ok(response)).iter().all(|url| !url.contains("pilots")));
    assert_eq!(proxied.decision(&id)["decision"]["route"], "search");

    // A page that may not.
    let response = proxied.search().header("origin", "https://evil.example").send().unwrap();
    assert!(response.headers().get("access-control-allow-origin").is_none());
    refused(response, 403, "origin_not_allowed");

    // A preflight is answered by the gate: with what may be sent, and without asking the backend.
    let preflight = |origin: &'static str| {
        let request = proxied.request(Method::OPTIONS, "/api/docs-chat").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "content-type").send().unwrap()
    };
    let response = preflight(ORIGIN);
    assert_eq!(response.status(), 204, "{response:?}");
    assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
    assert!(header(&response, "access-control-allow-methods").contains("POST"));
    assert!(header(&response, "access-control-allow-headers").contains("content-type"));
    assert_eq!(header(&response, "access-control-max-age"), "600");
    assert!(response.headers().get("x-docsgate-status").is_none(), "{response:?}");
    let response = preflight("https://evil.example");
    assert!(!response.status().is_success() && response.headers().get("access-control-allow-origin").is_none());

    // Nobody's path, a wrong method, and a path that means two things.
    refused(proxied.request(Method::GET, "/nowhere").send().unwrap(), 404, "no_route");
    let response = proxied.request(Method::DELETE, "/api/docs-search").send().unwrap();
    assert_eq!(header(&response, "allow"), "GET, HEAD");
    refused(response, 405, "method_not_allowed");

    // Members, strangers, and tokens that are none.
    let (member, stranger) = (proxied.gate.member_token(), proxied.gate.token("nobody@example.org"));
    eventually("the member's documents", || {
        let response = proxied.request(Method::GET, "/api/docs-search?q=pilots").bearer_auth(&member).send().ok()?;
        (response.status() == 200)
            .then(|| urls(&ok(response)).iter().any(|url| url.contains("pilots")).then_some(()))?
    });
    let only = |token: &str| proxied.search().header("x-only", "members").bearer_auth(token).send().unwrap();
    eventually("the refusal of a stranger", || {
        let response = only(&stranger);
        (response.status() != 503).then(|| refused(response, 403, "insufficient_entitlement"))
    });
    let response = only("not.a.token");
    assert!(header(&response, "www-authenticate").contains("invalid_token"), "{response:?}");
    refused(response, 401, "invalid_token");
    refused(proxied.search().header("x-only", "members").send().unwrap(), 401, "identity_required");

    // Limits: told before they are reached, and when.
    let few = || proxied.search().header("x-limit", "few").header("origin", ORIGIN).send().unwrap();
    let response = eventually("the end of the limit", || Some(few()).filter(|response| response.status() == 429));
    assert!(header(&response, "retry-after").parse::<u32>().unwrap() > 0);
    assert!(header(&response, "ratelimit-policy").contains("few"));
    assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN, "a page can read why");
    refused(response, 429, "rate_limited");
}

fn nothing_that_a_client_says_is_believed(proxied: &Proxied) {
    for (name, value) in FORGED {
        let response = proxied.search().header(name, value).send().unwrap();
        let id = header(&response, "x-request-id").to_owned();
        assert_eq!(response.status(), 200, "{name}: {}", response.text().unwrap());
        let decision = proxied.decision(&id);
        assert_eq!(decision["decision"]["route"], "search", "{name}: {decision:#}");
        assert_eq!(decision["request"]["peer"], "127.0.0.1", "{name}: {decision:#}");
        // What the gate refuses stays refused.
        let response = proxied.request(Method::GET, "/nowhere").header(name, value).send().unwrap();
        refused(response, 404, "no_route");
        let response = proxied.search().header("x-only", "members").header(name, value).send().unwrap();
        refused(response, 401, "identity_required");
    }
}

/// Through to a backend that notes what reaches it.
fn the_backend_sees_grants_and_no_credentials(proxied: &Proxied, backend: &Backend) {
    let token = proxied.gate.member_token();
    let forged = [("x-docsgate-grant", "forged"), ("x-docsgate-corpus", "forged"), ("x-docsgate-member", "forged")];
    let mut request = proxied.request(Method::POST, "/echo/a?b=%20c").header("cookie", "session=1");
    for (name, value) in forged {
        request = request.header(name, value);
    }
    let request = request.bearer_auth(&token).body("hello");
    let response = eventually("the answer", || {
        Some(request.try_clone()?.send().ok()?).filter(|response| response.status() == 200)
    });
    for hidden in ["x-docsgate-grant", "x-docsgate-corpus", "x-docsgate-member"] {
        assert!(response.headers().get(hidden).is_none(), "{hidden} reaches the client");
    }
    let received = backend.received().pop().unwrap();
    assert!(received.line.starts_with("POST /echo/a?b=%20c "), "{received:?}");
    for name in ["authorization", "cookie", "x-api-key"] {
        assert!(received.all(name).iter().all(|value| value.is_empty()), "{name}: {received:?}");
    }
    assert_eq!(received.all("x-docsgate-corpus"), ["member"], "{received:?}");
    let grant = received.all("x-docsgate-grant");
    assert!(grant.len() == 1 && grant[0].split('.').count() == 3, "{received:?}");
    // Somebody without a name has none, whatever they say.
    let anonymous = proxied.request(Method::GET, "/echo/a").header("x-docsgate-member", "forged").send().unwrap();
    assert_eq!(anonymous.status(), 200);
    let received = backend.received().pop().unwrap();
    assert!(received.all("x-docsgate-member").iter().all(|value| value.is_empty()), "{received:?}");
    // Without authz nothing passes.
    let before = backend.received().len();
    drop_authz(proxied);
    let response = proxied.request(Method::GET, "/echo/a").send().unwrap();
    assert_eq!(response.status(), proxied.without, "{response:?}");
    assert_eq!(backend.received().len(), before);
}

fn drop_authz(proxied: &Proxied) {
    proxied.gate.stack.authz.process.kill();
}

#[test]
fn nginx_says_and_hides_what_envoy_does() {
    let Some(proxied) = Proxied::nginx(None) else { return };
    everything_a_client_sees(&proxied);
    nothing_that_a_client_says_is_believed(&proxied);
}

#[test]
fn behind_nginx_the_backend_sees_grants_and_no_credentials() {
    let backend = Backend::start(&["access-control-allow-origin: *", "x-docsgate-grant: x"]);
    let Some(proxied) = Proxied::nginx(Some(&backend)) else { return };
    the_backend_sees_grants_and_no_credentials(&proxied, &backend);
}

#[test]
fn caddy_says_and_hides_what_envoy_does() {
    let Some(proxied) = Proxied::caddy(None) else { return };
    everything_a_client_sees(&proxied);
    nothing_that_a_client_says_is_believed(&proxied);
}

#[test]
fn behind_caddy_the_backend_sees_grants_and_no_credentials() {
    let backend = Backend::start(&["access-control-allow-origin: *", "x-docsgate-grant: x"]);
    let Some(proxied) = Proxied::caddy(Some(&backend)) else { return };
    the_backend_sees_grants_and_no_credentials(&proxied, &backend);
}

#[test]
fn envoy_over_http_says_and_hides_what_it_does_over_grpc() {
    let proxied = Proxied::envoy(None);
    everything_a_client_sees(&proxied);
    nothing_that_a_client_says_is_believed(&proxied);
}

#[test]
fn behind_envoy_over_http_the_backend_sees_grants_and_no_credentials() {
    let backend = Backend::start(&["access-control-allow-origin: *", "x-docsgate-grant: x"]);
    let proxied = Proxied::envoy(Some(&backend));
    the_backend_sees_grants_and_no_credentials(&proxied, &backend);
}

/// Traefik cannot be had here: what it sends, by its documentation, is sent in its place.
#[test]
fn traefiks_questions_are_answered_and_its_preflights_told_apart() {
    let (gate, authz) = Proxied::gate("traefik", None);
    let http = crate::gate::client();
    let ask = |path: &str, lines: &[(&str, &str)]| {
        let request = http.get(format!("http://{authz}{path}"));
        lines.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().unwrap()
    };
    let original = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "docs.example.org"),
        ("x-forwarded-uri", "/api/docs-search?q=tides"),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    let response = ask("/check", &original);
    assert_eq!((response.status().as_u16(), header(&response, "x-docsgate-corpus")), (200, "public"));
    let (grant, id) = (header(&response, "x-docsgate-grant"), header(&response, "x-request-id"));
    // The grant is for the original request: copilot takes it with that host, path and id.
    let copilot = gate.stack.copilot.as_ref().unwrap();
    let forwarded = http.get(format!("http://{}/api/docs-search?q=tides", copilot.address));
    let forwarded = forwarded.header("host", "docs.example.org").header("x-docsgate-grant", grant);
    ok(forwarded.header("x-request-id", id).send().unwrap());

    // A preflight: no 2xx where it would mean yes; in full where Traefik hands it on.
    let preflight = [("origin", ORIGIN), ("access-control-request-method", "GET")];
    let asked = [("x-forwarded-method", "OPTIONS")].iter().chain(&original[1..]).chain(&preflight).copied();
    let response = ask("/check", &asked.collect::<Vec<_>>());
    assert_eq!((response.status().as_u16(), header(&response, "x-docsgate-status")), (403, "204"));
    let handed_on = |method: Method, path: &str| {
        let request =
            http.request(method, format!("http://{authz}/preflight{path}")).header("host", "docs.example.org");
        let lines = preflight.iter().chain(&original[4..]);
        lines.fold(request, |request, (name, value)| request.header(*name, *value)).send().unwrap()
    };
    let response = handed_on(Method::OPTIONS, "/api/docs-search?q=tides");
    assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (204, ORIGIN));
    // Nobody learns a grant there.
    for (method, path) in
        [(Method::GET, "/api/docs-search?q=tides"), (Method::GET, "/healthz"), (Method::OPTIONS, "/check")]
    {
        let response = handed_on(method, path);
        assert!(!response.status().is_success() && response.headers().get("x-docsgate-grant").is_none(), "{path}");
    }
    // What is not described is not guessed, and elsewhere is no yes.
    assert_eq!(ask("/check", &original[1..]).status(), 400);
    assert_eq!(ask("/", &original).status(), 403);
}

#[test]
fn a_front_end_that_anybody_could_ask_does_not_start() {
    for (flags, says) in [
        (&["--http-listen", "0.0.0.0:0", "--http-profile", "nginx"][..], "without mTLS anybody could ask for grants"),
        (&["--http-listen", "127.0.0.1:0"], "needs --http-profile"),
        (&["--http-profile", "nginx"], "not --http-listen"),
        (&["--http-listen", "127.0.0.1:0", "--http-profile", "apache"], "nginx, traefik, caddy, envoy"),
    ] {
        let mut gate = Gate::start();
        let options = &mut gate.stack.authz_options;
        options.folder = gate.folder.path().join("second");
        fs::create_dir(&options.folder).unwrap();
        options.socket = options.folder.join("authz.sock");
        options.extra = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let error = docsgate_harness::authz::Authz::start(options).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains(says), "{error:#}");
        assert!(format!("{error:#}").contains("exit status 2") || says.contains("mTLS"), "{error:#}");
    }
}

#[test]
fn the_examples_for_kubernetes_follow_their_published_schemas() {
    let documents = |proxy: &str, file: &str| -> Vec<Value> {
        let text = fs::read_to_string(shipped(proxy).join(file)).unwrap();
        text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    };
    let traefik = documents("traefik", "middleware.yaml");
    assert_eq!(traefik.len(), 4);
    if let Some(faults) = schemas::faults(&traefik) {
        panic!("{faults}");
    }
    let mut broken = traefik[0].clone();
    broken["spec"]["forwardAuth"]["trustForwardHeaders"] = json!(false);
    assert!(system_tool("node").is_none() || schemas::faults(&[broken]).is_some(), "it does find a field that is none");
    schemas::strictly_valid(&documents("ingress-nginx", "ingress.yaml"));
}
