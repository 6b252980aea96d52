//! Backups, and tables that move from one database to another.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hallpass_service::copy::{Cell, Column, Header, Kind, Reader, Summary, TABLES, Writer};
use hallpass_service::store::sql::{Arrival, SqlStore, export, import};
use hallpass_session::time::UnixSeconds;
use serde_json::{Value, json};
use sqlx::Row;

use crate::command::{Served, command, failed, folder, said};
use crate::database::{Database, Table, on_each_database};
use crate::running::{Running, START};

/// More than are read or written at a time, and no multiple of either.
const MANY: i64 = 2345;

/// A copy with everything that a table can hold, made without a database.
fn crafted() -> Vec<u8> {
    let mut file = Vec::new();
    let header = Header::new(1, "crafted".to_owned(), UnixSeconds::new(START));
    let mut writer = Writer::begin(&mut file, header).unwrap();
    for table in &TABLES {
        writer.table(table).unwrap();
        let rows = match table.name {
            "sessions" | "renewals" | "revocations" | "audit" | "events" => MANY,
            "keyring" => 3,
            "credentials" | "idempotency" => 201,
            _ => 1,
        };
        for row in 1..=rows {
            let cell = |column: &Column| crafted_cell(table.name, column, row);
            let cells: Vec<Cell> = table.columns.iter().map(cell).collect();
            writer.row(table, &cells).unwrap();
        }
    }
    writer.finish().unwrap();
    file
}

fn crafted_cell(table: &str, column: &Column, row: i64) -> Cell {
    if column.optional && row % 3 == 0 {
        return Cell::Nothing;
    }
    let text = match (table, column.name) {
        ("keyring", "kind") => ["list", "renewal", "session"][usize::try_from(row).unwrap() - 1],
        (_, "scope") => "edge",
        (_, "ended_by") => "user",
        ("head", "epoch") => "crafted",
        ("credentials", "id") => &format!("{row:03}-Ää"),
        _ => "ü \u{1f600} \"\\ \t\u{7f} trailing ",
    };
    let length = match column.name {
        "branch" => 8,
        "sid" => 16,
        "secret" => 300,
        _ => 32,
    };
    match column.kind {
        Kind::Number if ["persistent", "sealed"].contains(&column.name) => Cell::Number(row % 2),
        Kind::Number if column.name == "list_exp" => Cell::Number(row * 60),
        Kind::Number if column.name == "restored_at" => Cell::Number(0),
        Kind::Number => Cell::Number(row),
        Kind::Text => Cell::Text(text.to_owned()),
        Kind::Bytes => {
            let mut bytes = vec![0xff; length];
            bytes[..8].copy_from_slice(&row.to_be_bytes());
            Cell::Bytes(bytes)
        }
    }
}

async fn put(table: &Table, file: &[u8], arrival: Arrival) -> Summary {
    let reader = Reader::open(file).unwrap();
    let now = UnixSeconds::new(START);
    import(&table.url(), now, reader, arrival, |_| {})
        .await
        .unwrap()
}

async fn taken(table: &Table) -> Vec<u8> {
    let mut file = Vec::new();
    let now = UnixSeconds::new(START);
    export(&table.url(), now, &mut file, |_| {}).await.unwrap();
    file
}

fn same(found: &[u8], wanted: &[u8], database: Database) {
    let [found, wanted] = [found, wanted].map(|file| std::str::from_utf8(file).unwrap());
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted, "{database:?}");
    }
    assert_eq!(found.len(), wanted.len(), "{database:?}");
}

const MOVED: Arrival = Arrival::Moved { journal: None };

#[tokio::test(flavor = "multi_thread")]
async fn table_moves_through_every_database_and_comes_back_the_same() {
    let file = crafted();
    for database in [
        Database::Sqlite,
        Database::Postgresql,
        Database::Mariadb,
        Database::Sqlite,
    ] {
        let table = Table::new(database);
        let summary = put(&table, &file, MOVED).await;
        assert_eq!(summary.rows["sessions"], MANY.unsigned_abs());
        same(&taken(&table).await, &file, database);
    }
}

async fn moved_table_goes_on_where_it_was(database: Database) {
    let service = Running::start(database).await;
    let (kept, ended) = (service.create("ada").await, service.create("ada").await);
    let path = format!("/v1/sessions/{}", ended.session.sid);
    service.delete(&path, &service.app).await;
    let before = service
        .get("/v1/edge/revocations?after=0", &service.edge)
        .await;
    let file = taken(&service.table).await;
    let elsewhere = Table::new(database);
    put(&elsewhere, &file, MOVED).await;
    service.stop().await;

    let service = Running::start_in(elsewhere, "").await;

    let after = service
        .get("/v1/edge/revocations?after=0", &service.edge)
        .await;
    assert_eq!(after.list_header().position, before.list_header().position);
    service.renewed(&kept.renewal_token).await;
    let refused = service.renew(&ended.renewal_token).await;
    refused.refused(401, "session_revoked");
}

