//! The settings: the committed wrangler.toml is good, and what is wrong is named.

use hallpass_edge::config::Settings;
use hallpass_edge::secrets::Secrets;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

/// The table of the committed wrangler.toml, as the Worker receives it.
fn committed() -> Value {
    let text = include_str!("../../wrangler.toml");
    let file: toml::Table = text.parse().expect("wrangler.toml is TOML");
    serde_json::to_value(&file["vars"]["HALLPASS"]).expect("a table is JSON")
}

fn fault(value: &Value) -> String {
    Settings::parse(&value.to_string())
        .expect_err("a bad setting")
        .to_string()
}

fn changed(path: &str, value: Value) -> Value {
    let mut settings = committed();
    *settings.pointer_mut(path).expect("a setting") = value;
    settings
}

fn with(name: &str, value: Value) -> Value {
    let mut settings = committed();
    settings[name] = value;
    settings
}

fn key(byte: u8) -> String {
    hallpass_session::base64url::encode(&[byte; 32])
}

#[wasm_bindgen_test(unsupported = test)]
fn parse_accepts_the_committed_settings() {
    let settings = Settings::parse(&committed().to_string()).expect("good settings");

    assert_eq!(settings.policy.audience, "hallpass-demo");
    assert_eq!(settings.largest_list_age().get(), 10);
    assert_eq!(settings.rules.iter().count(), 3);
}

