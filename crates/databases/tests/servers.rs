//! Both servers, really started: what they are asked to keep they keep, and nothing of them stays.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use hallpass_databases::{Durability, Kind, Server};

/// Set in the process that is killed.
const VICTIM: &str = "HALLPASS_DATABASES_VICTIM";

/// Writes a row, has the server end, and reads the row from the server started anew.
fn row_outlives(kind: Kind, end: fn(&Server) -> Result<()>) -> Result<()> {
    let server = Server::create(kind, Durability::Full)?;
    let database = server.new_database()?;
    database.ask("CREATE TABLE kept (id INTEGER)")?;
    database.ask("INSERT INTO kept VALUES (7)")?;
    let url = database.url();

    end(&server)?;
    assert!(server.ask("SELECT 1").is_err(), "it has ended");
    server.start()?;

    assert_eq!(database.ask("SELECT id FROM kept")?, "7");
    assert_eq!(database.url(), url);
    Ok(())
}

#[test]
fn postgresql_keeps_what_was_written_when_stopped() -> Result<()> {
    row_outlives(Kind::Postgresql, Server::stop)
}

#[test]
fn postgresql_keeps_what_was_written_when_killed() -> Result<()> {
    row_outlives(Kind::Postgresql, Server::kill)
}

#[test]
fn mariadb_keeps_what_was_written_when_stopped() -> Result<()> {
    row_outlives(Kind::Mariadb, Server::stop)
}

#[test]
fn mariadb_keeps_what_was_written_when_killed() -> Result<()> {
    row_outlives(Kind::Mariadb, Server::kill)
}

#[test]
fn databases_of_a_server_are_empty_and_their_own() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::shared(kind)?;
        let (one, two) = (server.new_database()?, server.new_database()?);
        one.ask("CREATE TABLE things (id INTEGER)")?;
        two.ask("CREATE TABLE things (id INTEGER)")?;
        assert_ne!(one.url(), two.url());
    }
    Ok(())
}

#[test]
fn dropped_server_leaves_no_folder() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::create(kind, Durability::None)?;
        let log = server.log();
        assert!(log.exists());
        drop(server);
        assert!(!log.parent().context("in a folder")?.exists());
    }
    Ok(())
}

/// In a process of its own, which this very test is in again.
#[test]
fn server_of_a_killed_process_leaves_nothing() -> Result<()> {
    if env::var_os(VICTIM).is_some() {
        for kind in Kind::ALL {
            println!("log {}", Server::shared(kind)?.log().display());
        }
        println!("ready");
        loop {
            thread::park();
        }
    }
    let mut victim = Command::new(env::current_exe()?)
        .args([
            "--exact",
            "server_of_a_killed_process_leaves_nothing",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = BufReader::new(victim.stdout.take().context("piped")?);
    let mut lines = output.lines();
    let mut logs = Vec::new();
    for line in lines.by_ref() {
        let line = line?;
        if let Some((_, log)) = line.split_once("log ") {
            logs.push(log.to_owned());
        }
        if line == "ready" {
            break;
        }
    }
    assert_eq!(logs.len(), 2);

    victim.kill()?;
    victim.wait()?;

    for log in logs {
        let folder = Path::new(&log).parent().context("in a folder")?.to_owned();
        while folder.exists() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
