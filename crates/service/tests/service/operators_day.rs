//! docs/operators-day.md, line by line, on the built program; between its sections users and edges do
//! what they do, and what edges are told is judged as they judge it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hallpass_session::wire::Created;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{HALLPASS, Served, folder};

const PAGE: &str = include_str!("../../../../docs/operators-day.md");
const SERVE: &str = "hallpass serve";

/// The day so far.
struct Day {
    folder: TempDir,
    environment: BTreeMap<String, String>,
    /// Lines of the page that are still to be run, each with its section.
    to_come: Vec<(&'static str, &'static str)>,
    served: Option<Served>,
}

impl Day {
    fn begin() -> Self {
        let folder = folder();
        let path = Path::new(HALLPASS).parent().unwrap().display();
        let path = format!("{path}:{}", std::env::var("PATH").unwrap());
        // The page's port may be taken where the tests run.
        let listen = "127.0.0.1:0".to_owned();
        let environment = [("PATH", path), ("HALLPASS_LISTEN", listen)];
        let mut to_come = lines();
        to_come.reverse();
        Self {
            folder,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            to_come,
            served: None,
        }
    }

    /// Runs the lines of a section, and returns what each said; words in capitals stand for values.
    fn section(&mut self, title: &str, values: &[(&str, &str)]) -> Vec<String> {
        let mut said = Vec::new();
        while self
            .to_come
            .last()
            .is_some_and(|(section, _)| *section == title)
        {
            said.push(self.line(values));
        }
        assert!(!said.is_empty(), "{title:?} comes next on the page");
        said
    }

    /// Runs the next line.
    fn line(&mut self, values: &[(&str, &str)]) -> String {
        let (_, line) = self.to_come.pop().unwrap();
        let words = line.split(' ').map(|word| {
            let value = values.iter().find(|(name, _)| *name == word);
            value.map_or(word, |(_, value)| value)
        });
        let line = words.collect::<Vec<_>>().join(" ");
        if let Some((name, value)) = line
            .strip_prefix("export ")
            .and_then(|it| it.split_once('='))
        {
            self.environment.insert(name.to_owned(), value.to_owned());
            return String::new();
        }
        if line == SERVE {
            self.serve();
            return String::new();
        }
        let output = self.sh(&line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn sh(&self, line: &str) -> Output {
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).current_dir(self.folder.path());
        shell.env_clear().envs(&self.environment).output().unwrap()
    }

    fn serve(&mut self) {
        let mut serve = Command::new(HALLPASS);
        serve.arg("serve").current_dir(self.folder.path());
        serve.env_clear().envs(&self.environment);
        self.served = Some(Served::spawn(serve, self.folder.path()));
    }

    fn served(&self) -> &Served {
        self.served.as_ref().unwrap()
    }

    /// Keys and list as an edge is given them, in files.
    async fn told_to_edges(&self, edge: &str) -> [PathBuf; 2] {
        let get = async |path: &str, file: &str| {
            let url = format!("{}{path}", self.served().url);
            let answer = reqwest::Client::new()
                .get(url)
                .bearer_auth(edge)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 200);
            let file = self.folder.path().join(file);
            std::fs::write(&file, answer.bytes().await.unwrap()).unwrap();
            file
        };
        [
            get("/v1/edge/keys", "keys.json").await,
            get("/v1/edge/revocations?after=0", "list.jose").await,
        ]
    }

    /// The code with which an edge refuses the token of a session now; none if it passes.
    async fn refused_by_edges(&self, edge: &str, session: &Created) -> Option<String> {
        let [keys, list] = self.told_to_edges(edge).await;
        let token = self.folder.path().join("token");
        std::fs::write(&token, &session.session_token).unwrap();
        let output = self.sh(&format!(
            "hallpass explain --json --keys {} --list {} token",
            keys.display(),
            list.display()
        ));
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        });
        verdict["code"].as_str().map(str::to_owned)
    }

    fn stop(&mut self) {
        assert_eq!(self.served.take().unwrap().terminate(), 0);
    }
}

/// Every line of the page that a shell runs, with the title of its section.
fn lines() -> Vec<(&'static str, &'static str)> {
    let mut lines = Vec::new();
    for section in PAGE.split("\n## ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        for block in text.split("```sh\n").skip(1) {
            let block = block.split("```").next().unwrap();
            lines.extend(block.lines().map(|line| (title, line)));
        }
    }
    lines
}

/// The one line that `init` shows of a name.
fn shown<'a>(said: &'a str, name: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_day_goes_as_the_page_says() {
    let mut day = Day::begin();
    let said = day.section("In the morning: a new deployment", &[]);
    let app = shown(&said[0], "APP_CREDENTIAL=").to_owned();
    assert!(said[3].starts_with("nothing is wrong"), "{}", said[3]);
    let secrets = std::fs::read(day.folder.path().join("edge-secrets.json")).unwrap();
    let secrets: Value = serde_json::from_slice(&secrets).unwrap();
    let edge = secrets["EDGE_CREDENTIAL"].as_str().unwrap();

    let said = day.section("A second app", &[]);
    let shop = said[0].trim();
    assert!(said[1].contains("shop") && !said[1].contains(shop));

    let (telephone, laptop) = (
        day.served().create(&app).await,
        day.served().create(shop).await,
    );
    assert_eq!(day.refused_by_edges(edge, &telephone).await, None);
    let lost = [("SID", telephone.session.sid.as_str())];
    let said = day.section("Somebody has lost a telephone", &lost);
    assert!(said[0].contains(&telephone.session.sid) && said[0].contains(&laptop.session.sid));
    assert!(said[3].contains("by admin"), "{}", said[3]);
    assert!(said[4].contains(&telephone.session.sid), "{}", said[4]);
    let revoked = Some("session_revoked".to_owned());
    assert_eq!(day.refused_by_edges(edge, &telephone).await, revoked);
    assert_eq!(day.refused_by_edges(edge, &laptop).await, None);

    let said = day.section("New keys, as a matter of routine", &[]);
    assert!(
        said[2].contains("published") && said[2].contains("signing"),
        "{}",
        said[2]
    );
    assert_eq!(day.refused_by_edges(edge, &laptop).await, None);

    let guest = day.served().create(shop).await;
    let said = day.section("In the evening: a backup", &[]);
    assert!(said[1].contains("whole: 3 sessions"), "{}", said[1]);

    let lost = [("SID", guest.session.sid.as_str())];
    day.line(&lost);
    day.stop();
    day.section("In the night: the disk is gone", &[]);
    for ended in [&telephone, &guest] {
        assert_eq!(day.refused_by_edges(edge, ended).await, revoked);
    }
    assert_eq!(day.refused_by_edges(edge, &laptop).await, None);
    day.served().renew(edge, &laptop.renewal_token).await;
    assert_eq!(day.to_come, []);
    day.stop();
}