#[tokio::test]
async fn every_column_of_the_schema_is_copied() {
    let table = Table::new(Database::Sqlite);
    let clock = Arc::new(hallpass_service::clock::SystemClock::default());
    SqlStore::open(&table.url(), 1, clock).await.unwrap();
    let columns = "SELECT m.name || '.' || p.name FROM sqlite_master m \
                   JOIN pragma_table_info(m.name) p \
                   WHERE m.type = 'table' AND m.name NOT LIKE '\\_%' ESCAPE '\\' \
                   AND m.name NOT LIKE 'sqlite%' AND m.name <> 'processes' ORDER BY 1";
    let rows = sqlx::query(columns).fetch_all(&mut table.sql().await).await;
    let found: Vec<String> = rows.unwrap().iter().map(|row| row.get(0)).collect();

    let copied = TABLES
        .iter()
        .flat_map(|table| table.names().map(|name| format!("{}.{name}", table.name)));
    let mut copied: Vec<String> = copied.collect();
    copied.sort();

    assert_eq!(found, copied);
}

/// A folder whose commands keep one journal, whatever database they are told.
struct Place {
    folder: tempfile::TempDir,
    table: Table,
}

impl Place {
    fn on(database: Database) -> Self {
        let (folder, table) = (folder(), Table::new(database));
        let place = Self { folder, table };
        place.use_table();
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What is in the settings file is what commands use.
    fn use_table(&self) {
        let url = self.table.url();
        let settings = format!("database_url = \"{url}\"\njournal_file = \"journal\"\n");
        std::fs::write(self.path().join("hallpass.toml"), settings).unwrap();
    }

    /// Puts an empty database in place.
    fn lose_table(&mut self, database: Database) {
        self.table = Table::new(database);
        self.use_table();
    }

    fn said(&self, arguments: &[&str]) -> String {
        said(
            self.path(),
            &[arguments, &["--config", "hallpass.toml"]].concat(),
        )
    }

    fn report(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn failed(&self, arguments: &[&str]) -> (i32, String) {
        failed(
            self.path(),
            &[arguments, &["--config", "hallpass.toml"]].concat(),
        )
    }

    fn serve(&self) -> Served {
        Served::start(self.path(), &["--config", "hallpass.toml"])
    }

    fn credential(&self, scope: &str) -> String {
        self.said(&["credentials", "create", "--scope", scope])
    }

    fn end(&self, sid: &str) {
        self.said(&["sessions", "revoke", sid]);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.path());
        command.args(arguments).args(["--config", "hallpass.toml"]);
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

async fn renewal(served: &Served, edge: &str, token: &str) -> (u16, Value) {
    let body = json!({"renewal_token": token});
    let answer = served.post("/v1/edge/renew", edge, &body).await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn backup_under_load_forgets_no_revocation_and_signs_nobody_else_out(database: Database) {
    let mut place = Place::on(database);
    let (edge, app) = (place.credential("edge"), place.credential("app"));
    let served = Arc::new(place.serve());
    let mut sessions = Vec::new();
    for _ in 0..24 {
        sessions.push(served.create(&app).await);
    }
    let (ended_before, rest) = sessions.split_at(4);
    let (ended_after, lively) = rest.split_at(4);
    for ended in ended_before {
        place.end(&ended.session.sid);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut browsers = Vec::new();
    for created in lively {
        let (served, stop) = (Arc::clone(&served), Arc::clone(&stop));
        let (edge, mut token) = (edge.clone(), created.renewal_token.clone());
        browsers.push(tokio::spawn(async move {
            let mut renewals = 0;
            while !stop.load(Ordering::Relaxed) {
                let (status, answer) = renewal(&served, &edge, &token).await;
                // On a busy machine a renewal may be refused; nobody is signed out by that.
                if status == 503 {
                    assert_eq!(answer["code"], "service_unavailable");
                    continue;
                }
                answer["renewal_token"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut token);
                renewals += 1;
            }
            (token, renewals)
        }));
    }
    let backed_up = place.report(&["backup", "copy.jsonl"]);
    assert_eq!(backed_up["rows"]["sessions"], 24);
    for ended in ended_after {
        place.end(&ended.session.sid);
    }
    let lost = [served.create(&app).await, served.create(&app).await];
    place.end(&lost[1].session.sid);
    stop.store(true, Ordering::Relaxed);
    let mut latest = Vec::new();
    let mut renewals = 0;
    for browser in browsers {
        let (token, count) = browser.await.unwrap();
        latest.push(token);
        renewals += count;
    }
    assert!(renewals > lively.len(), "{renewals} renewals are no load");
    assert_eq!(Arc::into_inner(served).unwrap().terminate(), 0);

    place.lose_table(database);
    let restored = place.said(&["restore", "copy.jsonl"]);
    assert!(restored.contains("hallpass recover"), "{restored}");
    let (code, refused) = place.failed(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(
        code == 1 && refused.contains("hallpass recover"),
        "{refused}"
    );
    let recovered = place.report(&["recover", "--yes"]);
    assert_eq!(recovered["backup_taken_at"], backed_up["taken_at"]);
    assert_eq!(recovered["revocations_known"], 4);
    assert_eq!(recovered["revocations_reapplied"], 4);
    assert_eq!(recovered["lost_sessions_at_least"], 2);

    let served = place.serve();
    for ended in ended_before.iter().chain(ended_after) {
        let (status, problem) = renewal(&served, &edge, &ended.renewal_token).await;
        assert_eq!((status, &problem["code"]), (401, &json!("session_revoked")));
    }
    for token in &latest {
        let (status, answer) = renewal(&served, &edge, token).await;
        assert_eq!(status, 200, "{answer}");
    }
    for created in &lost {
        let (status, problem) = renewal(&served, &edge, &created.renewal_token).await;
        assert_eq!((status, &problem["code"]), (401, &json!("renewal_unknown")));
    }
}

async fn only_one_of_two_restores_at_once_is_done(database: Database) {
    let place = Place::on(database);
    std::fs::write(place.file("copy"), crafted()).unwrap();

    let restores = [(); 2].map(|()| {
        let mut restore = place.command(&["restore", "copy"]);
        let restore = restore.stdout(Stdio::piped()).stderr(Stdio::piped());
        restore.spawn().unwrap()
    });
    let done = restores.map(|restore| restore.wait_with_output().unwrap());

    let said = done
        .each_ref()
        .map(|done| String::from_utf8_lossy(&done.stderr));
    let codes = done.each_ref().map(|done| done.status.code().unwrap());
    assert_eq!(
        codes.iter().filter(|code| **code == 0).count(),
        1,
        "{said:?}"
    );
    let refused = said.concat();
    assert!(
        refused.contains("has keyring already") || refused.contains("busy"),
        "{refused}"
    );
    let mut copy = taken(&place.table).await;
    let mut whole = crafted();
    for file in [&mut copy, &mut whole] {
        // The one has the mark of a restored table and so another checksum.
        let text = String::from_utf8(std::mem::take(file)).unwrap();
        let lines = text.lines().filter(|line| !line.contains("\"sha256\""));
        let marked = format!("1,{START}]");
        *file = lines
            .map(|line| line.replace(&marked, "1,0]"))
            .collect::<String>()
            .into_bytes();
    }
    same(&copy, &whole, database);
}

async fn damaged_copy_leaves_nothing(database: Database) {
    let place = Place::on(database);
    let whole = crafted();
    let last_line = whole.len() - 300;
    std::fs::write(place.file("cut"), &whole[..last_line]).unwrap();
    let text = String::from_utf8(whole).unwrap();
    let wrong = text.replacen("\"user\"", "\"nobody\"", 1);
    std::fs::write(place.file("wrong"), wrong).unwrap();
    let twice = text.replacen(",7,\"", ",7,\"\\u001b[2J", 1);
    std::fs::write(place.file("twice"), twice).unwrap();

    let (code, cut) = place.failed(&["restore", "cut"]);
    assert!(
        code == 1 && cut.contains("line 12") && cut.contains("cut off"),
        "{cut}"
    );
    let (code, wrong) = place.failed(&["restore", "wrong"]);
    assert!(
        code == 1 && wrong.contains("lines 4") && wrong.contains("refused"),
        "{wrong}"
    );
    let (code, twice) = place.failed(&["restore", "twice"]);
    assert!(code == 1 && twice.contains("checksum"), "{twice}");
    for said in [cut, wrong, twice] {
        // Before it, how far it was.
        let last = said.lines().next_back().unwrap();
        assert!(last.starts_with("hallpass: "), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }

    std::fs::write(place.file("whole"), text).unwrap();
    place.said(&["restore", "whole"]);
}

async fn copy_goes_into_an_empty_table_only(database: Database) {
    let place = Place::on(database);
    std::fs::write(place.file("copy"), crafted()).unwrap();
    place.credential("app");
    let before = taken(&place.table).await;

    for into in [["restore", "copy"], ["table", "import"]] {
        let mut import = place.command(&into);
        let output = import
            .stdin(std::fs::File::open(place.file("copy")).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("has credentials already"), "{said}");
    }

    assert!(taken(&place.table).await == before);
}

async fn interrupted_restore_leaves_nothing(database: Database) {
    let place = Place::on(database);
    let whole = crafted();
    let mut restore = place.command(&["restore", "-"]);
    let mut restore = restore
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = restore.stdin.take().unwrap();
    // Once the pipe has taken it, all but what a pipe and a buffer hold has been read.
    pipe.write_all(&whole[..whole.len() - 1000]).unwrap();

    let pid = restore.id().to_string();
    let status = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(status.success());
    let output = restore.wait_with_output().unwrap();
    drop(pipe);

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    std::fs::write(place.file("whole"), whole).unwrap();
    place.said(&["restore", "whole"]);
}

on_each_database![
    moved_table_goes_on_where_it_was,
    backup_under_load_forgets_no_revocation_and_signs_nobody_else_out,
    only_one_of_two_restores_at_once_is_done,
    damaged_copy_leaves_nothing,
    copy_goes_into_an_empty_table_only,
    interrupted_restore_leaves_nothing,
];

#[test]
fn backup_is_private_whole_and_over_no_other_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::on(Database::Sqlite);
    place.credential("app");
    std::fs::write(place.file("precious"), "precious").unwrap();
    std::os::unix::fs::symlink("nowhere", place.file("link")).unwrap();

    place.said(&["backup", "copy"]);
    let mode = std::fs::metadata(place.file("copy"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let dry = place.report(&["restore", "copy", "--dry-run"]);
    assert_eq!(dry["rows"]["credentials"], 1);

    let (code, text) = place.failed(&["backup", "precious"]);
    assert!(code == 1 && text.contains("--force"), "{text}");
    for (name, more) in [
        ("link", None),
        ("link", Some("--force")),
        (".", Some("--force")),
    ] {
        let arguments: Vec<&str> = ["backup", name].into_iter().chain(more).collect();
        let (code, text) = place.failed(&arguments);
        assert!(code == 1 && text.contains("no ordinary file"), "{text}");
    }
    let (code, text) = place.failed(&["backup", "no/such/folder"]);
    assert!(code == 1 && text.contains("no/such"), "{text}");
    assert_eq!(std::fs::read(place.file("precious")).unwrap(), b"precious");

    place.said(&["backup", "precious", "--force"]);
    place.said(&["restore", "precious", "--dry-run"]);
    assert!(
        leftovers(place.path()).is_empty(),
        "{:?}",
        leftovers(place.path())
    );
}

fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|file| file.to_string_lossy().contains(".part"))
        .collect()
}

#[test]
fn backup_on_a_full_disk_leaves_nothing() {
    let place = Place::on(Database::Sqlite);
    std::fs::write(place.file("copy"), crafted()).unwrap();
    place.said(&["table", "import", "copy"]);

    let script = "trap '' XFSZ; ulimit -f 100; exec \"$@\"";
    let backup = place.command(&["backup", "second"]);
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(backup.get_program())
        .args(backup.get_args())
        .current_dir(place.path())
        .env_clear()
        .output()
        .unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("second") && said.contains("large"), "{said}");
    assert!(!place.file("second").exists());
    assert!(
        leftovers(place.path()).is_empty(),
        "{:?}",
        leftovers(place.path())
    );
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = place
        .command(&["table", "export"])
        .stdout(full)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("space"),
        "{said}"
    );
}

#[test]
fn backup_makes_no_database_and_wants_its_schema() {
    let place = Place::on(Database::Sqlite);
    let (code, text) = place.failed(&["backup", "copy"]);
    assert!(
        code == 3 && text.contains("there is no such file"),
        "{text}"
    );
    assert!(!place.table.file().exists());

    std::fs::write(place.table.file(), "").unwrap();
    let (code, text) = place.failed(&["backup", "copy"]);
    assert!(code == 1 && text.contains("hallpass migrate"), "{text}");
    assert!(!place.file("copy").exists());
}

#[tokio::test]
async fn copy_that_the_journal_has_left_behind_is_not_moved() {
    let mut place = Place::on(Database::Sqlite);
    let app = place.credential("app");
    let served = place.serve();
    let (one, two) = (served.create(&app).await, served.create(&app).await);
    place.end(&one.session.sid);
    place.said(&["table", "export", "copy"]);
    place.end(&two.session.sid);
    assert_eq!(served.terminate(), 0);
    place.lose_table(Database::Sqlite);

    let (code, text) = place.failed(&["table", "import", "copy"]);

    assert!(code == 1 && text.contains("hallpass restore"), "{text}");
    place.said(&["restore", "copy"]);
    place.said(&["recover", "--yes"]);
}
