//! The settings file that `init` writes: every setting, those that nobody gave commented out.
//!
//! What a setting means is taken from the help of its flag, so the two cannot disagree.

use toml::{Table, Value};

use crate::cli::CommandError;
use crate::cli::config::meanings;
use crate::config::{GivenSettings, Settings};

const HEAD: &str = "\
# Settings of `hallpass serve`, for every command by --config. What is commented out shows the
# default, or an example where there is none. A flag goes before the environment (HALLPASS_LISTEN, ...),
# the environment before this file; `hallpass config print` says what is in force. A name that ends in
# _secs is in seconds, _ms in milliseconds, _bytes in bytes, _days in days.
";

/// Settings without a default, as somebody might give them.
const EXAMPLES: [(&str, &str); 7] = [
    ("master_key_file", "\"/etc/hallpass/master.key\""),
    ("sessions_per_subject_max", "20"),
    ("tls_certificate", "\"/etc/hallpass/tls.crt\""),
    ("tls_key", "\"/etc/hallpass/tls.key\""),
    ("webhook_url", "\"https://app.example/hallpass-events\""),
    ("webhook_secret_file", "\"/etc/hallpass/webhook.secret\""),
    ("metrics_listen", "\"127.0.0.1:9788\""),
];

/// The file's text.
pub(super) fn write(
    given: &GivenSettings,
    database_in_environment: bool,
) -> Result<String, CommandError> {
    let unwritable = |error: toml::ser::Error| CommandError::Usage(error.to_string());
    let given = Table::try_from(given).map_err(unwritable)?;
    let defaults = Settings::resolve(GivenSettings::default())?.spelled_out();
    let defaults = Table::try_from(defaults).map_err(unwritable)?;
    let mut text = HEAD.to_owned();
    for (key, meaning) in meanings() {
        text.extend(["\n# ", &meaning, "\n"]);
        if key == "database_url" && database_in_environment {
            text.push_str("# It is in HALLPASS_DATABASE_URL: a password is better off there.\n");
        }
        let (comment, value) = match given.get(&key) {
            Some(value) => ("", value.to_string()),
            None => ("# ", shown(&key, &defaults)),
        };
        text.extend([comment, &key, " = ", &value, "\n"]);
    }
    Ok(text)
}

fn shown(key: &str, defaults: &Table) -> String {
    let example = || {
        let found = EXAMPLES.iter().find(|(name, _)| *name == key);
        found.map_or("", |(_, example)| example).to_owned()
    };
    match defaults.get(key) {
        Some(Value::String(path)) if key == "journal_file" => {
            format!("\"{}\"", path.rsplit('/').next().unwrap_or_default())
        }
        Some(value) => value.to_string(),
        None => example(),
    }
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::cli::config::meanings;
    use crate::config::{GivenSettings, Settings};
    use toml::Table;

    #[test]
    fn write_has_every_setting_commented_out_and_good_as_it_stands() {
        let text = write(&GivenSettings::default(), false).unwrap();
        assert_eq!(text.parse::<Table>().unwrap(), Table::new());

        let settings: String = text
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| is_key(key)))
            .flat_map(|line| [line, "\n"])
            .collect();
        let given: GivenSettings = toml::from_str(&settings).unwrap();
        let every = Table::try_from(&given).unwrap();
        assert_eq!(every.len(), meanings().len(), "{settings}");
        Settings::resolve(given).unwrap();
    }

    #[test]
    fn write_says_what_was_given_and_means_the_same() {
        let given = GivenSettings {
            issuer: Some("https://a \"quoted\" one".to_owned()),
            token_lifetime_secs: Some(60),
            ..GivenSettings::default()
        };

        let text = write(&given, false).unwrap();

        let read: GivenSettings = toml::from_str(&text).unwrap();
        assert_eq!(read.issuer, given.issuer);
        assert_eq!(read.token_lifetime_secs, Some(60));
        assert_eq!(read.listen, None);
    }

    fn is_key(text: &str) -> bool {
        text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    }
}
