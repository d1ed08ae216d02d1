use std::{fs, os::unix::fs::symlink};

use super::*;

fn text(route: &str) -> String {
    format!(
        "apiVersion: docsgate/v1\nkind: Policy\nroutes: [{{name: {route}, match: {{path: /{route}}}, allow: anyone}}]\n"
    )
}

/// A source that is followed, and the names of its routes.
struct Followed {
    source: Arc<PolicySource>,
    task: tokio::task::JoinHandle<()>,
}

impl Followed {
    fn start(path: &Path) -> Self {
        let source = PolicySource::load(path, &mut Registry::default()).unwrap();
        let watched = Arc::clone(&source);
        let task = tokio::spawn(async move { watched.watch(|_| {}).await });
        Self { source, task }
    }

    async fn routes_after_reload(&self) -> String {
        self.source.reload().await;
        self.routes()
    }

    fn routes(&self) -> String {
        let snapshot = self.source.current();
        snapshot.router.routes().iter().map(|route| route.name.to_string()).collect::<Vec<_>>().join(" ")
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it is followed");
    }

    fn rejection(&self) -> Option<String> {
        self.source.status().last_rejection.map(|rejection| rejection.findings)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_config_map_swap_is_followed_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path();
    let version = |name: &str, files: &[(&str, String)]| {
        fs::create_dir(mount.join(name)).unwrap();
        for (file, text) in files {
            fs::write(mount.join(name).join(file), text).unwrap();
        }
    };
    // As the kubelet does it: files are links through `..data`, which is itself renamed into place.
    version("..v1", &[("a.yaml", text("one")), ("b.yaml", "corpora: {public: {}}\n".into())]);
    symlink("..v1", mount.join("..data")).unwrap();
    for file in ["a.yaml", "b.yaml"] {
        symlink(format!("..data/{file}"), mount.join(file)).unwrap();
    }
    let followed = Followed::start(mount);
    assert_eq!(followed.routes(), "one");
    version("..v2", &[("a.yaml", text("two")), ("b.yaml", "corpora: {public: {}}\n".into())]);
    symlink("..v2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    fs::remove_dir_all(mount.join("..v1")).unwrap();
    // Nobody asks for a look, and one is enough.
    followed.until(|followed| followed.routes() == "two").await;
    assert_eq!(followed.rejection(), None);
}

#[test]
fn only_links_that_all_lead_elsewhere_need_no_second_look() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("mount");
    for name in ["mount", "v1", "v2"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("plain.yaml"), text(name)).unwrap();
    }
    let look = || OnDisk::look(&mount).unwrap();
    let lead = |file: &str, version: &str| {
        let fresh = mount.join(".fresh");
        symlink(folder.path().join(version).join("plain.yaml"), &fresh).unwrap();
        fs::rename(fresh, mount.join(file)).unwrap();
    };
    // Files that are none: written in place, renamed over, or new beside others.
    let first = look();
    fs::write(mount.join("plain.yaml"), text("other")).unwrap();
    assert!(!look().is_swapped_since(&first));
    fs::rename(mount.join("plain.yaml"), mount.join("renamed.yaml")).unwrap();
    assert!(!look().is_swapped_since(&first));
    lead("link.yaml", "v1");
    assert!(!look().is_swapped_since(&first), "not every file is a link");
    fs::remove_file(mount.join("renamed.yaml")).unwrap();
    let linked = look();
    assert!(!linked.is_swapped_since(&first) && !look().is_swapped_since(&linked));
    fs::write(folder.path().join("v1/plain.yaml"), text("in place")).unwrap();
    assert!(!look().is_swapped_since(&linked), "written in place behind its link");
    lead("link.yaml", "v2");
    assert!(look().is_swapped_since(&linked));
}

