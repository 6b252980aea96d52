//! What holds of the rules for every input, natively and in wasm: the committed corpus as it is,
//! and edits of it.
//!
//! The bodies are `hallpass_properties`', which the fuzz targets run too. Here every run tries the
//! same inputs, so that a failure repeats; finding new ones is left to `cargo xtask fuzz`.

use hallpass_properties::{
    claims, cookie_header, corpus, header, key_set, list, path, return_to, token,
};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use wasm_bindgen_test::wasm_bindgen_test;

/// Edits of the corpus that each run tries, for each property.
const CASES: u32 = 1024;
/// Most edits in one input: a few reach deep, many only break the outermost form.
const MAX_EDITS: usize = 4;
/// What the inputs are made of, and what their readers trip over.
const PIECES: [&str; 48] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    ".",
    ";",
    "=",
    "/",
    "\\",
    "?",
    "#",
    "%",
    "@",
    " ",
    "\t",
    "\n",
    "\0",
    "\u{7f}",
    "\u{a0}",
    "ü",
    "A",
    "0",
    "-1",
    "1e400",
    "1.0",
    "null",
    "true",
    "{}",
    "[]",
    "\\u0061",
    "\"a\":1,",
    "%2e",
    "%2f",
    "%5c",
    "%00",
    "%c0%ae",
    "..",
    "//",
    "; ",
    ", ",
    "__Host-session=",
    "__Host-renewal=hp1.",
    "4294967296",
    "18446744073709551616",
    "1795224155",
];

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let end = input.len();
        let at = |index: &Index| index.index(end + 1);
        match self {
            Self::Replace(index, byte) => {
                if let Some(old) = input.get_mut(at(index)) {
                    *old = *byte;
                }
            }
            Self::Insert(index, piece) => {
                input.splice(at(index)..at(index), piece.bytes());
            }
            Self::Remove(index, length) => {
                input.drain(at(index)..end.min(at(index) + length));
            }
            Self::Repeat(index, length) => {
                input.extend_from_within(at(index)..end.min(at(index) + length));
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = any::<Index>;
    proptest::prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (place(), select(&PIECES[..])).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (place(), 1..16_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (place(), 1..64_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ]
}

fn input(seeds: Vec<&'static [u8]>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec(edit(), 1..=MAX_EDITS);
    (select(seeds), edits).prop_map(|(seed, edits)| {
        let mut input = seed.to_vec();
        for edit in &edits {
            edit.apply(&mut input);
        }
        input
    })
}

/// Runs a body over its target's corpus and over edits of it.
fn holds(target: &str, check: fn(&[u8])) {
    let seeds = corpus::of(target);
    assert!(!seeds.is_empty(), "no corpus for {target}");
    seeds.iter().copied().for_each(check);

    let config = Config {
        cases: CASES,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let judge = |input: Vec<u8>| {
        check(&input);
        Ok::<(), TestCaseError>(())
    };
    TestRunner::new_with_rng(config, rng)
        .run(&input(seeds), judge)
        .unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

#[wasm_bindgen_test(unsupported = test)]
fn token_is_accepted_only_as_it_was_signed() {
    holds("token", token::check);
}

#[wasm_bindgen_test(unsupported = test)]
fn header_is_accepted_only_with_exactly_its_three_members() {
    holds("header", header::check);
}

#[wasm_bindgen_test(unsupported = test)]
fn claims_are_accepted_exactly_as_the_protocol_allows() {
    holds("claims", claims::check);
}

#[wasm_bindgen_test(unsupported = test)]
fn cookie_header_is_read_as_another_parser_reads_it() {
    holds("cookie_header", cookie_header::check);
}

#[wasm_bindgen_test(unsupported = test)]
fn key_set_is_taken_whole_or_not_at_all() {
    holds("key_set", key_set::check);
}

#[wasm_bindgen_test(unsupported = test)]
fn path_is_what_every_url_parser_arrives_at() {
    holds("path", path::check);
}

#[wasm_bindgen_test(unsupported = test)]
fn list_revives_nobody_and_changes_nothing_when_refused() {
    holds("list", list::check);
}

#[wasm_bindgen_test(unsupported = test)]
fn return_to_never_leaves_the_origin() {
    holds("return_to", return_to::check);
}
