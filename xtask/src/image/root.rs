//! A root folder with what an image holds, and programs started in it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use docsgate_harness::process::{Launch, Process};

/// Libraries of the runtime base, gcr.io/distroless/cc-debian12.
const BASE: [&str; 6] =
    ["libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"];
/// The images' user.
const USER: u32 = 65532;
/// Folders that the chart gives a volume.
const VOLUMES: [&str; 2] = ["run/docsgate", "var/cache/docsgate"];

/// A root with one program.
#[derive(Debug)]
pub(super) struct Root {
    at: PathBuf,
    program: String,
    way: Way,
}

/// How a program gets this folder as its root, and uid 65532 as its user. The first that the machine allows is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As root, on a mount of its own that is read-only even for its owner; volumes are mounts in it that are not.
    Mount,
    /// As root, where mounts are not allowed, as in many containers: files belong to root and nobody may write.
    Chroot,
    /// As anybody, in a user namespace: nobody may write, for want of the right on every folder.
    UserNamespace,
}

impl Way {
    fn of_this_machine() -> Result<Self> {
        let allowed = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
        };
        if rustix::process::geteuid().is_root() {
            if allowed("unshare", &["--mount", "true"]) {
                return Ok(Self::Mount);
            }
            if allowed("chroot", &["/", "true"]) {
                return Ok(Self::Chroot);
            }
        } else if allowed("unshare", &["--user", "--map-user=65532", "--map-group=65532", "true"]) {
            return Ok(Self::UserNamespace);
        }
        bail!(
            "this machine allows neither mount namespaces, nor chroot, nor user namespaces: the images cannot be tried here"
        )
    }
}

impl Root {
    /// Makes a root with `program`, the base's libraries as this machine has them, certificates, and empty volumes.
    pub(super) fn new(at: &Path, program: &Path) -> Result<Self> {
        let name = program.file_name().and_then(|name| name.to_str()).context("a program has a name")?;
        let way = Way::of_this_machine()?;
        let root = Self { at: at.to_path_buf(), program: format!("/usr/local/bin/{name}"), way };
        root.copy(program, &format!("usr/local/bin/{name}"))?;
        for library in libraries(program)? {
            let file = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            ensure!(
                BASE.contains(&file) || file.starts_with("ld-linux"),
                "{name} needs {}, which the runtime base does not have",
                library.display()
            );
            let inside = library.strip_prefix("/").unwrap_or(&library);
            root.copy(&library, &inside.display().to_string())?;
        }
        let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
        if certificates.is_file() {
            root.copy(certificates, "etc/ssl/certs/ca-certificates.crt")?;
        }
        for volume in VOLUMES {
            fs::create_dir_all(root.path(volume))?;
            if way != Way::UserNamespace {
                chown(root.path(volume), Some(USER), Some(USER))?;
            }
        }
        Ok(root)
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.at.join(inside)
    }

    /// Writes a file, as a mounted ConfigMap or Secret brings it.
    pub(super) fn put(&self, inside: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444))?;
        Ok(())
    }

    fn copy(&self, from: &Path, inside: &str) -> Result<()> {
        let to = self.path(inside);
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// How the program is started here: a command and its arguments.
    fn inside(&self, arguments: &[&str]) -> (&'static str, Vec<String>) {
        let at = self.at.display().to_string();
        let user = format!("--userspec={USER}:{USER}");
        let (command, mut all) = match self.way {
            Way::Mount => {
                let volumes: String =
                    VOLUMES.iter().map(|volume| format!("mount --bind \"$0/{volume}\" \"$0/{volume}\" && ")).collect();
                let script = format!(
                    "mount --bind \"$0\" \"$0\" && {volumes}mount -o remount,bind,ro \"$0\" && exec chroot {user} \"$0\" \"$@\""
                );
                ("unshare", vec!["--mount".to_owned(), "sh".to_owned(), "-c".to_owned(), script, at])
            }
            Way::Chroot => ("chroot", vec![user, at]),
            Way::UserNamespace => {
                let identity = [format!("--map-user={USER}"), format!("--map-group={USER}"), format!("--root={at}")];
                ("unshare", ["--user".to_owned()].into_iter().chain(identity).collect())
            }
        };
        all.push(self.program.clone());
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        (command, all)
    }

    /// Takes the right to write from everything but the volumes: where there is no mount, that makes the tree read-only.
    fn seal(&self) -> Result<()> {
        if self.way != Way::Mount {
            for folder in ["", "etc", "etc/docsgate", "artifacts", "usr", "usr/local", "usr/local/bin"] {
                let path = self.path(folder);
                if path.is_dir() {
                    fs::set_permissions(path, fs::Permissions::from_mode(0o555))?;
                }
            }
        }
        Ok(())
    }

    /// Runs the program to its end and returns what it said.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String> {
        let (command, all) = self.inside(arguments);
        let output = Command::new(found(command)?).args(all).env_clear().output().context(command)?;
        if !output.status.success() {
            bail!("{} {arguments:?}: {}", self.program, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts the program.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Process> {
        self.seal()?;
        let (command, all) = self.inside(arguments);
        let log = self.at.with_extension("log");
        Launch::new(&self.program, &found(command)?, log).args(all).spawn()
    }
}

/// Where a program of the system lies; `chroot` is not on everybody's `PATH`.
fn found(name: &str) -> Result<PathBuf> {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|folder| Path::new(folder).join(name));
    places.into_iter().find(|path| path.is_file()).with_context(|| format!("`{name}` is missing"))
}

/// What the dynamic linker would load.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && !text.contains("not found"), "ldd {}: {text}", program.display());
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(text.lines().filter_map(path).collect())
}

impl Drop for Root {
    /// So that the folder can be removed.
    fn drop(&mut self) {
        for folder in ["", "etc", "etc/docsgate", "artifacts", "usr", "usr/local", "usr/local/bin"] {
            let _ = fs::set_permissions(self.path(folder), fs::Permissions::from_mode(0o755));
        }
    }
}
