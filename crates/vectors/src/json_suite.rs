//! `JSONTestSuite` in three positions of a correctly signed token: the whole payload, the value of a
//! claim, the header; and under the strict parser alone, since a token's limits would hide it.
//!
//! `n_` documents are refused everywhere, `y_` ones are accepted as a claim's value save those with
//! a member twice, `i_` ones may go either way. None may crash, and as payload or header none may
//! pass: no document of the suite is a session.
//!
//! Source: nst/JSONTestSuite, `test_parsing`; RFC 8259.

use crate::issuer::{Issuer, claims, header};
use crate::{BadData, Tally, machine};
use hallpass_session::json;
use hallpass_session::keyring::Algorithm;

const FOLDER: &str = "jsontestsuite/test_parsing";
/// How many documents the commit has that the data was taken from.
const DOCUMENTS: usize = 318;
/// Valid by RFC 8259, which leaves open what a second member of one name means; RFC 7519 §4 lets a
/// token's reader refuse it, and the rules do.
const MEMBER_TWICE: [&str; 2] = [
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
];

/// What a document's name says of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Refuse,
    Accept,
    Either,
}

/// Runs every document.
pub(crate) fn run(data: &str, issuer: &Issuer) -> Result<Tally, BadData> {
    let mut tally = Tally::new("json");
    let names = machine::list(data, FOLDER)?;
    tally.expect(names.len() == DOCUMENTS, || {
        format!("{} documents, not {DOCUMENTS}", names.len())
    });
    for name in &names {
        let document = machine::read(data, &format!("{FOLDER}/{name}"))?;
        judge(&mut tally, issuer, name, &document);
    }
    tally.note(format!(
        "refused though labelled y_, each for a member twice: {}",
        MEMBER_TWICE.join(", ")
    ));
    Ok(tally)
}

fn judge(tally: &mut Tally, issuer: &Issuer, name: &str, document: &[u8]) {
    let expected = label(name);
    let initial = name.get(..2).unwrap_or_default();
    let claim = as_claim(document);
    let good_header = header(Algorithm::EdDsa);
    let good_claims = claims(1).to_string();
    let positions = [
        ("claim", good_header.as_bytes(), &claim[..], expected),
        ("payload", good_header.as_bytes(), document, Label::Refuse),
        ("header", document, good_claims.as_bytes(), Label::Refuse),
    ];
    for (position, header, payload, expected) in positions {
        let token = issuer.sign(Algorithm::EdDsa, header, payload);
        let verdict = issuer.verdict(&token);
        tally.count(&format!("{initial} as {position}"), verdict);
        tally.expect(expected.allows(verdict == "accepted"), || {
            format!("{name} as {position}: {verdict}")
        });
    }
    let parsed = json::parse(document).is_some();
    tally.add(
        &format!("{initial} parsed alone"),
        if parsed { "parsed" } else { "refused" },
    );
    tally.expect(expected.allows(parsed), || {
        format!("{name} parsed alone: {parsed}")
    });
}

/// Good claims and one more, whose value is the document.
fn as_claim(document: &[u8]) -> Vec<u8> {
    let good = claims(1).to_string();
    let open = good.strip_suffix('}').unwrap_or_default();
    [open.as_bytes(), b",\"x\":", document, b"}"].concat()
}

fn label(name: &str) -> Label {
    match name.get(..2) {
        Some("n_") => Label::Refuse,
        Some("y_") if MEMBER_TWICE.contains(&name) => Label::Refuse,
        Some("y_") => Label::Accept,
        _ => Label::Either,
    }
}

impl Label {
    fn allows(self, accepted: bool) -> bool {
        match self {
            Self::Refuse => !accepted,
            Self::Accept => accepted,
            Self::Either => true,
        }
    }
}
