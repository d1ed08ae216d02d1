//! Servers that cannot be asked to listen at a free port.

use std::{fs, path::Path, time::Duration};

use docsgate_harness::{
    port,
    process::{Launch, Process},
};

/// Starts a server whose configuration names its port, and returns when it, and nobody else, listens there.
pub(crate) fn on_a_free_port(
    program: &Path,
    folder: &Path,
    config: impl Fn(u16) -> String,
    arguments: impl Fn(&str) -> Vec<String>,
) -> (Process, u16) {
    let name = program.file_name().unwrap().to_string_lossy().into_owned();
    for _ in 0..20 {
        let port = port::candidate().unwrap();
        let file = folder.join(format!("{name}-{port}.conf"));
        fs::write(&file, config(port)).unwrap();
        let log = folder.join(format!("{name}-{port}.log"));
        let launch = Launch::new(&name, program, log.clone())
            .args(arguments(&file.display().to_string()))
            .env("HOME", folder.display().to_string());
        let process = launch.spawn().unwrap();
        let own = format!("(process {})", process.pid());
        let listening = process.until(&format!("{name}'s listener"), Duration::from_secs(20), || {
            port::holder(port).filter(|holder| holder.ends_with(&own))
        });
        if listening.is_ok() {
            return (process, port);
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        assert!(said.to_ascii_lowercase().contains("in use"), "{name} does not start: {said}");
    }
    panic!("{name} found no free port");
}

/// Starts an nginx whose `http` block holds what `inside` gives for its port; its temporary files lie in `folder`.
pub(crate) fn nginx(program: &Path, folder: &Path, inside: impl Fn(u16) -> String) -> (Process, u16) {
    let config = |port: u16| {
        let own = |what: &str| folder.join(format!("nginx-{port}-{what}")).display().to_string();
        format!(
            "daemon off; master_process off; pid {pid}; error_log stderr info;
             events {{ worker_connections 64; }}
             http {{
                 access_log off;
                 client_body_temp_path {body}; proxy_temp_path {proxy}; fastcgi_temp_path {fastcgi};
                 uwsgi_temp_path {uwsgi}; scgi_temp_path {scgi};
                 {inside}
             }}",
            pid = own("pid"),
            body = own("body"),
            proxy = own("proxy"),
            fastcgi = own("fastcgi"),
            uwsgi = own("uwsgi"),
            scgi = own("scgi"),
            inside = inside(port),
        )
    };
    let prefix = folder.display().to_string();
    let arguments = |file: &str| vec!["-p".to_owned(), prefix.clone(), "-c".to_owned(), file.to_owned()];
    on_a_free_port(program, folder, config, arguments)
}
