//! Ports on 127.0.0.1: whether one is free, and who holds one that is not.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Result, anyhow, bail};

/// Fails unless `port` can be listened on; `flag` is how to choose another.
///
/// # Errors
/// When the port is taken: names who holds it, where the system says so.
pub(crate) fn require_free(port: u16, flag: &str) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let holder = holder(port)
                .map(|holder| format!(" by {holder}"))
                .unwrap_or_default();
            bail!("port {port} is in use{holder}: stop it, or choose another with {flag}")
        }
        Err(error) => Err(anyhow!("port {port} cannot be used: {error}")),
    }
}

/// Whether nobody listens on the port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The program that listens on the port, as `name (process 123)`; Linux, own processes only.
pub(crate) fn holder(port: u16) -> Option<String> {
    let sockets = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = sockets
        .iter()
        .find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, port))?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let process = processes
        .filter(|entry| is_process(&entry.file_name()))
        .find(|process| {
            let opened = fs::read_dir(process.path().join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            opened
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|to| to == Path::new(&socket))
        })?;
    let name = fs::read_to_string(process.path().join("comm")).ok()?;
    Some(format!(
        "{} (process {})",
        name.trim(),
        process.file_name().to_string_lossy()
    ))
}

/// Processes are the numbers; `self`, which leads to this one, is not.
fn is_process(name: &OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}

/// The inode of the socket that listens on `port` in the kernel's table of sockets.
fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let local = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&local) && *fields.get(3)? == LISTEN;
        listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 0100007F:2253 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
        1: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n";

    #[test]
    fn listening_inode_passes_over_connections() {
        assert_eq!(listening_inode(TABLE, 0x2253).as_deref(), Some("222"));
    }

    #[test]
    fn listening_inode_finds_nothing_for_another_port() {
        assert_eq!(listening_inode(TABLE, 0x2254), None);
    }

    #[test]
    fn require_free_names_the_port_the_holder_and_the_flag() -> Result<()> {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = held.local_addr()?.port();
        let text = require_free(port, "--ports")
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(
            text.starts_with(&format!("port {port} is in use")),
            "{text}"
        );
        assert!(text.ends_with("choose another with --ports"), "{text}");
        if cfg!(target_os = "linux") {
            assert!(
                text.contains(&format!("(process {})", std::process::id())),
                "{text}"
            );
        }
        Ok(())
    }

    #[test]
    fn require_free_takes_a_port_nobody_holds() -> Result<()> {
        require_free(0, "--ports")
    }
}
