//! Which rule a request falls under: the first route that covers its canonical path and method.
//!
//! What no route covers needs a session. HEAD falls under the rules of GET. Our own paths
//! (`/.session/…`) are told apart before any route is looked at.
//!
//! Source: docs/protocol.md §7, §9.

use crate::config::{MAX_OUTAGE_GRACE_SECS, SettingsFault};
use hallpass_session::admission::{Access, Demands, Requirement};
use hallpass_session::path::CanonicalPath;
use hallpass_session::time::Seconds;
use serde::Deserialize;
use std::collections::BTreeMap;

/// First part of all of the edge's own paths.
pub(crate) const OWN_PREFIX: &str = "/.session/";

/// What happens on a route while the session service cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOutage {
    /// Decide with what is known, and say so to the app.
    #[default]
    Serve,
    /// 503.
    Refuse,
}

/// What happens to a CORS preflight, which carries no credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preflight {
    /// It is judged like any other request.
    #[default]
    Refuse,
    /// It is forwarded without identity: the app answers it.
    Pass,
}

/// What happens to a WebSocket upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upgrade {
    /// Forwarded, and ended with the session.
    #[default]
    Guard,
    /// Forwarded.
    Pass,
    /// Refused.
    Refuse,
}

/// Whether unsafe requests must come from our own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Csrf {
    /// Yes.
    Checked,
    /// The app looks after it.
    LeftToApp,
}

/// One `[[routes]]` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteSettings {
    path: String,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    access: WrittenAccess,
    #[serde(default)]
    max_auth_age_secs: Option<u64>,
    #[serde(default)]
    require: BTreeMap<String, Vec<String>>,
    #[serde(default = "yes")]
    csrf: bool,
    #[serde(default)]
    preflight: Preflight,
    #[serde(default)]
    on_outage: OnOutage,
    #[serde(default)]
    outage_grace_secs: u64,
    #[serde(default)]
    list_max_age_secs: Option<u64>,
    #[serde(default)]
    websocket: Upgrade,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenAccess {
    Public,
    Optional,
    #[default]
    Session,
}

/// All routes, and the rule for what none of them covers.
#[derive(Clone, Debug)]
pub struct Rules {
    listed: Vec<Rule>,
    rest: Rule,
}

/// One route, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    path: String,
    methods: Vec<String>,
    /// What it demands of a session.
    pub demands: Demands,
    /// Whether unsafe requests must come from our own pages.
    pub csrf: Csrf,
    /// What happens to a preflight.
    pub preflight: Preflight,
    /// What happens in an outage.
    pub on_outage: OnOutage,
    /// How long past its `exp` a token is honoured in an outage.
    pub outage_grace: Seconds,
    /// Oldest list that decides here.
    pub list_max_age: Seconds,
    /// What happens to an upgrade.
    pub upgrade: Upgrade,
}

impl RouteSettings {
    /// What no route covers: a session is needed, everything else is as by default.
    fn everything() -> Self {
        Self {
            path: "/*".to_owned(),
            methods: Vec::new(),
            access: WrittenAccess::Session,
            max_auth_age_secs: None,
            require: BTreeMap::new(),
            csrf: true,
            preflight: Preflight::Refuse,
            on_outage: OnOutage::Serve,
            outage_grace_secs: 0,
            list_max_age_secs: None,
            websocket: Upgrade::Guard,
        }
    }
}

impl Rules {
    pub(crate) fn new(
        routes: &[RouteSettings],
        list_max_age: Seconds,
        renew_before: Seconds,
    ) -> Result<Self, SettingsFault> {
        let rule = |route| Rule::new(route, list_max_age, renew_before);
        Ok(Self {
            listed: routes.iter().map(rule).collect::<Result<_, _>>()?,
            rest: rule(&RouteSettings::everything())?,
        })
    }

    /// The first rule that covers the request.
    #[must_use]
    pub fn find(&self, path: &CanonicalPath, method: &str) -> &Rule {
        self.listed
            .iter()
            .find(|rule| rule.covers(path, method))
            .unwrap_or(&self.rest)
    }

    /// The rule for what no route covers, which is also that of our own pages.
    #[must_use]
    pub const fn rest(&self) -> &Rule {
        &self.rest
    }

    /// Every rule.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.listed.iter().chain([&self.rest])
    }
}

impl Rule {
    fn new(
        written: &RouteSettings,
        list_max_age: Seconds,
        renew_before: Seconds,
    ) -> Result<Self, SettingsFault> {
        let key = |name: &str| format!("routes[path = {:?}].{name}", written.path);
        check_path(&written.path).map_err(|why| SettingsFault::new(&key("path"), why))?;
        if written.outage_grace_secs > MAX_OUTAGE_GRACE_SECS {
            return Err(SettingsFault::new(
                &key("outage_grace_secs"),
                "at most 3600",
            ));
        }
        if written
            .list_max_age_secs
            .is_some_and(|age| !(1..=3600).contains(&age))
        {
            return Err(SettingsFault::new(
                &key("list_max_age_secs"),
                "between 1 and 3600",
            ));
        }
        if written.methods.iter().any(|method| !is_method(method)) {
            return Err(SettingsFault::new(
                &key("methods"),
                "upper-case HTTP methods",
            ));
        }
        Ok(Self {
            path: written.path.clone(),
            methods: written.methods.clone(),
            demands: written.demands(renew_before),
            csrf: if written.csrf {
                Csrf::Checked
            } else {
                Csrf::LeftToApp
            },
            preflight: written.preflight,
            on_outage: written.on_outage,
            outage_grace: Seconds::new(written.outage_grace_secs),
            list_max_age: written.list_max_age_secs.map_or(list_max_age, Seconds::new),
            upgrade: written.websocket,
        })
    }

    /// The path as it is written in the settings.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn covers(&self, path: &CanonicalPath, method: &str) -> bool {
        let method = if method == "HEAD" { "GET" } else { method };
        path.matches(&self.path)
            && (self.methods.is_empty() || self.methods.iter().any(|known| known == method))
    }
}

impl RouteSettings {
    fn demands(&self, renew_before: Seconds) -> Demands {
        let requirement = |(claim, values): (&String, &Vec<String>)| Requirement {
            claim: claim.clone(),
            values: values.clone(),
        };
        Demands {
            access: match self.access {
                WrittenAccess::Public => Access::Public,
                WrittenAccess::Optional => Access::Optional,
                WrittenAccess::Session => Access::Session,
            },
            max_auth_age: self.max_auth_age_secs.map(Seconds::new),
            require: self.require.iter().map(requirement).collect(),
            renew_before,
        }
    }
}

/// Whether a path is the edge's own.
#[must_use]
pub(crate) fn is_own(path: &CanonicalPath) -> bool {
    path.as_str().starts_with(OWN_PREFIX) || path.as_str() == OWN_PREFIX.trim_end_matches('/')
}

/// A route's path must be canonical, or it would never match.
fn check_path(path: &str) -> Result<(), String> {
    let plain = path
        .strip_suffix("/*")
        .map_or_else(|| path.to_owned(), |prefix| format!("{prefix}/"));
    match CanonicalPath::parse(&plain) {
        Ok(canonical) if canonical.as_str() == plain => Ok(()),
        Ok(canonical) => Err(format!("write it as {:?}", canonical.as_str())),
        Err(_) => Err("must be a plain path, or a prefix that ends in /*".to_owned()),
    }
}

fn is_method(method: &str) -> bool {
    !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

const fn yes() -> bool {
    true
}
