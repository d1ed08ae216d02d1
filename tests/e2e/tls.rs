//! authz on a TCP listener with mTLS, asked by the real Envoy; certificates change while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use docsgate_harness::authz::Authz;
use docsgate_harness::envoy::{self, Envoy};
use docsgate_harness::system_tool::system_tool;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::gate::{Gate, Wanted, eventually, problem};

/// An authority, and the certificates of authz and Envoy that it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes `NAME.pem`, `NAME.key` for a host and returns the certificate's serial number.
    fn issue(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        write(folder.join(format!("{name}.key")), &key.serialize_pem());
        write(folder.join(format!("{name}.pem")), &cert.pem());
    }

    fn publish(&self, path: PathBuf) {
        write(path, &self.0.pem());
    }
}

/// In one step, as a mounted Secret changes.
fn write(path: PathBuf, text: &str) {
    let fresh = path.with_extension("incoming");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

/// The shipped bootstrap with authz behind mTLS, and its client certificate from `folder`.
fn bootstrap(gate: &Gate, folder: &Path, authz: &str, backend: &(String, u16)) -> (Value, PathBuf) {
    let mut bootstrap = envoy::shipped().unwrap();
    let log = folder.join("envoy-access.jsonl");
    let addresses = envoy::Addresses {
        listen: "127.0.0.1:0".parse().unwrap(),
        authz_socket: gate.stack.authz.socket.clone(),
        backend: backend.clone(),
        backend_grpc: None,
    };
    envoy::place_patiently(&mut bootstrap, &addresses, &log).unwrap();
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
    let cluster = clusters.iter_mut().find(|cluster| cluster["name"] == "authz").unwrap();
    let (host, port) = authz.rsplit_once(':').unwrap();
    *cluster.pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address").unwrap() =
        json!({"socket_address": {"address": host, "port_value": port.parse::<u16>().unwrap()}});
    let file = |name: &str| json!({"filename": folder.join(name)});
    cluster["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "authz.internal",
            "common_tls_context": {
                "tls_certificates": [{"certificate_chain": file("envoy.internal.pem"), "private_key": file("envoy.internal.key")}],
                "validation_context": {
                    "trusted_ca": file("ca.pem"),
                    "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "authz.internal"}}],
                },
                "alpn_protocols": ["h2"],
            },
        },
    });
    (bootstrap, log)
}

#[test]
fn envoy_asks_over_mtls_and_certificates_change_without_a_restart() {
    let backend = Backend::start(&[]);
    let mut gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    first.issue(folder.path(), "authz.internal");
    first.issue(folder.path(), "envoy.internal");
    first.publish(at("ca.pem"));
    first.publish(at("client-ca.pem"));

    // The same authz, now on TCP.
    gate.stack.authz.process.kill();
    let options = &mut gate.stack.authz_options;
    for (flag, file) in [
        ("--tls-cert-file", "authz.internal.pem"),
        ("--tls-key-file", "authz.internal.key"),
        ("--tls-client-ca-file", "client-ca.pem"),
    ] {
        options.extra.extend([flag.to_owned(), at(file).display().to_string()]);
    }
    let (authz, address) = Authz::start_on_tcp(options).unwrap();
    gate.stack.authz = authz;

    let start = |name: &str| {
        let own = at(name);
        fs::create_dir(&own).unwrap();
        for file in ["ca.pem", "envoy.internal.pem", "envoy.internal.key"] {
            fs::copy(at(file), own.join(file)).unwrap();
        }
        let (bootstrap, log) = bootstrap(&gate, &own, &address, &backend.address);
        Envoy::start_with(&bootstrap, log, &own).unwrap()
    };
    let get = |envoy: &Envoy| gate.http.get(format!("{}/echo", envoy.url())).send().unwrap();
    let envoy = start("first");
    assert_eq!(get(&envoy).status(), 200);

    // Somebody whose certificate another authority signed gets no decision: no allow either.
    second.issue(folder.path(), "envoy.internal");
    let stranger = start("stranger");
    problem(get(&stranger), 503, "gateway_unavailable");

    // Half of a new pair does not load: the old one stays in service.
    let good = fs::read_to_string(at("authz.internal.pem")).unwrap();
    write(at("authz.internal.pem"), "-----BEGIN CERTIFICATE-----\nnot a certificate\n");
    let log = || fs::read_to_string(gate.stack.authz_options.folder.join("authz.log")).unwrap();
    eventually("the complaint about the broken certificate", || log().contains("do not load").then_some(()));
    first.issue(folder.path(), "envoy.internal");
    assert_eq!(get(&start("while-broken")).status(), 200);
    write(at("authz.internal.pem"), &good);

    // The second authority takes over on both sides. Who is connected stays connected; who comes needs the new one.
    second.issue(folder.path(), "authz.internal");
    second.publish(at("client-ca.pem"));
    second.publish(at("ca.pem"));
    second.issue(folder.path(), "envoy.internal");
    let mut attempt = 0;
    eventually("an answer under the new authority", || {
        attempt += 1;
        let envoy = start(&format!("second-{attempt}"));
        (get(&envoy).status() == 200).then_some(())
    });
    assert_eq!(get(&envoy).status(), 200, "the connection of before goes on");
    first.issue(folder.path(), "envoy.internal");
    problem(get(&start("too-late")), 503, "gateway_unavailable");
}

#[test]
fn the_http_front_end_is_asked_over_mtls() {
    let Some(curl) = system_tool("curl") else { return };
    let mut gate = Gate::with(Wanted { backend: Some(Backend::start(&[]).address), ..Wanted::default() });
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (own, foreign) = (Authority::new("own"), Authority::new("foreign"));
    own.issue(folder.path(), "authz.internal");
    own.issue(folder.path(), "proxy.internal");
    foreign.issue(folder.path(), "stranger.internal");
    own.publish(folder.path().join("ca.pem"));

    gate.stack.authz.process.kill();
    let options = &mut gate.stack.authz_options;
    for (flag, value) in [
        ("--http-listen", "0.0.0.0:0"),
        ("--http-profile", "caddy"),
        ("--tls-cert-file", &at("authz.internal.pem")),
        ("--tls-key-file", &at("authz.internal.key")),
        ("--tls-client-ca-file", &at("ca.pem")),
    ] {
        options.extra.extend([flag.to_owned(), value.to_owned()]);
    }
    gate.stack.authz = Authz::start(options).unwrap();
    let ready: Value = serde_json::from_slice(&fs::read(options.folder.join("authz.ready")).unwrap()).unwrap();
    let port = ready["listeners"]["http"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();

    let ask = |certificate: &[String]| {
        let mut command = Command::new(&curl);
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert", &at("ca.pem")]);
        command.args(["--connect-to", &format!("authz.internal:443:127.0.0.1:{port}"), "--output", "/dev/null"]);
        for line in ["Method: GET", "Host: docs.example.org", "Uri: /echo", "For: 192.0.2.7"] {
            command.args(["--header", &format!("X-Forwarded-{line}")]);
        }
        let output = command.args(certificate).args(["--write-out", "%{http_code}", "https://authz.internal/check"]);
        String::from_utf8(output.output().unwrap().stdout).unwrap()
    };
    let pair = |name: &str| {
        [("--cert", "pem"), ("--key", "key")]
            .map(|(flag, kind)| [flag.to_owned(), at(&format!("{name}.{kind}"))])
            .concat()
    };
    assert_eq!(ask(&pair("proxy.internal")), "200");
    // No answer at all: not even a refusal.
    assert_eq!(ask(&pair("stranger.internal")), "000");
    assert_eq!(ask(&[]), "000");
}
