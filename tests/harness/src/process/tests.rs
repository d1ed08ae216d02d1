use super::*;

fn shell(folder: &Path, script: &str) -> Process {
    Launch::new("shell", Path::new("/bin/sh"), folder.join("shell.log")).args(["-c", script]).spawn().unwrap()
}

#[test]
fn a_dead_child_is_named_with_status_log_and_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "echo out of luck >&2; exit 3");
    assert_eq!(process.wait_at_most(Duration::from_secs(10)).unwrap().code(), Some(3));
    let text = process.obituary();
    assert!(text.contains("shell (process ") && text.contains("exit status 3"), "{text}");
    assert!(text.contains("shell.log") && text.contains("out of luck"), "{text}");
}

#[test]
fn waiting_for_a_condition_ends_when_the_child_does() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "exit 7");
    let error = process.until("nothing", Duration::from_secs(60), || None::<()>).unwrap_err().to_string();
    assert!(error.contains("exit status 7"), "{error}");
}

#[test]
fn a_child_that_ignores_the_polite_signal_is_killed_with_its_own_children() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "trap '' TERM; sleep 1000 & echo $!; wait; wait; sleep 1000");
    let grandchild = process
        .until("the grandchild", Duration::from_secs(10), || {
            tail(process.log(), 1).first().and_then(|line| line.parse::<i32>().ok())
        })
        .unwrap();
    let status = process.stop(Duration::from_millis(100)).unwrap();
    assert_eq!(status.signal(), Some(9));
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(grandchild) {
        assert!(Instant::now() < deadline, "the grandchild {grandchild} still runs");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_child_has_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "sleep 1000 & echo $!");
    let _ = process.wait_at_most(Duration::from_secs(10));
    let grandchild: i32 = tail(process.log(), 1)[0].parse().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(grandchild) {
        assert!(Instant::now() < deadline, "the grandchild {grandchild} still runs");
        std::thread::yield_now();
    }
}

fn is_running(pid: i32) -> bool {
    // A zombie that nobody reaps in a container has ended too.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn children_survive_the_thread_that_asked_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    let process = std::thread::spawn(move || shell(&path, "sleep 1000")).join().unwrap();
    assert!(process.wait_at_most(Duration::from_millis(200)).is_none(), "{}", process.obituary());
}

#[test]
fn settings_in_the_operators_shell_do_not_leak_into_a_child() {
    let folder = tempfile::tempdir().unwrap();
    let process = shell(folder.path(), "env");
    let _ = process.wait_at_most(Duration::from_secs(10));
    let text = fs::read_to_string(process.log()).unwrap();
    assert!(text.contains("PATH="), "{text}");
    assert!(!text.contains("CARGO_MANIFEST_DIR"), "{text}");
}
