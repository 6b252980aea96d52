//! A small copy, and everything that can be wrong with one.

use super::{Cell, CopyError, Extent, Header, Kind, Read, Reader, Summary, TABLES, Writer};
use hallpass_session::time::UnixSeconds;

/// A row of each table, and a second session.
fn small() -> Vec<u8> {
    let mut file = Vec::new();
    let header = Header::new(1, "epoch".to_owned(), UnixSeconds::new(1_800_000_000));
    let mut writer = Writer::begin(&mut file, header).unwrap();
    for table in &TABLES {
        writer.table(table).unwrap();
        let rows = if table.name == "sessions" { 2 } else { 1 };
        for row in 0..rows {
            let cell = |column: &super::Column| match column.kind {
                _ if column.optional && row == 1 => Cell::Nothing,
                Kind::Number => Cell::Number(row),
                Kind::Text => Cell::Text("\u{1b}\"ü\n".to_owned()),
                Kind::Bytes => Cell::Bytes(vec![0, 255, 16]),
            };
            let cells: Vec<Cell> = table.columns.iter().map(cell).collect();
            writer.row(table, &cells).unwrap();
        }
    }
    writer.finish().unwrap();
    file
}

fn read(file: &[u8]) -> Result<(Vec<super::Row>, Summary), CopyError> {
    let mut reader = Reader::open(file)?;
    let mut rows = Vec::new();
    loop {
        match reader.read()? {
            Read::Row(row) => rows.push(row),
            Read::End(summary) => return Ok((rows, summary)),
        }
    }
}

/// What is said of a file that is refused.
fn refused(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

/// The copy with a change to each of its lines that `change` wants to change.
fn changed(change: impl Fn(usize, &str) -> Option<String>) -> Vec<u8> {
    let file = String::from_utf8(small()).unwrap();
    let lines = file.split_inclusive('\n').enumerate();
    let lines = lines.map(|(at, line)| change(at + 1, line).unwrap_or_else(|| line.to_owned()));
    lines.collect::<String>().into_bytes()
}

/// The number of the line that begins so.
fn line_of(start: &str) -> usize {
    let file = String::from_utf8(small()).unwrap();
    file.lines()
        .position(|line| line.starts_with(start))
        .unwrap()
        + 1
}

#[test]
fn reader_gives_what_the_writer_was_given() {
    let file = small();

    let (rows, summary) = read(&file).unwrap();

    assert_eq!(rows.len(), TABLES.len() + 1);
    assert_eq!(summary.rows["sessions"], 2);
    assert_eq!(summary.rows.len(), TABLES.len());
    assert_eq!(summary.bytes, u64::try_from(file.len()).unwrap());
    assert_eq!(summary.taken_at, 1_800_000_000);
    let session = rows.iter().rfind(|row| row.table.name == "sessions");
    let session = &session.unwrap().cells;
    assert_eq!(session[0], Cell::Bytes(vec![0, 255, 16]));
    assert_eq!(session[2], Cell::Text("\u{1b}\"ü\n".to_owned()));
    assert_eq!(session[8], Cell::Nothing);
}

#[test]
fn copy_cut_at_any_byte_is_refused() {
    let file = small();
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "{length} of {}", file.len());
    }
    assert!(read(&file).is_ok());
}

#[test]
fn copy_with_any_byte_changed_is_refused() {
    let file = small();
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut file = file.clone();
            file[at] ^= 1 << bit;
            assert!(read(&file).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn copy_with_a_line_less_more_or_moved_is_refused() {
    let file = String::from_utf8(small()).unwrap();
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    for at in 0..lines.len() {
        let without = [&lines[..at], &lines[at + 1..]].concat().concat();
        assert!(read(without.as_bytes()).is_err(), "without {}", at + 1);
        let twice = [&lines[..=at], &lines[at..]].concat().concat();
        assert!(read(twice.as_bytes()).is_err(), "{} twice", at + 1);
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 1) % lines.len());
        let same = swapped == lines;
        assert!(
            same || read(swapped.concat().as_bytes()).is_err(),
            "{}",
            at + 1
        );
    }
}

/// The copy with a text replaced in one line.
fn at(number: usize, from: &str, to: &str) -> Vec<u8> {
    changed(|at, line| (at == number).then(|| line.replacen(from, to, 1)))
}

