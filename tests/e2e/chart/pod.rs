//! The gate's pod without a cluster: its processes with the rendered arguments, environment, files and probes, started and
//! ended in the kubelet's order, while readers ask.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use docsgate_harness::copilot::{Docs, verify_key};
use docsgate_harness::process::{Launch, Process};
use docsgate_harness::{http, paths, tools};
use serde_json::Value;

use super::release::{Release, containers};

const PATIENCE: Duration = Duration::from_secs(60);

/// A pod of the release on an address of its own in 127.0.0.0/8, with the rendered ports.
struct Pod {
    spec: Value,
    address: Ipv4Addr,
    volumes: BTreeMap<String, PathBuf>,
    logs: PathBuf,
}

impl Pod {
    /// Makes the volumes as the kubelet does.
    fn new(objects: &[Value], folder: &Path) -> Self {
        let gate =
            objects.iter().find(|object| object["metadata"]["name"] == "docs-gate" && object["kind"] == "Deployment");
        let spec = gate.expect("the gate")["spec"]["template"]["spec"].clone();
        let id = std::process::id();
        let byte = |shift: u32| u8::try_from((id >> shift) & 0x7f).unwrap() + 1;
        let mut pod = Self {
            spec: spec.clone(),
            address: Ipv4Addr::new(127, byte(14), byte(7), byte(0)),
            volumes: BTreeMap::new(),
            logs: folder.join("logs"),
        };
        let names =
            spec["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap().to_owned());
        for name in names {
            let at = folder.join(&name);
            fs::create_dir(&at).unwrap();
            pod.volumes.insert(name, at);
        }
        for volume in spec["volumes"].as_array().unwrap() {
            let at = &pod.volumes[volume["name"].as_str().unwrap()];
            if let Some(name) = volume["configMap"].get("name") {
                let map =
                    objects.iter().find(|object| object["kind"] == "ConfigMap" && &object["metadata"]["name"] == name);
                let data = map.unwrap()["data"].as_object().unwrap();
                let files = data.iter().map(|(file, text)| (file.as_str(), pod.here(text.as_str().unwrap())));
                project(at, "1", &files.collect::<Vec<_>>());
            } else if volume["secret"]["secretName"] == "grant" {
                project(at, "1", &[("grant.keys", format!("k1:{}\n", "0123456789abcdef".repeat(4)))]);
            }
        }
        pod
    }

    /// A rendered text with the paths and addresses of this pod.
    fn here(&self, text: &str) -> String {
        let mut text = text.replace("0.0.0.0", &self.address.to_string());
        text = text.replace("127.0.0.1", &self.address.to_string());
        let mut mounts: Vec<(&str, &str)> = containers(&self.spec)
            .filter_map(|container| container["volumeMounts"].as_array())
            .flatten()
            .map(|mount| (mount["mountPath"].as_str().unwrap(), mount["name"].as_str().unwrap()))
            .collect();
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (path, name) in mounts {
            text = text.replace(path, &self.volumes[name].display().to_string());
        }
        text
    }

    fn container(&self, name: &str) -> &Value {
        containers(&self.spec).find(|container| container["name"] == name).unwrap()
    }

    fn strings(&self, list: &Value) -> Vec<String> {
        list.as_array().into_iter().flatten().map(|text| self.here(text.as_str().unwrap())).collect()
    }

    fn start(&self, name: &str) -> Process {
        let container = self.container(name);
        let mut launch = Launch::new(name, &program(name), self.logs.join(name)).args(self.strings(&container["args"]));
        for entry in container["env"].as_array().into_iter().flatten() {
            launch = launch.env(entry["name"].as_str().unwrap(), self.here(entry["value"].as_str().unwrap()));
        }
        launch.spawn().unwrap()
    }

    /// Waits until a probe of this container is satisfied.
    fn wait(&self, process: &Process, name: &str, probe: &str) {
        let probe = &self.container(name)[probe]["httpGet"];
        let port = self.port(name, probe["port"].as_str().unwrap());
        let url = format!("http://{}:{port}{}", self.address, probe["path"].as_str().unwrap());
        let ok = || http::get(&url).ok().filter(|(status, _)| (200..400).contains(status)).map(drop);
        process.until(&url, PATIENCE, ok).unwrap();
    }

    fn port(&self, container: &str, name: &str) -> u64 {
        let ports = self.container(container)["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
    }
}

fn program(name: &str) -> PathBuf {
    if name == "envoy" { tools::envoy().unwrap() } else { paths::binary(name).unwrap() }
}

/// Puts files into a mounted folder as the kubelet does: links through `..data`, which is replaced in one step.
fn project(at: &Path, version: &str, files: &[(&str, String)]) {
    let data = at.join(format!("..{version}"));
    fs::create_dir(&data).unwrap();
    for (name, text) in files {
        fs::write(data.join(name), text).unwrap();
        if !at.join(name).exists() {
            symlink(Path::new("..data").join(name), at.join(name)).unwrap();
        }
    }
    symlink(data.file_name().unwrap(), at.join("..data_tmp")).unwrap();
    fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
}

/// Readers who ask all the time, on connections that they keep.
struct Readers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(url: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let reader = |_| {
            let (url, stop, answered) = (url.to_owned(), Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(&url).send().unwrap();
                    // Refused by a limit is an answer; anything else than these two is a failure.
                    assert!([200, 429].contains(&answer.status().as_u16()), "{answer:?}");
                    answer.bytes().unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self { threads: (0..3).map(reader).collect(), stop, answered }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.answered.load(Ordering::Relaxed)
    }
}

#[test]
fn the_pod_starts_follows_its_policy_and_ends_without_a_failed_request() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = folder.path().join("built");
    for corpus in ["public", "member"] {
        let docs = Docs {
            corpus: corpus.to_owned(),
            folder: paths::repository().unwrap().join("docs").join(corpus),
            site_url: "https://docs.example.org/".to_owned(),
        };
        docs.index(&artifacts).unwrap();
    }
    let objects = Release::of("bare", &[], &[]).objects();
    let pod_folder = folder.path().join("p");
    fs::create_dir(&pod_folder).unwrap();
    let pod = Pod::new(&objects, &pod_folder);
    for corpus in ["public", "member"] {
        let name = format!("{corpus}.docsgate");
        fs::copy(artifacts.join(&name), pod.volumes["artifacts"].join(&name)).unwrap();
    }
    project(&pod.volumes["verify"], "1", &[("key", fs::read_to_string(verify_key(&artifacts)).unwrap())]);

    // Native sidecars in their order, each when the one before has started; then Envoy.
    let sidecars: Vec<&str> =
        pod.spec["initContainers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(sidecars, ["authz", "copilot"]);
    let mut running = Vec::new();
    for name in sidecars {
        assert_eq!(pod.container(name)["restartPolicy"], "Always", "a native sidecar");
        let process = pod.start(name);
        pod.wait(&process, name, "startupProbe");
        running.push((name, process));
    }
    let envoy = pod.start("envoy");
    for (name, process) in running.iter().map(|(name, process)| (*name, process)).chain([("envoy", &envoy)]) {
        pod.wait(process, name, "readinessProbe");
    }

    let url = format!("http://{}:{}/api/docs-search?q=rate+limits", pod.address, pod.port("envoy", "http"));
    let readers = Readers::start(&url);

    // An edit of the ConfigMap is followed.
    let policy = fs::read_to_string(pod.volumes["policy"].join("policy.yaml")).unwrap();
    let origin = "https://edited.example.org";
    let edited = policy
        .replace("- https://docs.hybridops.tech\n", &format!("- https://docs.hybridops.tech\n      - {origin}\n"));
    assert!(edited != policy);
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let allowed = || {
        let answer = client.get(&url).header("origin", origin).send().unwrap();
        answer.headers().contains_key("access-control-allow-origin").then_some(())
    };
    assert!(allowed().is_none());
    project(&pod.volumes["policy"], "2", &[("policy.yaml", edited)]);
    envoy.until("the edited policy", PATIENCE, allowed).unwrap();

    drop(client);
    // The end comes while readers are being served, however slow the machine is.
    let served = || (readers.answered.load(Ordering::Relaxed) > 50).then_some(());
    envoy.until("fifty answers", PATIENCE, served).unwrap();
    end(&pod, running, &envoy, readers);
}

/// As the kubelet ends a pod: all hooks at once; then the containers, then the sidecars from the last to the first.
fn end(pod: &Pod, mut running: Vec<(&str, Process)>, envoy: &Process, readers: Readers) {
    let hook = pod.strings(&pod.container("authz")["lifecycle"]["preStop"]["exec"]["command"]);
    assert_eq!(hook[0], "/usr/local/bin/authz");
    let hook_wait = hook.iter().find_map(|word| word.strip_prefix("--wait-seconds=")).unwrap().to_owned();
    let drain = std::thread::spawn(move || Command::new(program("authz")).args(&hook[1..]).output().unwrap());
    let sleep = pod.container("envoy")["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();

    // Envoy still answers, and every answer ends its connection.
    let url = format!("http://{}:{}/healthz", pod.address, pod.port("envoy", "http"));
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let lets_go = || {
        let answer = client.get(&url).send().unwrap();
        (answer.headers().get("connection").is_some_and(|value| value == "close")).then_some(())
    };
    envoy.until("`connection: close`", PATIENCE, lets_go).unwrap();
    // The load balancer has heard that this pod goes, and its readers ask another one.
    assert!(readers.stop() > 50);
    let drained = drain.join().unwrap();
    let said = String::from_utf8_lossy(&drained.stdout).into_owned();
    assert!(drained.status.success(), "{said}{}", String::from_utf8_lossy(&drained.stderr));
    assert!(said.contains("left: 0"), "{said}");
    // Envoy's own hook lasts longer than authz waits, so that Envoy is stopped after what was just seen, and not before.
    let wait: u64 = hook_wait.parse().unwrap();
    assert!(sleep > wait, "Envoy is stopped after {sleep} s, and authz may wait for {wait}");

    assert!(envoy.stop(PATIENCE).unwrap().success(), "{}", envoy.obituary());
    while let Some((name, process)) = running.pop() {
        assert!(process.stop(PATIENCE).is_some_and(|status| status.success()), "{name}: {}", process.obituary());
    }
    // The hooks, and then what authz and copilot give themselves, one after the other.
    const DRAIN: u64 = 10;
    let grace = pod.spec["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(sleep + 2 * DRAIN < grace, "the kubelet kills what has not ended after {grace} s");
}
