//! The commands from outside: what they say when something is wrong, and that nothing they start
//! outlives them.

use std::io::{BufRead, BufReader, Error, Result};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

fn xtask(arguments: &[&str]) -> Result<Output> {
    Command::new(XTASK).args(arguments).output()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn dev_names_a_port_in_use_and_the_flag_before_it_does_anything() -> Result<()> {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = held.local_addr()?.port();
    let output = xtask(&["dev", "--ports", &format!("{port},1,2")])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(&format!("port {port} is in use")),
        "{}",
        said(&output)
    );
    assert!(
        said(&output).contains("--ports EDGE,SERVICE,APP"),
        "{}",
        said(&output)
    );
    Ok(())
}

#[test]
fn edge_names_a_settings_file_that_is_missing() -> Result<()> {
    let output = xtask(&[
        "edge",
        "--config",
        "/no/such/file",
        "--port",
        "0",
        "--no-build",
    ])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/no/such/file"), "{}", said(&output));
    assert!(output.stdout.is_empty());
    Ok(())
}

#[test]
fn service_refuses_a_setting_without_a_value() -> Result<()> {
    let output = xtask(&["service", "--port", "0", "--set", "issuer"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("expected NAME=VALUE"),
        "{}",
        said(&output)
    );
    Ok(())
}

#[test]
fn service_names_a_folder_without_the_programs() -> Result<()> {
    let mut command = Command::new(XTASK);
    command
        .args(["service", "--port", "0"])
        .env("HALLPASS_BIN_DIR", "/no/such/folder");
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("HALLPASS_BIN_DIR"),
        "{}",
        said(&output)
    );
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn tied_program_is_the_program_with_its_exit_code() -> Result<()> {
    let me = std::process::id().to_string();
    let output = xtask(&[
        "--tied-to-parent",
        &me,
        "sh",
        "-c",
        "echo $0 $1; exit 3",
        "a",
        "b",
    ])?;
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b\n");
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn tied_program_does_not_start_when_the_parent_is_gone_already() -> Result<()> {
    let output = xtask(&["--tied-to-parent", "1999999999", "echo", "started"])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn tied_program_ends_when_its_parent_is_killed() -> Result<()> {
    let script = format!("{XTASK} --tied-to-parent $$ sleep 1000 & echo $!; wait");
    let mut parent = shell(&script)?;
    let pid = first_line(&mut parent)?;
    let child = format!("/proc/{pid}/cmdline");
    until(|| std::fs::read(&child).is_ok_and(|line| line.starts_with(b"sleep")))?;
    parent.kill()?;
    parent.wait()?;
    // A killed orphan that nobody collects has no command line any more.
    until(|| std::fs::read(Path::new(&child)).map_or(true, |line| line.is_empty()))
}

fn shell(script: &str) -> Result<Child> {
    Command::new("sh")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .spawn()
}

fn first_line(child: &mut Child) -> Result<String> {
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| Error::other("no standard output"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Looks again and again until `condition` holds, for ten seconds at most.
fn until(condition: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > deadline {
            return Err(Error::other("waited in vain"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
