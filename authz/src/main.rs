//! docsgate's Envoy ext_authz policy sidecar.

fn main() {}