fn assert_refused(file: &[u8], line: usize, problem: &str) {
    let said = refused(file);
    let start = format!("line {line}: ");
    let as_wanted = said.starts_with(&start) && said.contains(problem);
    assert!(as_wanted, "{problem}: {said}");
    assert!(said.chars().all(|c| !c.is_control()), "{said:?}");
}

#[test]
fn wrong_row_is_refused_by_its_line_and_column() {
    let session = line_of("{\"table\":\"sessions\"") + 1;
    let deep = format!("[{}", "[".repeat(100_000));
    let long = format!("[{}", " ".repeat(1 << 20));
    for (from, to, problem) in [
        ("\"AP8Q\"", "\"AP9\"", "sessions.sid: not base64url"),
        ("\"AP8Q\"", "7", "sessions.sid: not base64url"),
        ("\"AP8Q\"", "null", "sessions.sid: may not be null"),
        (",0,", ",-1,", "not an array"),
        (",0,", ",1.5,", "not an array"),
        (",0,", ",true,", "not an array"),
        (",0,", ",{\"a\":1},", "not an array"),
        (",0,", ",18446744073709551615,", "not an array"),
        (",0,", ",\"0\",", "sessions.idx: not a whole number"),
        (",0,", ",0,0,", "21 values where sessions has 20"),
        ("\"\\u001b", "\"\\u0000", "sessions.subject: not a text"),
        ("\"\\u001b", "\"\0", "not an array"),
        ("[", &deep, "not an array"),
        ("[", &long, "longer than"),
    ] {
        assert_refused(&at(session, from, to), session, problem);
    }
    assert_refused(&at(3, "[", "[[],"), 3, "not an array");
    assert_refused(&at(2, "head", "heads"), 2, "begins table head");
    assert_refused(&at(2, "{", "[1]\n{"), 2, "a row before any table");
}

#[test]
fn wrong_header_or_footer_is_refused_by_its_line() {
    let footer = line_of("{\"rows\"");
    assert_refused(b"", 1, "the file is empty");
    assert_refused(b"hello\n", 1, "no copy of a session table");
    assert_refused(b"{\"hallpass\":\"x\",\"version\":1}\n", 1, "no copy");
    for (from, to, problem) in [
        ("\"version\":1", "\"version\":2", "a newer hallpass"),
        ("\"schema\":1", "\"schema\":\"a\"", "not a header"),
        ("\"schema\"", "\"more\":1,\"schema\"", "not a header"),
    ] {
        assert_refused(&at(1, from, to), 1, problem);
    }
    for (from, to, problem) in [
        ("\"sessions\":2", "\"sessions\":3", "sessions has 2 rows"),
        ("\"sessions\":2", "\"sessions\":9999999999999", "2 rows"),
        ("\"events\":1,", "", "events has 1 rows"),
        ("\"rows\":{", "\"rows\":{\"a\":0,", "checksum"),
        ("\"sha256\":\"", "\"sha256\":\"0", "checksum"),
        ("}\n", "} \n", "checksum"),
    ] {
        assert_refused(&at(footer, from, to), footer, problem);
    }
    let more = at(footer, "}\n", "}\n\n");
    assert_refused(&more, footer + 1, "something follows");
}

#[test]
fn table_that_has_one_row_always_has_it() {
    for table in TABLES.iter().filter(|table| table.extent == Extent::One) {
        let first = line_of(&format!("{{\"table\":\"{}\"", table.name)) + 1;
        let none = changed(|at, _| (at == first).then(String::new));
        assert!(refused(&none).contains(table.name), "{}", table.name);
        let two = changed(|at, line| (at == first).then(|| line.repeat(2)));
        assert!(
            refused(&two).contains("must have one row"),
            "{}",
            table.name
        );
    }
}

#[test]
fn row_that_no_reader_would_take_is_not_written() {
    let header = Header::new(1, String::new(), UnixSeconds::new(0));
    let mut writer = Writer::begin(Vec::new(), header).unwrap();
    let cells = [Cell::Text("a".repeat(1 << 20))];

    let error = writer.row(&TABLES[0], &cells).unwrap_err();

    assert!(error.to_string().contains("a row of head"), "{error}");
}
