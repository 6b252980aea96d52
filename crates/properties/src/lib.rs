//! What holds of the rules for every input, whoever made it.
//!
//! One module per kind of input, named as its fuzz target; each has one body, `check`, that takes
//! any bytes and panics where a promise is broken. The bodies live here once: `fuzz/` feeds them what
//! libFuzzer finds, `tests/properties` the committed corpus and edits of it, natively and in wasm.
//!
//! A body asserts more than the absence of panics: it compares with a second opinion (another crate,
//! or the protocol written down again without regard to speed), and follows what must stay true
//! after an acceptance. What a single odd input must answer is left to `tests/rules`.

pub mod claims;
pub mod cookie_header;
pub mod corpus;
pub mod header;
pub mod issuer;
pub mod key_set;
pub mod list;
pub mod path;
pub mod return_to;
pub mod token;
