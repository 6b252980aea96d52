//! `hallpass explain` as an operator meets it: the real binary on files, standard input and a table.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::database::{Database, on_each_database};
use crate::running::Running;
use hallpass_session::base64url;
use hallpass_session::claims::SessionClaims;
use hallpass_session::revocation::encode_bitmap;
use hallpass_session::time::UnixSeconds;
use hallpass_session::wire::{ListBucket, ListClaims};
use hallpass_signature::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;

const NOW: u64 = 1_795_224_155;
const ISSUER: &str = "https://sessions.example";

/// Keys, a list that revokes index 8 and a good token of index 7, as files.
struct Case {
    folder: TempDir,
    key: SigningKey,
    list_key: SigningKey,
}

impl Case {
    fn new() -> Self {
        let case = Self {
            folder: tempfile::tempdir().unwrap(),
            key: SigningKey::generate("k1"),
            list_key: SigningKey::generate("l1"),
        };
        let keys = json!({
            "session": {"keys": [case.key.public_jwk()]},
            "list": {"keys": [case.list_key.public_jwk()]},
        });
        case.write("keys.json", &keys.to_string());
        case.write("list.jose", &case.list_key.sign_list(&list()).unwrap());
        case.write("token", &case.token(7, NOW + 240));
        case
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn token(&self, idx: u32, exp: u64) -> String {
        let claims = SessionClaims {
            iss: ISSUER.to_owned(),
            aud: "app".to_owned(),
            sub: "ada".to_owned(),
            sid: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            idx,
            iat: UnixSeconds::new(NOW - 60),
            exp: UnixSeconds::new(exp),
            auth_time: UnixSeconds::new(NOW - 60),
            nbf: None,
            amr: vec!["pwd".to_owned()],
            ext: None,
        };
        self.key.sign_session_token(&claims).unwrap()
    }

    /// Explains what comes by standard input.
    fn explain(&self, input: &str, more: &[&str]) -> Output {
        let at = NOW.to_string();
        let mut arguments = vec!["explain", "--issuer", ISSUER, "--audience", "app"];
        for flag in [
            ["--keys", "keys.json"],
            ["--list", "list.jose"],
            ["--at", &at],
        ] {
            if !more.contains(&flag[0]) {
                arguments.extend(flag);
            }
        }
        arguments.extend(more);
        run(self.folder.path(), &arguments, input)
    }

    fn json(&self, input: &str) -> Value {
        serde_json::from_slice(&self.explain(input, &["--json"]).stdout).unwrap()
    }
}

fn list() -> ListClaims {
    ListClaims {
        iss: ISSUER.to_owned(),
        iat: NOW - 3,
        exp: NOW + 297,
        epoch: "e1".to_owned(),
        began: NOW - 100_000,
        from: 0,
        to: 10,
        revoked_before: NOW - 1000,
        kids: vec!["k1".to_owned(), "k2".to_owned()],
        sessions: vec![ListBucket {
            exp: NOW + 360,
            idx: encode_bitmap(&[8].into_iter().collect()),
        }],
    }
}

fn run(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hallpass"))
        .current_dir(folder)
        .env_clear()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Header and payload of any text, with a signature that is nobody's.
fn unsigned(header: &Value, payload: &Value) -> String {
    let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
    format!("{}.{}.{}", part(header), part(payload), "A".repeat(86))
}

#[test]
fn explain_passes_a_good_token_however_it_is_given() {
    let case = Case::new();
    let token = case.token(7, NOW + 240);

    for input in [
        token.clone(),
        format!("Bearer {token}\n"),
        format!("__Host-session={token}"),
    ] {
        let output = case.explain(&input, &[]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let said = stdout(&output);
        assert!(said.contains("expires in 4 min 0 s (240 s)"), "{said}");
        assert!(
            said.ends_with("Verdict: passes.\nRenewal: not needed.\n"),
            "{said}"
        );
        assert!(said.is_ascii(), "nobody at a terminal: {said}");
    }
    assert_eq!(code(&case.explain("", &["token"])), 0, "by file");
}

#[test]
fn explain_says_what_refuses_a_token_and_goes_on() {
    let case = Case::new();

    let report = case.json(&case.token(8, NOW - 12));

    assert_eq!(report["code"], "token_expired");
    assert_eq!(
        (&report["status"], &report["renewal"]),
        (&json!(401), &json!("vain"))
    );
    assert_eq!(report["token"]["expires_in_secs"], -12);
    let broken = |rule: &&Value| rule["outcome"] == "broken";
    let broken: Vec<&Value> = report["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(broken)
        .collect();
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert_eq!(broken[0]["rule"], "not_expired");
    assert_eq!(
        broken[0]["says"],
        "expired 12 s ago, at 2026-11-21T01:22:23Z"
    );
    assert_eq!(broken[1]["rule"], "not_revoked");
}

#[test]
fn explain_answers_with_its_exit_code() {
    let case = Case::new();
    let long = "a".repeat((64 << 10) + 1);

    assert_eq!(code(&case.explain(&case.token(8, NOW + 240), &[])), 1);
    assert_eq!(code(&case.explain("nonsense", &[])), 1);
    for (input, more) in [
        ("", &[][..]),
        (long.as_str(), &[]),
        ("a.b.c", &["--at", "soon"]),
        ("a.b.c", &["--keys", "absent.json"]),
        ("a.b.c", &["--keys", "-"]),
        ("a.b.c", &["--list", "token"]),
    ] {
        let output = case.explain(input, more);
        assert_eq!(code(&output), 2, "{more:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn explain_reads_times_in_both_forms() {
    let case = Case::new();
    let token = case.token(7, NOW + 240);

    for (at, expected) in [
        ("2026-11-21T01:26:34Z", 0),
        ("2026-11-21T01:26:35Z", 1),
        ("1795224395", 1),
    ] {
        assert_eq!(code(&case.explain(&token, &["--at", at])), expected, "{at}");
    }
}

#[test]
fn explain_prints_neither_signature_nor_token() {
    let case = Case::new();
    let good = case.token(7, NOW + 240);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let payload = input.split_once('.').unwrap().1;

    for token in [
        &good,
        &case.token(8, NOW - 1),
        &good.replace('.', ".."),
        &format!("{good}x"),
    ] {
        for more in [&[][..], &["--json"]] {
            let output = case.explain(token, more);
            let said = stdout(&output) + &stderr(&output);
            assert!(
                !said.contains(signature) && !said.contains(payload),
                "{said}"
            );
        }
    }
    for pasted in [&[good.as_str()][..], &["Bearer", &good]] {
        let output = case.explain("", pasted);
        assert_eq!(code(&output), 2);
        assert!(
            stderr(&output).contains("never as an argument"),
            "{}",
            stderr(&output)
        );
        assert!(!stderr(&output).contains(payload));
    }
}

#[test]
fn explain_tells_a_renewal_token_apart_without_printing_it() {
    let case = Case::new();
    let renewal = format!("hp1.{}", "Zm9v".repeat(20));

    for input in [renewal.clone(), format!("Cookie: __Host-renewal={renewal}")] {
        let output = case.explain(&input, &[]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains("renewal token") && !stderr(&output).contains("Zm9v"));
    }
}

#[test]
fn explain_prints_hostile_texts_inert() {
    let case = Case::new();
    let hostile = format!("\u{1b}[2J\u{202e}\r\n\u{7}{}", "x".repeat(300));
    let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "session+jwt"});
    let odd_header = json!({"alg": hostile, "kid": hostile, "typ": hostile, hostile.clone(): 1});
    let payload = json!({
        "iss": hostile, "aud": hostile, "sub": "ada", "sid": "AAAAAAAAAAAAAAAAAAAAAA", "idx": 7,
        "iat": NOW, "exp": NOW + 9, "auth_time": NOW,
    });
    let odd_payload = json!({"sub": hostile, "sid": hostile});

    for token in [
        unsigned(&header, &payload),
        unsigned(&header, &odd_payload),
        unsigned(&odd_header, &payload),
        unsigned(
            &json!({"alg": "EdDSA", "kid": hostile, "typ": "session+jwt"}),
            &payload,
        ),
        hostile.clone(),
    ] {
        for more in [&[][..], &["--json"]] {
            let output = case.explain(&token, more);
            assert_eq!(code(&output), 1);
            let said = stdout(&output);
            assert!(
                said.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')),
                "{said}"
            );
            assert!(!said.contains(&"x".repeat(81)), "{said}");
        }
    }
}

#[test]
fn explain_calls_a_key_that_only_the_list_has_an_outage() {
    let case = Case::new();
    let header = json!({"alg": "EdDSA", "kid": "k2", "typ": "session+jwt"});
    let payload = json!({
        "iss": ISSUER, "aud": "app", "sub": "ada", "sid": "AAAAAAAAAAAAAAAAAAAAAA", "idx": 7,
        "iat": NOW, "exp": NOW + 9, "auth_time": NOW,
    });

    let report = case.json(&unsigned(&header, &payload));

    assert_eq!(
        (&report["code"], &report["status"]),
        (&json!("service_unavailable"), &json!(503))
    );
    assert_eq!(report["proven"], false);
}

#[test]
fn explain_refuses_keys_and_lists_that_an_edge_would_refuse() {
    let case = Case::new();
    let forged = SigningKey::generate("l1").sign_list(&list()).unwrap();
    let foreign = ListClaims {
        iss: "https://other".to_owned(),
        ..list()
    };
    case.write("forged.jose", &forged);
    case.write("foreign.jose", &case.list_key.sign_list(&foreign).unwrap());
    case.write("private.json", r#"{"keys":[{"kty":"OKP","d":"AAAA"}]}"#);

    for (more, words) in [
        (["--keys", "private.json"], "a key is private"),
        (["--list", "forged.jose"], "signature is bad"),
        (["--list", "foreign.jose"], "another issuer"),
    ] {
        let output = case.explain("a.b.c", &more);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn explain_prints_what_the_documentation_shows() {
    let case = Case::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explain.md");
    let page = std::fs::read_to_string(page).unwrap();

    let said = stdout(&case.explain(&case.token(8, NOW - 12), &[]));

    assert!(page.contains(&format!("```text\n{said}```\n")), "{said}");
    let report = case.json(&case.token(8, NOW - 12));
    for member in report.as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{member}`")), "{member}");
    }
    for rule in report["rules"].as_array().unwrap() {
        let rule = rule["rule"].as_str().unwrap();
        assert!(page.contains(&format!("| `{rule}` |")), "{rule}");
    }
}

#[test]
fn inspect_shows_claims_that_nobody_vouches_for() {
    let case = Case::new();
    let payload = json!({
        "iss": ISSUER, "aud": "\u{1b}[2J", "sub": "ada", "sid": "AAAAAAAAAAAAAAAAAAAAAA", "idx": 7,
        "iat": NOW, "exp": NOW + 9, "auth_time": NOW, "ext": {"\u{9b}": "\u{202e}"},
    });
    let header = json!({"alg": "EdDSA", "kid": "k9", "typ": "session+jwt"});
    let inspect = |input: &str, more: &[&str]| {
        run(
            case.folder.path(),
            &[&["token", "inspect"], more].concat(),
            input,
        )
    };

    let token = unsigned(&header, &payload);
    for more in [&[][..], &["--json"]] {
        let output = inspect(&token, more);
        assert_eq!(code(&output), 0);
        assert!(
            output
                .stdout
                .iter()
                .all(|byte| matches!(byte, b'\n' | b' '..=b'~'))
        );
    }
    assert!(stdout(&inspect(&token, &[])).contains("Nobody vouches"));
    let said: Value = serde_json::from_slice(&inspect(&token, &["--json"]).stdout).unwrap();
    assert_eq!(
        (&said["kid"], &said["exp"]),
        (&json!("k9"), &json!(NOW + 9))
    );
    assert_eq!(code(&inspect("nonsense", &[])), 1);
}

async fn explain_judges_by_the_table_when_no_file_is_given(database: Database) {
    let running = Running::start(database).await;
    let (kept, ended) = (running.create("ada").await, running.create("ada").await);
    let path = format!("/v1/sessions/{}", ended.session.sid);
    running.delete(&path, &running.app).await;
    let url = running.table.url();
    let at = running.now().to_string();
    let folder = tempfile::tempdir().unwrap();
    let explain = |token: &str, url: &str| {
        let arguments = ["explain", "--database-url", url, "--at", &at];
        run(folder.path(), &arguments, token)
    };

    assert_eq!(code(&explain(&kept.session_token, &url)), 0);
    let said = stdout(&explain(&ended.session_token, &url));
    assert!(said.contains("session_revoked, HTTP 401"), "{said}");
}

#[test]
fn explain_makes_no_table_where_there_is_none() {
    let case = Case::new();
    let arguments = ["explain", "--database-url", "sqlite://absent.db"];

    let output = run(case.folder.path(), &arguments, &case.token(7, NOW + 240));

    assert_eq!(code(&output), 3);
    assert!(!case.folder.path().join("absent.db").exists());
}

on_each_database![explain_judges_by_the_table_when_no_file_is_given,];