#[tokio::test]
async fn edits_in_place_and_by_rename_are_followed_and_broken_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    fs::write(&path, text("one")).unwrap();
    let followed = Followed::start(&path);
    fs::write(&path, text("two")).unwrap();
    assert_eq!(followed.routes_after_reload().await, "two");
    let fresh = folder.path().join("fresh");
    fs::write(&fresh, text("three")).unwrap();
    fs::rename(&fresh, &path).unwrap();
    assert_eq!(followed.routes_after_reload().await, "three");

    let version = followed.source.status().version;
    let huge = "#".repeat(50 * 1024 * 1024);
    let half = &text("four")[..60];
    for broken in ["", "a: [", "apiVersion: docsgate/v1\nkind: Policy\n", half, "\0\u{1}", huge.as_str()] {
        fs::write(&path, broken).unwrap();
        assert_eq!(followed.routes_after_reload().await, "three");
        assert!(followed.rejection().is_some(), "{:?}", &broken[..broken.len().min(20)]);
    }
    fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    followed.source.reload().await;
    assert!(followed.rejection().unwrap().contains("not UTF-8"), "{:?}", followed.rejection());
    fs::remove_file(&path).unwrap();
    assert_eq!(followed.routes_after_reload().await, "three");
    assert!(followed.rejection().unwrap().contains("policy.yaml"));
    assert_eq!(followed.source.status().version, version);

    fs::write(&path, text("three")).unwrap();
    followed.source.reload().await;
    assert_eq!(followed.rejection(), None);
}

/// What editors, templates and enemies write: refused with its place, and the last good policy stays.
#[tokio::test]
async fn every_kind_of_broken_file_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let good = text("one");
    fs::write(&path, &good).unwrap();
    let followed = Followed::start(&path);
    let bomb = (0..9).fold("x: &a0 [z]\n".to_owned(), |text, level| {
        text + &format!("y{level}: &a{} [*a{level}, *a{level}, *a{level}, *a{level}]\n", level + 1)
    });
    let deep = format!("routes: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (broken, place, said) in [
        (bomb, "policy.yaml:1:8", "anchors and aliases are not supported"),
        (deep, "policy.yaml:1:", "recursion limit"),
        (format!("{good}corpora: {{}}\ncorpora: {{}}\n"), "policy.yaml:5:1", "`corpora` appears twice"),
        (format!("{good}limits:\n\tflood: {{}}\n"), "policy.yaml:5:", "tab"),
        (good.replace("[{name: one", "[{name: [one]"), "policy.yaml:3:", "expected text"),
        (good.replace("allow:", "alow:"), "policy.yaml:3:", "did you mean `allow`"),
    ] {
        fs::write(&path, &broken).unwrap();
        assert_eq!(followed.routes_after_reload().await, "one");
        let rejection = followed.rejection().unwrap();
        assert!(rejection.contains(place) && rejection.contains(said), "{place} {said}: {rejection}");
        assert!(rejection.len() < 10_000, "{} bytes for one mistake", rejection.len());
    }
    // A byte order mark is no mistake.
    fs::write(&path, format!("\u{feff}{}", text("two"))).unwrap();
    assert_eq!(followed.routes_after_reload().await, "two");
}

#[tokio::test]
async fn a_directory_that_vanishes_changes_nothing_and_is_followed_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("policy");
    fs::create_dir(&mount).unwrap();
    fs::write(mount.join("a.yaml"), text("one")).unwrap();
    let followed = Followed::start(&mount);
    fs::rename(&mount, folder.path().join("elsewhere")).unwrap();
    assert_eq!(followed.routes_after_reload().await, "one");
    assert!(followed.rejection().is_some());
    fs::create_dir(&mount).unwrap();
    assert_eq!(followed.routes_after_reload().await, "one");
    assert!(followed.rejection().unwrap().contains("no *.yaml file"));
    fs::write(mount.join("a.yaml"), text("two")).unwrap();
    assert_eq!(followed.routes_after_reload().await, "two");
    assert_eq!(followed.rejection(), None);
}

#[tokio::test]
async fn an_edit_takes_effect_without_being_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    fs::write(&path, text("one")).unwrap();
    let followed = Followed::start(&path);
    fs::write(&path, text("two")).unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(20), async {
        while followed.routes() != "two" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    seen.await.unwrap();
}

#[test]
fn cases_and_hidden_files_are_not_policy() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.yml", "a.yaml", "a.cases.yaml", "cases.yaml", ".hidden.yaml", "notes.txt"] {
        fs::write(folder.path().join(name), "x: 1\n").unwrap();
    }
    let names: Vec<String> = read(folder.path()).unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].ends_with("a.yaml") && names[1].ends_with("b.yml"), "{names:?}");
    let empty = tempfile::tempdir().unwrap();
    assert!(read(empty.path()).unwrap_err().contains("no *.yaml file"));
}
