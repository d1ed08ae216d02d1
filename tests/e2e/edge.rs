//! The other Envoys: at the edge with TLS, and joined to one that is there already.

use std::fs;
use std::path::Path;

use docsgate_harness::envoy::{self, Envoy};
use docsgate_harness::paths;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::chart::schemas::faults;
use crate::gate::{Gate, Wanted, eventually, header};

/// `envoy/edge.yaml` is `envoy/sidecar.yaml` with TLS: made from it, so that the two never part.
fn edge_of(sidecar: &str) -> String {
    let mut text = sidecar.to_owned();
    let mut replace = |from: &str, to: &str| {
        assert_eq!(text.matches(from).count(), 1, "envoy/sidecar.yaml has changed: {from}");
        text = text.replace(from, to);
    };
    replace(
        "# ended by the ingress in front. The demo and the tests load this very file and change only addresses and paths.\n",
        "# ended here, with the certificate of envoy/edge-certificate.yaml. Made from envoy/sidecar.yaml by a test: edit that one.\n",
    );
    replace(
        "address: {socket_address: {address: 0.0.0.0, port_value: 8080}}\n",
        "address: {socket_address: {address: 0.0.0.0, port_value: 8443}}\n",
    );
    replace(
        "      filter_chains:\n        - filters:\n",
        "      filter_chains:\n        - transport_socket:\n            name: envoy.transport_sockets.tls\n            typed_config:\n              \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext\n              \
         common_tls_context:\n                alpn_protocols: [h2, http/1.1]\n                \
         tls_params: {tls_minimum_protocol_version: TLSv1_2}\n                tls_certificate_sds_secret_configs:\n                  \
         - name: edge\n                    sds_config: {path_config_source: {path: /etc/envoy/edge-certificate.yaml}}\n          \
         transport_socket_connect_timeout: 5s\n          filters:\n",
    );
    replace(
        "                  response_headers_to_remove:\n",
        "                  response_headers_to_add:\n                    \
         - header: {key: strict-transport-security, value: max-age=31536000}\n                      \
         append_action: OVERWRITE_IF_EXISTS_OR_ADD\n                  response_headers_to_remove:\n",
    );
    replace(
        "\n  clusters:\n",
        "\n    # Plain HTTP: nothing but the way to https.\n    - name: redirect\n      \
         address: {socket_address: {address: 0.0.0.0, port_value: 8080}}\n      per_connection_buffer_limit_bytes: 32768\n      \
         filter_chains:\n        - filters:\n            - name: envoy.filters.network.http_connection_manager\n              \
         typed_config:\n                \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n                \
         stat_prefix: redirect\n                request_headers_timeout: 10s\n                stream_idle_timeout: 10s\n                \
         common_http_protocol_options: {idle_timeout: 30s, max_headers_count: 100, headers_with_underscores_action: REJECT_REQUEST}\n                \
         max_request_headers_kb: 32\n                http2_protocol_options: {max_concurrent_streams: 100}\n                \
         http_filters:\n                  - name: envoy.filters.http.router\n                    typed_config:\n                      \
         \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n                \
         route_config:\n                  virtual_hosts:\n                    - name: all\n                      \
         domains: [\"*\"]\n                      routes: [{match: {prefix: /}, redirect: {https_redirect: true, response_code: PERMANENT_REDIRECT}}]\n\n  clusters:\n",
    );
    text
}

#[test]
fn the_edge_is_the_sidecar_with_tls() {
    let root = paths::repository().unwrap();
    let wanted = edge_of(&fs::read_to_string(root.join("envoy/sidecar.yaml")).unwrap());
    let file = root.join("envoy/edge.yaml");
    if fs::read_to_string(&file).unwrap_or_default() != wanted {
        assert!(
            std::env::var_os("DOCSGATE_UPDATE").is_some(),
            "envoy/edge.yaml is not current: DOCSGATE_UPDATE=1 writes it"
        );
        fs::write(&file, wanted).unwrap();
    }
    // With the files that it names in a folder of this test.
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let placed = folder.path().join("edge.yaml");
    fs::write(&placed, with_certificate(folder.path())).unwrap();
    envoy::validate(&placed).unwrap_or_else(|error| panic!("{error:#}"));
}

/// The text of `envoy/edge.yaml` with its certificate in `tls`.
fn with_certificate(tls: &Path) -> String {
    let root = paths::repository().unwrap().join("envoy");
    let secret = fs::read_to_string(root.join("edge-certificate.yaml")).unwrap();
    let file = tls.join("edge-certificate.yaml");
    fs::write(&file, secret.replace("/etc/envoy/tls", &tls.display().to_string())).unwrap();
    let text = fs::read_to_string(root.join("edge.yaml")).unwrap();
    text.replace("/etc/envoy/edge-certificate.yaml", &file.display().to_string())
}

