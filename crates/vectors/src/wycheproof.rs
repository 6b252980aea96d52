//! Wycheproof's files: groups that share a key or a size, and tests, each with its label.
//!
//! What differs between the files is read by the sets themselves; how many tests there must have
//! been is looked at here.
//!
//! Source: C2SP/wycheproof, `schemas`.

use crate::{BadData, Tally, machine};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<G, T> {
    number_of_tests: u64,
    test_groups: Vec<Group<G, T>>,
}

#[derive(Deserialize)]
struct Group<G, T> {
    #[serde(flatten)]
    shared: G,
    tests: Vec<Test<T>>,
}

/// One test with what its kind of file says of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Test<T> {
    pub(crate) tc_id: u32,
    pub(crate) comment: String,
    pub(crate) result: String,
    #[serde(flatten)]
    pub(crate) given: T,
}

/// The key of a group of JWS or JWK tests.
#[derive(Deserialize)]
pub(crate) struct JwkPair<P> {
    public: Option<P>,
    /// Of a symmetric key there is no other.
    private: Option<P>,
}

impl<P> JwkPair<P> {
    /// What a verifier is given.
    pub(crate) fn for_verifier(&self) -> Option<&P> {
        self.public.as_ref().or(self.private.as_ref())
    }
}

impl<T> Test<T> {
    /// Whether it must be accepted.
    pub(crate) fn is_valid(&self) -> bool {
        self.result == "valid"
    }

    /// The test in words.
    pub(crate) fn describe(&self) -> String {
        format!("tc {} ({}): {}", self.tc_id, self.result, self.comment)
    }
}

/// Judges every test of a file, each with what its group shares.
pub(crate) fn run<G: DeserializeOwned, T: DeserializeOwned>(
    name: &str,
    data: &str,
    file: &str,
    mut judge: impl FnMut(&mut Tally, &G, &Test<T>) -> Result<(), BadData>,
) -> Result<Tally, BadData> {
    let file: File<G, T> = machine::read_json(data, file)?;
    let mut tally = Tally::new(name);
    for group in &file.test_groups {
        for test in &group.tests {
            judge(&mut tally, &group.shared, test)?;
        }
    }
    tally.expect(tally.cases == file.number_of_tests, || {
        format!("the file says {} cases", file.number_of_tests)
    });
    Ok(tally)
}