#[wasm_bindgen_test(unsupported = test)]
fn parse_accepts_what_hallpass_init_writes() {
    // The sample is what `hallpass init` writes: crates/service/tests/service/init.rs.
    let document = include_str!("../../docs/deploy.md");
    let blocks: Vec<&str> = document
        .split("```toml\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .collect();
    let [sample, more] = blocks[..] else {
        panic!("docs/deploy.md has two samples");
    };
    for text in [sample.to_owned(), format!("{sample}{more}")] {
        let file: toml::Table = text.parse().expect("TOML");
        let table = serde_json::to_value(&file["vars"]["HALLPASS"]).expect("a table is JSON");
        let settings = Settings::parse(&table.to_string()).expect("good settings");

        assert_eq!(settings.policy.issuer, "https://sessions.example");
        assert_eq!(settings.hosts, ["app.example"]);
        let secrets = |name: &str| match name {
            "EDGE_CREDENTIAL" => Some("hpc_edge_x".to_owned()),
            "ASSERTION_KEY" => Some(key(7)),
            _ => None,
        };
        assert!(Secrets::read(&settings, secrets).is_ok());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn parse_names_the_key_that_is_wrong() {
    let route = |members: Value| {
        with(
            "routes",
            json!([{"path": "/sign-in", "access": "public"}, members]),
        )
    };
    for (settings, named) in [
        (with("isuer", json!("x")), "isuer"),
        (changed("/issuer", json!("")), "issuer"),
        (changed("/issuer", json!(7)), "`issuer`"),
        (changed("/hosts", json!("localhost")), "`hosts`"),
        (changed("/environment", json!("prod")), "`environment`"),
        (changed("/hosts", json!([])), "hosts"),
        (changed("/hosts", json!(["https://app.example"])), "hosts"),
        (changed("/service_url", json!("app.example")), "service_url"),
        (
            changed("/service_url", json!("https://u@app.example")),
            "service_url",
        ),
        (
            changed("/upstream_url", json!("http://app/base")),
            "upstream_url",
        ),
        (with("csrf_origins", json!(["null"])), "csrf_origins"),
        (
            with("csrf_origins", json!(["https://a.example/"])),
            "csrf_origins",
        ),
        (with("assertion_audience", json!("")), "assertion_audience"),
        (with("strip_headers", json!(["x-user:"])), "strip_headers"),
        (changed("/list_max_age_secs", json!(0)), "list_max_age_secs"),
        (changed("/list_poll_secs", json!(6)), "list_poll_secs"),
        (changed("/sign_in_path", json!("/a/../b")), "sign_in_path"),
        (
            changed("/sign_in_path", json!("/elsewhere")),
            "sign_in_path",
        ),
        (with("token_algs", json!(["none"])), "token_algs"),
        (with("token_algs", json!([])), "token_algs"),
        (with("portal", json!({"brand_color": "red"})), "brand_color"),
        (
            with("portal", json!({"logo_url": "javascript:x"})),
            "logo_url",
        ),
        (route(json!({"path": "/a", "acess": "public"})), "acess"),
        (route(json!({"path": "a"})), "routes[path = \"a\"].path"),
        (route(json!({"path": "/%61"})), "write it as \"/a\""),
        (route(json!({"path": "/a", "methods": ["get"]})), "methods"),
        (
            route(json!({"path": "/a", "outage_grace_secs": 3601})),
            "outage_grace_secs",
        ),
        (
            route(json!({"path": "/a", "list_max_age_secs": 0})),
            "list_max_age_secs",
        ),
    ] {
        assert!(
            fault(&settings).contains(named),
            "{} lacks {named}",
            fault(&settings)
        );
    }
    assert!(Settings::parse("[]").is_err());
    assert!(Settings::parse("{\"issuer\":\"a\",\"issuer\":\"b\"}").is_err());
}

#[wasm_bindgen_test(unsupported = test)]
fn parse_refuses_plain_http_in_production_but_on_the_machine_itself() {
    let mut settings = changed("/environment", json!("production"));
    assert!(Settings::parse(&settings.to_string()).is_ok());

    for url in [
        "http://sessions.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example:80",
    ] {
        settings["service_url"] = json!(url);
        assert!(fault(&settings).contains("https://"), "{url}");
    }
    settings["service_url"] = json!("http://[::1]:8788/base");
    assert!(Settings::parse(&settings.to_string()).is_ok());
}

#[wasm_bindgen_test(unsupported = test)]
fn read_names_the_secret_that_is_missing_or_weak_and_never_its_value() {
    let settings = Settings::parse(&committed().to_string()).expect("good settings");
    let read = |edge: Option<&str>, assertion: Option<&str>, hs256: Option<&str>| {
        let find = |name: &str| match name {
            "EDGE_CREDENTIAL" => edge.map(str::to_owned),
            "ASSERTION_KEY" => assertion.map(str::to_owned),
            "SESSION_HS256_KEY" => hs256.map(str::to_owned),
            _ => None,
        };
        Secrets::read(&settings, find)
            .map(|secrets| format!("{secrets:?}"))
            .map_err(|f| f.to_string())
    };

    let good = key(1);
    assert_eq!(
        read(Some("c"), Some(&good), None),
        Ok("Secrets([redacted])".to_owned())
    );
    for (outcome, named) in [
        (read(None, Some(&good), None), "EDGE_CREDENTIAL"),
        (read(Some(""), Some(&good), None), "EDGE_CREDENTIAL"),
        (read(Some("c"), None, None), "ASSERTION_KEY"),
        (read(Some("c"), Some("c2hvcnQ"), None), "ASSERTION_KEY"),
        (
            read(Some("c"), Some("not base64url!"), None),
            "ASSERTION_KEY",
        ),
        (
            read(Some("c"), Some(&good), Some(&good)),
            "SESSION_HS256_KEY",
        ),
    ] {
        let fault = outcome.expect_err("a fault");
        assert!(fault.contains(named), "{fault}");
        assert!(
            !fault.contains("c2hvcnQ") && !fault.contains(&good),
            "{fault}"
        );
    }
}

/// Every sample of settings in README and docs is a whole table that the edge takes.
#[cfg(not(target_family = "wasm"))]
#[test]
fn parse_accepts_every_sample_in_the_docs() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs"))
        .expect("docs")
        .map(|file| file.expect("a file").path());
    let mut samples = 0;
    for page in docs
        .chain([root.join("README.md")])
        .filter(|it| it.extension().is_some_and(|e| e == "md"))
    {
        let text = std::fs::read_to_string(&page).expect("a page");
        let blocks = text
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains("[vars.HALLPASS]")) {
            let file: toml::Table = block
                .parse()
                .unwrap_or_else(|why| panic!("{page:?}: {why}"));
            let table = serde_json::to_string(&file["vars"]["HALLPASS"]).expect("JSON");
            if let Err(fault) = Settings::parse(&table) {
                panic!("{page:?}: {fault}");
            }
            samples += 1;
        }
    }
    assert!(samples > 0, "no sample found");
}
