//! The command `hallpass-demo` as a process: what it prints, when it refuses to start, how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

/// Port 0: a free one.
const ANY_PORT: &str = "127.0.0.1:0";

/// The command with every setting in order.
fn command(listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass-demo"));
    command
        .env_clear()
        .env("APP_CREDENTIAL", "hpc_app_test")
        .env("ASSERTION_KEY", KEY)
        .env("HALLPASS_ISSUER", "http://127.0.0.1:8788")
        .args(["--listen", listen])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A started command, killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn output_of(command: &mut Command) -> Output {
    command.output().expect("starts")
}

#[test]
fn command_names_the_missing_setting_and_exits_2() {
    for name in ["APP_CREDENTIAL", "ASSERTION_KEY", "HALLPASS_ISSUER"] {
        let output = output_of(command(ANY_PORT).env_remove(name));
        assert_eq!(output.status.code(), Some(2), "{name}");
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(
            error.starts_with(&format!("hallpass-demo: {name}")),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn command_names_the_port_in_use_and_exits_1() {
    let taken = TcpListener::bind(ANY_PORT).expect("a free port");
    let address = taken.local_addr().expect("an address");
    let output = output_of(&mut command(&address.to_string()));
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains(&format!("port {} is in use", address.port())),
        "{error}"
    );
}

#[test]
fn command_help_names_every_setting_and_no_secret() {
    let output = output_of(command(ANY_PORT).arg("--help"));
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).expect("text");
    for setting in [
        "--listen",
        "--service-url",
        "--issuer",
        "--audience",
        "HALLPASS_ISSUER",
        "ASSERTION_AUDIENCE",
        "APP_CREDENTIAL",
        "ASSERTION_KEY",
    ] {
        assert!(help.contains(setting), "{setting} in {help}");
    }
    assert!(
        !help.contains(KEY) && !help.contains("hpc_app_test"),
        "{help}"
    );
}

#[cfg(unix)]
#[test]
fn command_says_ready_and_ends_on_sigterm() {
    let mut running = Running(command(ANY_PORT).spawn().expect("starts"));
    let mut stdout = BufReader::new(running.0.stdout.take().expect("piped"));
    let mut ready = String::new();
    stdout.read_line(&mut ready).expect("a line");
    let address = ready
        .strip_prefix("ready http://")
        .and_then(|rest| rest.strip_suffix('\n'))
        .expect("a ready line");
    let mut idle = std::net::TcpStream::connect(address).expect("connects");

    let id = running.0.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.expect("kill runs").success());
    assert!(running.0.wait().expect("ends").success());

    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("an end");
    assert_eq!(rest, "", "one line only");
    let unread = idle.read(&mut [0]).unwrap_or(0);
    assert_eq!(unread, 0, "the open connection has ended");
}
