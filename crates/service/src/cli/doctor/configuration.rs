//! The settings of this machine and the files they name.

use std::path::{Path, PathBuf};

use super::private::{look_at_readable, look_at_secret, weakness};
use super::{Findings, listens_beyond_this_machine};
use crate::cli::Everywhere;
use crate::config::{DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER, Environment, Settings};
use crate::http::Tls;
use crate::master_key::MasterKey;
use crate::store::sql::database_file;
use crate::webhook;

pub(super) fn look(everywhere: &Everywhere, settings: &Settings, findings: &mut Findings) {
    look_at_environment(settings, findings);
    findings.looked_at("files");
    look_at_settings_file(everywhere, findings);
    look_at_database_files(settings, findings);
    look_at_master_key(settings, findings);
    look_at_webhook(settings, findings);
    look_at_tls(settings, findings);
}

fn look_at_environment(settings: &Settings, findings: &mut Findings) {
    let beyond = listens_beyond_this_machine(settings);
    let is_production = settings.environment == Environment::Production;
    if beyond && !is_production {
        findings.warning(
            "environment_development",
            format!(
                "the service listens beyond this machine ({}) with environment = development",
                settings.listen
            ),
            "set environment = \"production\", which refuses what is only good for trying out",
        );
    }
    if beyond && settings.tls.is_none() {
        findings.warning(
            "listening_in_clear",
            format!(
                "the service listens beyond this machine ({}) without TLS",
                settings.listen
            ),
            "set tls_certificate and tls_key, or listen on 127.0.0.1 behind what ends TLS",
        );
    }
    let demo = [
        ("issuer", &settings.issuer, DEVELOPMENT_ISSUER),
        ("audience", &settings.audience, DEVELOPMENT_AUDIENCE),
    ];
    for (key, value, development) in demo {
        if is_production && value == development {
            findings.error(
                "demo_name",
                format!("{key} is {value:?} in production, the name that every development has"),
                format!("set {key} to a name of your own, here and at the edge"),
            );
        }
    }
}

fn look_at_settings_file(everywhere: &Everywhere, findings: &mut Findings) {
    let Some(path) = &everywhere.config else {
        return;
    };
    let file = everywhere.file().unwrap_or_default();
    let url = file.database_url.unwrap_or_default();
    if has_password(&url) {
        look_at_secret(path, "the settings, with a password", findings);
    } else {
        look_at_readable(path, "the settings", findings);
    }
}

/// Whether a database URL may hold a password.
fn has_password(url: &str) -> bool {
    database_file(url).is_none() && (url.contains('@') || url.contains("password="))
}

fn look_at_database_files(settings: &Settings, findings: &mut Findings) {
    if let Some(file) = database_file(&settings.database_url) {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = file.clone().into_os_string();
            name.push(suffix);
            look_at_secret(&PathBuf::from(name), "the session table", findings);
        }
    }
    if let Some(journal) = &settings.journal_file {
        look_at_secret(journal, "the revocation journal", findings);
    }
}

fn look_at_master_key(settings: &Settings, findings: &mut Findings) {
    let Some(path) = &settings.master_key_file else {
        return;
    };
    look_at_secret(path, "the master key", findings);
    match MasterKey::read(path) {
        Ok(master) => note_weakness(
            master.weakness(weakness),
            path,
            "the master key",
            "make another with `hallpass init` elsewhere or as docs/operations.md says, and seal \
             the keys under it: `hallpass keys reseal`; then rotate them",
            findings,
        ),
        Err(problem) => findings.error(
            "master_key_unusable",
            problem,
            "put the file back from where you keep a copy: without it no key can be opened",
        ),
    }
}

fn look_at_webhook(settings: &Settings, findings: &mut Findings) {
    let Some(webhook) = &settings.webhook else {
        return;
    };
    let path = &webhook.secret_file;
    look_at_secret(path, "the webhook's secret", findings);
    match webhook::read_secret(path) {
        Ok(secret) => note_weakness(
            weakness(&secret),
            path,
            "the webhook's secret",
            "make another (`openssl rand -base64 32`), give it to the app, and send the service \
             SIGHUP",
            findings,
        ),
        Err(problem) => findings.error(
            "webhook_secret_unusable",
            problem,
            "put the secret there that the app verifies with",
        ),
    }
}

fn look_at_tls(settings: &Settings, findings: &mut Findings) {
    let Some(files) = &settings.tls else {
        return;
    };
    look_at_secret(&files.key, "the TLS key", findings);
    look_at_readable(&files.certificate, "the TLS certificate", findings);
    if let Err(problem) = Tls::read(files) {
        findings.error(
            "tls_unusable",
            problem,
            "put a certificate with its chain and its key there, in PEM; then send the service \
             SIGHUP",
        );
    }
}

fn note_weakness(
    weakness: Option<&'static str>,
    path: &Path,
    what: &str,
    advice: &str,
    findings: &mut Findings,
) {
    if let Some(weakness) = weakness {
        let shown = path.display();
        findings.error(
            "key_weak",
            format!("{what} in {shown} {weakness}: others may know it"),
            advice,
        );
    }
}
