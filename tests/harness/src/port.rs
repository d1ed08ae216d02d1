//! TCP ports: one to try for a server that cannot be asked for a free one, and who holds one, as far as `/proc` tells.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Result, bail};

use crate::random;

/// Below the range that the kernel gives to clients, so that only another server can be there.
const CANDIDATES: std::ops::Range<u16> = 15_000..32_000;

/// A port to try. Nobody holds it until then: a server that finds it taken ends, and is given another.
///
/// # Errors
/// When the kernel gives nothing random.
pub fn candidate() -> Result<u16> {
    let number = u16::from_be_bytes(random::bytes()?);
    Ok(CANDIDATES.start + number % (CANDIDATES.end - CANDIDATES.start))
}

/// Fails, with the holder and a remedy, when `address` cannot be listened on.
///
/// Envoy shares its port with other Envoys of the same user (`SO_REUSEPORT`), so it would not notice by itself.
///
/// # Errors
/// When the port is in use or the address is not one of this machine.
pub fn ensure_free(address: SocketAddr) -> Result<()> {
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        bail!("cannot listen on {address}: {error}");
    }
    let by = holder(address.port()).map(|who| format!(" by {who}")).unwrap_or_default();
    bail!("{address} is already in use{by}: stop that process, or choose another address with --listen 127.0.0.1:PORT")
}

/// The process that listens on `port`: its name and id.
#[must_use]
pub fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>())
        .collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue; // not a process, or the link `self`
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| wanted.iter().any(|socket| target.as_os_str() == socket.as_str()));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {})", name.trim(), process.file_name().to_string_lossy()));
        }
    }
    None
}

fn listening_inode(line: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let held = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (state == LISTEN && held == port).then(|| inode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_its_holder_and_a_remedy() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = ensure_free(held.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.contains("already in use by"), "{error}");
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        assert!(error.contains("--listen"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_refused_in_words() {
        let error = ensure_free("192.0.2.1:8080".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("cannot listen on 192.0.2.1:8080"), "{error}");
    }
}
