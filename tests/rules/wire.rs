//! Every message on the wire: its vector is read as its type and written again the same.

use hallpass_session::renewal::RenewalToken;
use hallpass_session::wire::{
    CreateSession, Created, EdgeKeys, InForce, ListClaims, Liveness, Problem, RenewRequest,
    Renewed, RevokeMine, Revoked, Sessions, SetSession,
};
use hallpass_session::{base64url, json};
use roaring::RoaringBitmap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wasm_bindgen_test::wasm_bindgen_test;

macro_rules! vector {
    ($name:literal) => {
        include_str!(concat!("../vectors/wire/", $name, ".json"))
    };
}

fn message(vector: &str) -> Value {
    json::parse(vector.as_bytes()).expect("strict JSON")["message"].clone()
}

/// Reads the vector and checks that writing it again gives the same message.
fn read<T: DeserializeOwned + Serialize>(vector: &str) -> T {
    let message = message(vector);
    let typed: T = serde_json::from_value(message.clone()).expect("a message of this type");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), message);
    typed
}

fn refuses_unknown_member<T: DeserializeOwned>(vector: &str) {
    let mut message = message(vector);
    message["unknown"] = Value::Bool(true);
    assert!(serde_json::from_value::<T>(message).is_err());
}

#[wasm_bindgen_test(unsupported = test)]
fn answers_return_what_they_read() {
    read::<EdgeKeys>(vector!("edge_keys"));
    read::<Liveness>(vector!("liveness"));
    read::<InForce>(vector!("in_force"));
    read::<Revoked>(vector!("revoked"));
    read::<Problem>(vector!("problem"));
    read::<Created>(vector!("created"));
    let sessions: Sessions = read(vector!("sessions"));
    assert!(sessions.sessions[0].current && sessions.ended[0].ended.is_some());
}

#[wasm_bindgen_test(unsupported = test)]
fn answers_ignore_unknown_members_of_a_newer_service() {
    let mut message = message(vector!("renewed"));
    message["unknown"] = Value::Bool(true);
    assert!(serde_json::from_value::<Renewed>(message).is_ok());
}

#[wasm_bindgen_test(unsupported = test)]
fn requests_return_what_they_read_and_refuse_unknown_members() {
    read::<RenewRequest>(vector!("renew_request"));
    read::<RevokeMine>(vector!("revoke_one"));
    read::<RevokeMine>(vector!("revoke_others"));
    read::<RevokeMine>(vector!("revoke_by_renewal_token"));
    read::<CreateSession>(vector!("create_session"));
    refuses_unknown_member::<RenewRequest>(vector!("renew_request"));
    refuses_unknown_member::<RevokeMine>(vector!("revoke_one"));
    refuses_unknown_member::<CreateSession>(vector!("create_session"));
}

#[wasm_bindgen_test(unsupported = test)]
fn renewal_tokens_are_those_of_the_rules() {
    let renewed: Renewed = read(vector!("renewed"));
    let token = RenewalToken::parse(&renewed.renewal_token).expect("a renewal token");
    assert_eq!((token.key_id, token.branch.generation), (1, 1));
    assert_eq!(token.branch.branch, [1, 2, 3, 4, 5, 6, 7, 8]);
    read::<SetSession>(vector!("set_session"));
}

#[wasm_bindgen_test(unsupported = test)]
fn list_buckets_are_portable_roaring_bitmaps() {
    let list: ListClaims = read(vector!("list_claims"));
    let bytes = base64url::decode(&list.sessions[0].idx).expect("base64url");
    let indexes = RoaringBitmap::deserialize_from(bytes.as_slice()).expect("a bitmap");
    assert_eq!(indexes.iter().collect::<Vec<_>>(), [7, 9]);
}
