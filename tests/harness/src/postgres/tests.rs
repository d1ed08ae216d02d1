use super::*;

fn throw_away(folder: &Path) -> Options {
    Options { folder: folder.to_path_buf(), durable: false, settings: Vec::new() }
}

/// Readable for the unprivileged user that root lends, as a demo's state folder normally is.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn data_and_port_survive_a_restart() {
    let folder = open_folder();
    let first = Postgres::start(&throw_away(folder.path())).unwrap();
    first.create_database("docsgate_test").unwrap();
    first.create_database("docsgate_test").unwrap();
    first.sql("docsgate_test", "CREATE TABLE t (n int); INSERT INTO t VALUES (42)").unwrap();
    let port = first.port();
    drop(first);
    let second = Postgres::start(&throw_away(folder.path())).unwrap();
    assert_eq!(second.port(), port);
    assert_eq!(second.sql("docsgate_test", "SELECT n FROM t").unwrap().trim(), "42");
    assert!(second.sql("postgres", "SHOW server_version").unwrap().starts_with("18"));
}

#[test]
fn a_taken_port_is_avoided() {
    let folder = open_folder();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().port();
    fs::write(folder.path().join("port"), taken.to_string()).unwrap();
    let postgres = Postgres::start(&throw_away(folder.path())).unwrap();
    assert_ne!(postgres.port(), taken);
}

#[test]
fn a_folder_that_only_its_owner_reads_will_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let inner = folder.path().join("state");
    let postgres = Postgres::start(&throw_away(&inner)).unwrap();
    assert_eq!(postgres.sql("postgres", "SELECT 1").unwrap().trim(), "1");
    let away = postgres.data().parent().map(Path::to_path_buf).unwrap();
    drop(postgres);
    if !away.starts_with(folder.path().canonicalize().unwrap()) {
        fs::remove_dir_all(away).unwrap();
    }
}

#[test]
fn a_wrong_password_is_refused() {
    let folder = open_folder();
    let postgres = Postgres::start(&throw_away(folder.path())).unwrap();
    let url = postgres.url_as(OWNER, "wrong", "postgres");
    let output = Command::new(postgres.program("psql")).args(["-d", &url, "-c", "SELECT 1"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("password authentication failed"));
}

#[test]
fn a_pid_file_of_a_killed_server_is_no_obstacle() {
    let folder = open_folder();
    let first = Postgres::start(&throw_away(folder.path())).unwrap();
    first.process.kill();
    // This very test is alive, and is no postmaster.
    let file = first.data().join("postmaster.pid");
    let text = fs::read_to_string(&file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&file, format!("{}\n{rest}", std::process::id())).unwrap();
    let second = Postgres::start(&throw_away(folder.path())).unwrap();
    assert_eq!(second.sql("postgres", "SELECT 1").unwrap().trim(), "1");
}
