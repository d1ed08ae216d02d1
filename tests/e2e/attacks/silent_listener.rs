//! A connection to the database that is open and dead, as after a gateway that forgot it: changes are not told over it any
//! more, and nothing says so.

use std::fs;

use docsgate_harness::authz::Authz;
use docsgate_harness::tcp_proxy::TcpProxy;
use reqwest::StatusCode;

use crate::backend::Backend;
use crate::gate::{Gate, MEMBER, Wanted, eventually};

/// A gate whose entries live so long that only being told, or noticing the silence, makes a revocation felt.
fn start() -> Gate {
    let backend = Backend::start(&[]);
    let long = |text: &str| text.replace("ttl: 60s, negative_ttl: 60s", "ttl: 1h, negative_ttl: 1h");
    Gate::with(Wanted { backend: Some(backend.address.clone()), policy: Some(long), ..Wanted::default() })
}

/// Starts authz again with its reads, its listening connection, or both, through a proxy.
fn through_proxy(gate: &mut Gate, reads: bool) -> TcpProxy {
    let port = gate.stack.postgres.port();
    let proxy = TcpProxy::start(port).unwrap();
    let direct = gate.stack.authz_options.database_url.clone().unwrap();
    let proxied = direct.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    assert_ne!(direct, proxied);
    gate.stack.authz.process.kill();
    let listen = gate.folder.path().join("listen-url");
    fs::write(&listen, &proxied).unwrap();
    gate.stack.authz_options.extra.extend(["--database-listen-url-file".into(), listen.display().to_string()]);
    if reads {
        gate.stack.authz_options.database_url = Some(proxied);
    }
    gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();
    eventually("changes to be told", || listening(gate, 1));
    proxy
}

/// The status of a request for the member corpus alone.
fn status(gate: &Gate, token: &str) -> StatusCode {
    let request = gate.http.get(gate.url("/api/docs-search?q=x")).header("x-only", "members").bearer_auth(token);
    request.send().unwrap().status()
}

fn listening(gate: &Gate, wanted: u8) -> Option<()> {
    let text = gate.http.get(format!("{}/metrics", gate.stack.authz.admin_url)).send().ok()?.text().ok()?;
    let line = format!("docsgate_authz_database_listening {wanted}");
    text.lines().any(|found| found == line).then_some(())
}

#[test]
fn a_revocation_that_a_dead_connection_swallows_is_felt_all_the_same() {
    let mut gate = start();
    let proxy = through_proxy(&mut gate, false);
    let token = gate.member_token();
    eventually("the member corpus", || (status(&gate, &token) == StatusCode::OK).then_some(()));

    proxy.go_silent();
    gate.stack.member("revoke", MEMBER).unwrap();
    eventually("the revocation", || (status(&gate, &token) == StatusCode::FORBIDDEN).then_some(()));
    eventually("the metric to tell the silence", || listening(&gate, 0));

    // Noticed or not: what changes while nothing is told is felt too.
    for (action, expected) in [("grant", StatusCode::OK), ("revoke", StatusCode::FORBIDDEN)] {
        gate.stack.member(action, MEMBER).unwrap();
        eventually(action, || (status(&gate, &token) == expected).then_some(()));
    }
    listening(&gate, 0).expect("nobody can be listening through a silent proxy");

    proxy.heal();
    eventually("changes to be told again", || listening(&gate, 1));
    for (action, expected) in [("grant", StatusCode::OK), ("revoke", StatusCode::FORBIDDEN)] {
        gate.stack.member(action, MEMBER).unwrap();
        eventually(action, || (status(&gate, &token) == expected).then_some(()));
    }
}

#[test]
fn connections_that_died_in_silence_are_given_up_and_replaced() {
    let mut gate = start();
    let proxy = through_proxy(&mut gate, true);
    let token = gate.member_token();
    eventually("the member corpus", || (status(&gate, &token) == StatusCode::OK).then_some(()));

    proxy.go_silent();
    eventually("the metric to tell the silence", || listening(&gate, 0));
    // Whoever is known is served from memory; whoever is not keeps asking, over every connection there is.
    assert_eq!(status(&gate, &token), StatusCode::OK);
    let strangers: Vec<String> = (0..24).map(|n| gate.token(&format!("stranger-{n}"))).collect();
    std::thread::scope(|scope| {
        for stranger in &strangers {
            scope.spawn(|| assert_eq!(status(&gate, stranger), StatusCode::SERVICE_UNAVAILABLE));
        }
    });

    proxy.heal();
    // The old connections stay dead. The kernel would need a quarter of an hour to give them up.
    eventually("changes to be told again", || listening(&gate, 1));
    for stranger in &strangers {
        eventually("a read", || (status(&gate, stranger) == StatusCode::FORBIDDEN).then_some(()));
    }
    gate.stack.member("revoke", MEMBER).unwrap();
    eventually("the revocation", || (status(&gate, &token) == StatusCode::FORBIDDEN).then_some(()));
}
