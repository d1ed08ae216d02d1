use super::*;
use crate::{corpus::RouteCorpus, request::RawRequest};

fn route(name: &str, path: PathMatch, methods: &[&str]) -> Route {
    Route {
        name: name.into(),
        matcher: Matcher {
            path,
            methods: methods.iter().map(ToString::to_string).collect(),
            hosts: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        },
        cors: None,
        require_origin: false,
        corpus: RouteCorpus::None,
        anonymous_on_invalid_token: false,
        issuers: Vec::new(),
        flood_limits: Vec::new(),
        caller_limits: Vec::new(),
        cost: 1,
        maintenance: None,
        shadow: false,
    }
}

fn router(routes: Vec<Route>) -> Router {
    Router::new(routes.into_iter().map(Arc::new).collect())
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.to_owned())
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect())
}

fn template(segments: &[Option<&str>]) -> PathMatch {
    PathMatch::Template(segments.iter().map(|segment| segment.map(str::to_owned)).collect())
}

fn view(method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> RequestView {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    RequestView::parse(&RawRequest { method, host, path, headers, ..RawRequest::default() }).unwrap()
}

fn find(router: &Router, method: &str, path: &str) -> String {
    match router.find(&view(method, "h", path, &[]), method) {
        RouteMatch::Matched(route) => route.name.to_string(),
        RouteMatch::WrongMethod { allowed, nearest } => format!("405 {} {}", nearest.name, allowed.join(",")),
        RouteMatch::NotFound => "404".to_owned(),
    }
}

#[test]
fn the_most_specific_path_wins_whatever_the_order() {
    let router = router(vec![
        route("all", prefix("/"), &[]),
        route("api", prefix("/api"), &[]),
        route("page", template(&[Some("docs"), None]), &[]),
        route("edit", template(&[Some("docs"), None, Some("edit")]), &[]),
        route("chat", exact("/api/docs-chat"), &[]),
    ]);
    for (path, name) in [
        ("/api/docs-chat", "chat"),
        ("/api/docs-chat/", "api"),
        ("/api/other", "api"),
        ("/api", "api"),
        ("/apix", "all"),
        ("/API/docs-chat", "all"),
        ("/docs/a", "page"),
        ("/docs/", "all"),
        ("/docs/a/edit", "edit"),
        ("/docs/a/b", "all"),
        ("/", "all"),
        ("*", "404"),
    ] {
        assert_eq!(find(&router, "GET", path), name, "{path}");
    }
}

#[test]
fn methods_are_a_reason_of_their_own() {
    let router = router(vec![
        route("search", exact("/s"), &["GET"]),
        route("write", exact("/s"), &["PUT", "POST"]),
        route("only-post", exact("/p"), &["POST"]),
    ]);
    assert_eq!(find(&router, "HEAD", "/s"), "search");
    assert_eq!(find(&router, "POST", "/s"), "write");
    assert_eq!(find(&router, "post", "/p"), "405 only-post POST");
    assert_eq!(find(&router, "DELETE", "/s"), "405 search GET,HEAD,POST,PUT");
    assert_eq!(find(&router, "GET", "/unknown"), "404");
}

#[test]
fn a_less_specific_route_may_take_the_method() {
    let router = router(vec![route("any", prefix("/"), &["OPTIONS"]), route("chat", exact("/c"), &["POST"])]);
    assert_eq!(find(&router, "OPTIONS", "/c"), "any");
}

#[test]
fn hosts_headers_and_queries_make_a_route_more_specific() {
    let mut by_host = route("host", prefix("/"), &[]);
    by_host.matcher.hosts = vec![HostMatch::Exact("docs.example.org".into())];
    let mut by_suffix = route("suffix", prefix("/"), &[]);
    by_suffix.matcher.hosts = vec![HostMatch::Suffix(".example.org".into())];
    let mut beta = route("beta", prefix("/"), &[]);
    beta.matcher.headers = vec![("x-beta".into(), Some("1".into()))];
    let mut debug = route("debug", prefix("/"), &[]);
    debug.matcher.query = vec![("debug".into(), None)];
    let router = router(vec![route("rest", prefix("/"), &[]), by_suffix, beta, debug, by_host]);
    let found = |host: &str, path: &str, headers: &[(&str, &str)]| match router
        .find(&view("GET", host, path, headers), "GET")
    {
        RouteMatch::Matched(route) => route.name.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(found("DOCS.example.org:443", "/", &[]), "host");
    assert_eq!(found("a.example.org", "/", &[]), "suffix");
    assert_eq!(found("a.b.example.org", "/", &[]), "suffix");
    assert_eq!(found("example.org", "/", &[]), "rest");
    assert_eq!(found("evil-example.org", "/", &[]), "rest");
    assert_eq!(found("h", "/", &[("X-Beta", "1")]), "beta");
    assert_eq!(found("h", "/", &[("x-beta", "2")]), "rest");
    assert_eq!(found("h", "/?a=1&d%65bug", &[]), "debug");
}
