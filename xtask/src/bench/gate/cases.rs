//! What is asked of which Worker, and what is set against what.

use super::super::refusals;
use super::super::report::Compared;
use super::workers::Worker;

/// One kind of request.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) worker: Worker,
    pub(super) cookie: Cookie,
    /// The status it must be answered with.
    pub(super) status: u16,
    path: &'static str,
}

/// The session cookie of a request.
pub(super) enum Cookie {
    /// None.
    None,
    /// So many bytes of nothing.
    Bytes(usize),
    /// Always the first token of a kind: remembered.
    First(&'static str),
    /// One token of a kind after the other: each is new.
    Next(&'static str),
}

/// The largest header the runtime takes with room for the others: 1 MB never reaches a Worker.
const LARGE: usize = 60 << 10;

pub(super) const ALL: &[Case] = &[
    on(
        Worker::PassThrough,
        "pass_through",
        Cookie::First("eddsa"),
        200,
    ),
    on(
        Worker::PassThroughAgain,
        "pass_through_again",
        Cookie::First("eddsa"),
        200,
    ),
    on(Worker::Edge, "remembered", Cookie::First("eddsa"), 200),
    on(Worker::Edge, "cold_eddsa", Cookie::Next("eddsa"), 200),
    on(Worker::Edge, "cold_es256", Cookie::Next("es256"), 200),
    on(Worker::Edge, "cold_hs256", Cookie::Next("hs256"), 200),
    on(
        Worker::EdgeWithoutWebCrypto,
        "wasm_remembered",
        Cookie::First("eddsa"),
        200,
    ),
    on(
        Worker::EdgeWithoutWebCrypto,
        "wasm_eddsa",
        Cookie::Next("eddsa"),
        200,
    ),
    on(
        Worker::EdgeWithoutWebCrypto,
        "wasm_es256",
        Cookie::Next("es256"),
        200,
    ),
    on(
        Worker::EdgeWithoutWebCrypto,
        "wasm_hs256",
        Cookie::Next("hs256"),
        200,
    ),
    on(Worker::Edge, "missing", Cookie::None, 401),
    on(Worker::Edge, "malformed", Cookie::Next("malformed"), 401),
    on(Worker::Edge, "oversized_5_kb", Cookie::Bytes(5 << 10), 401),
    on(Worker::Edge, "oversized_60_kb", Cookie::Bytes(LARGE), 401),
    on(
        Worker::Edge,
        "unknown_kid",
        Cookie::Next("unknown_kid"),
        401,
    ),
    on(Worker::Edge, "wrong_alg", Cookie::Next("wrong_alg"), 401),
    on(
        Worker::Edge,
        "bad_signature",
        Cookie::Next("bad_signature"),
        401,
    ),
    on(
        Worker::Edge,
        "wrong_audience",
        Cookie::Next("wrong_audience"),
        401,
    ),
    on(Worker::Edge, "expired", Cookie::Next("expired"), 401),
    on(Worker::Edge, "revoked", Cookie::Next("revoked"), 401),
    on(
        Worker::Edge,
        "revoked_remembered",
        Cookie::First("revoked"),
        401,
    ),
    Case {
        path: "/refused",
        ..on(Worker::PassThrough, "js_refusal", Cookie::None, 401)
    },
    Case {
        path: "/.session/health",
        ..on(Worker::Edge, "reading_60_kb", Cookie::Bytes(LARGE), 200)
    },
];

/// What is accepted, and what is refused for its form.
const BY_FORM: [(&str, &str); 14] = [
    ("pass_through", "JS that only forwards"),
    ("pass_through_again", "the same again (control)"),
    ("remembered", "accept: signature remembered"),
    ("cold_eddsa", "accept: EdDSA, WebCrypto"),
    ("wasm_eddsa", "accept: EdDSA, jwt-simple in wasm"),
    ("cold_es256", "accept: ES256, WebCrypto"),
    ("wasm_es256", "accept: ES256, jwt-simple in wasm"),
    ("cold_hs256", "accept: HS256, WebCrypto"),
    ("wasm_hs256", "accept: HS256, jwt-simple in wasm"),
    (
        "wasm_remembered",
        "accept: signature remembered, without WebCrypto",
    ),
    ("missing", "refuse: no session"),
    ("malformed", "refuse: malformed"),
    ("oversized_5_kb", "refuse: 5 kB"),
    ("oversized_60_kb", "refuse: 60 kB"),
];
/// What the others are set against.
const BESIDE: [(&str, &str); 2] = [
    ("js_refusal", "JS that only refuses"),
    (
        "reading_60_kb",
        "the health page, asked with cookies of 60 kB",
    ),
];

/// Every case in words, in the order of the report.
pub(super) fn words() -> Vec<(&'static str, &'static str)> {
    [&BY_FORM[..], &refusals::WORDS, &BESIDE].concat()
}

const fn on(worker: Worker, name: &'static str, cookie: Cookie, status: u16) -> Case {
    Case {
        name,
        worker,
        cookie,
        status,
        path: "/page?of=1",
    }
}

impl Case {
    /// The request as bytes: what a browser's script would send.
    pub(super) fn request(&self, cookie: &str) -> Vec<u8> {
        let cookies = match self.cookie {
            Cookie::None => "theme=dark; lang=en".to_owned(),
            _ => format!("theme=dark; __Host-session={cookie}; lang=en"),
        };
        format!(
            "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\
             Accept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, br\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140 Safari/537.36\r\n\
             Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
             Referer: http://127.0.0.1/\r\nCookie: {cookies}\r\n\r\n",
            self.path
        )
        .into_bytes()
    }
}

/// Every kind of token that is presented.
pub(super) fn kinds() -> Vec<&'static str> {
    let kind = |case: &Case| match case.cookie {
        Cookie::First(kind) | Cookie::Next(kind) => Some(kind),
        Cookie::None | Cookie::Bytes(_) => None,
    };
    let mut kinds: Vec<_> = ALL.iter().filter_map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

pub(super) fn comparisons() -> Vec<Compared> {
    let base: &[&str] = &["pass_through"];
    let mut comparisons = vec![
        Compared::shown("remembered by JS that only forwards", "remembered", base),
        Compared::shown("EdDSA by JS that only forwards", "cold_eddsa", base),
        // How much two processes differ that do the same: what the next three have to exceed.
        Compared::shown(
            "remembered: with WebCrypto by without, the same work",
            "remembered",
            &["wasm_remembered"],
        ),
        Compared::shown("EdDSA: WebCrypto by wasm", "cold_eddsa", &["wasm_eddsa"]),
        Compared::shown("ES256: WebCrypto by wasm", "cold_es256", &["wasm_es256"]),
        Compared::shown("HS256: WebCrypto by wasm", "cold_hs256", &["wasm_hs256"]),
        Compared::shown(
            "no session by JS that only refuses",
            "missing",
            &["js_refusal"],
        ),
        refusals::by("no session by remembered", "missing", &["remembered"]),
    ];
    comparisons.extend(refusals::comparisons());
    comparisons.push(Compared::at_most(
        1.0,
        "60 kB by 5 kB and the health page with 60 kB",
        "oversized_60_kb",
        &["oversized_5_kb", "reading_60_kb"],
    ));
    comparisons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_words_and_every_comparison_its_cases() {
        let named = |name: &str| ALL.iter().any(|case| case.name == name);
        assert_eq!(ALL.len(), words().len());
        assert!(words().iter().all(|(name, _)| named(name)));
        for compared in comparisons() {
            assert!(named(compared.case), "{}", compared.case);
            assert!(
                compared.to.iter().all(|name| named(name)),
                "{}",
                compared.what
            );
        }
    }
}