/// A certificate for localhost in `folder`, in one step, and its authority.
fn certificate(folder: &Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let fresh = tempfile::Builder::new().prefix("..").tempdir_in(folder).unwrap().keep();
    fs::write(fresh.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(fresh.join("tls.key"), key.serialize_pem()).unwrap();
    for file in ["tls.crt", "tls.key"] {
        if !folder.join(file).exists() {
            std::os::unix::fs::symlink(Path::new("..data").join(file), folder.join(file)).unwrap();
        }
    }
    std::os::unix::fs::symlink(fresh.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    authority.pem()
}

#[test]
fn the_edge_ends_tls_follows_its_certificate_and_sends_plain_http_away() {
    let backend = Backend::start(&[]);
    let gate = Gate::with(Wanted { backend: Some(backend.address.clone()), ..Wanted::default() });
    let folder = crate::gate::open_folder();
    let tls = folder.path().join("tls");
    fs::create_dir(&tls).unwrap();
    let first = certificate(&tls);
    let text = with_certificate(&tls);
    let mut bootstrap: Value = serde_saphyr::from_str(&text).unwrap();
    let log = folder.path().join("access.jsonl");
    let addresses = envoy::Addresses {
        listen: "127.0.0.1:0".parse().unwrap(),
        authz_socket: gate.stack.authz.socket.clone(),
        backend: backend.address.clone(),
        backend_grpc: None,
    };
    envoy::place_patiently(&mut bootstrap, &addresses, &log).unwrap();
    bootstrap["static_resources"]["listeners"][1]["address"]["socket_address"] =
        json!({"address": "127.0.0.1", "port_value": 0});
    let edge = Envoy::start_with(&bootstrap, log, folder.path()).unwrap();

    let client = |authority: &str| {
        reqwest::blocking::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()])
            .build()
            .unwrap()
    };
    let url = format!("https://localhost:{}/echo", edge.listen.port());
    let answer = client(&first).get(&url).send().unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    assert_eq!(header(&answer, "strict-transport-security"), "max-age=31536000");
    // A renewed certificate, without a restart.
    let second = certificate(&tls);
    eventually("the renewed certificate", || client(&second).get(&url).send().ok());
    assert!(client(&first).get(&url).send().is_err());

    let listeners = docsgate_harness::http::get(&format!("{}/listeners?format=json", edge.admin_url)).unwrap().1;
    let listeners: Value = serde_json::from_str(&listeners).unwrap();
    let plain =
        listeners["listener_statuses"].as_array().unwrap().iter().find(|one| one["name"] == "redirect").unwrap();
    let port = plain["local_address"]["socket_address"]["port_value"].as_u64().unwrap();
    let seen = backend.received().len();
    let away = client(&first).get(format!("http://localhost:{port}/echo?q=1")).send().unwrap();
    assert_eq!(away.status(), 308);
    assert!(
        header(&away, "location").starts_with("https://localhost") && header(&away, "location").ends_with("/echo?q=1")
    );
    assert_eq!(backend.received().len(), seen);
}

/// The snippets, put into the smallest Envoy that could have been there before.
#[test]
fn the_joined_filter_and_cluster_are_valid_in_an_envoy_that_is_there() {
    let snippet: Value = serde_saphyr::from_str(
        &fs::read_to_string(paths::repository().unwrap().join("envoy/join/authz.yaml")).unwrap(),
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    fs::copy(folder.path().join("tls.crt"), folder.path().join("ca.crt")).unwrap();
    let router = json!({"name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    let mut filters = snippet["http_filters"].as_array().unwrap().clone();
    filters.push(router);
    let bootstrap = json!({"static_resources": {
        "listeners": [{"name": "theirs", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "theirs", "http_filters": filters,
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]},
            }}]}]}],
        "clusters": snippet["clusters"],
    }});
    let text = bootstrap.to_string().replace("/etc/envoy/authz", &folder.path().display().to_string());
    let file = folder.path().join("joined.json");
    fs::write(&file, text).unwrap();
    envoy::validate(&file).unwrap_or_else(|error| panic!("{error:#}"));
    // The filter is the sidecar's, word for word.
    let sidecar = envoy::shipped().unwrap();
    let ours = &sidecar["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        [0];
    for (setting, value) in snippet["http_filters"][0]["typed_config"].as_object().unwrap() {
        if setting != "grpc_service" {
            assert_eq!(&ours["typed_config"][setting], value, "{setting}");
        }
    }
}

#[test]
fn resources_of_envoy_gateway_and_istio_follow_their_published_schemas() {
    let mut objects = Vec::new();
    for name in ["envoy-gateway", "istio"] {
        let text = fs::read_to_string(paths::repository().unwrap().join(format!("envoy/join/{name}.yaml"))).unwrap();
        objects.extend(serde_saphyr::from_multiple::<Value>(&text).unwrap());
    }
    assert_eq!(objects.len(), 5);
    if let Some(faults) = faults(&objects) {
        panic!("{faults}");
    }
}
