//! Signatures checked by the platform's `WebCrypto`, which is native code beside our wasm.
//!
//! The same question, the same verdict: `hallpass_session` has judged the form, this answers whether
//! the signature is good. Keys are imported once per isolate; a key that the platform does not take
//! (an older runtime without Ed25519), and HS256, are left to jwt-simple in wasm.
//!
//! The two differ on Ed25519 signatures that only the key's holder can make, and only on purpose: an
//! `R` with a part of low order, which jwt-simple takes and the platform refuses, and the identity as
//! `R`, the other way round. `tests/e2e/differential.test.mjs` lists them and finds no other.

use hallpass_session::jws::{SignatureQuestion, Verdict};
use hallpass_session::keyring::{Algorithm, VerificationKey};
use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use std::cell::RefCell;
use std::collections::HashMap;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Most imported keys kept: those of the sets taken in, twice over during a rotation.
const MAX_KEYS: usize = 64;
/// The identity as `R` of an Ed25519 signature: the point (0, 1), RFC 8032 §5.1.2.
const IDENTITY: [u8; 32] = {
    let mut encoded = [0; 32];
    encoded[0] = 1;
    encoded
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = verify, catch)]
    fn subtle_verify(
        algorithm: &JsValue,
        key: &JsValue,
        signature: &Uint8Array,
        data: &Uint8Array,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = importKey, catch)]
    fn subtle_import_key(
        format: &str,
        material: &Uint8Array,
        algorithm: &JsValue,
        extractable: bool,
        usages: &Array,
    ) -> Result<Promise, JsValue>;
}

/// Imported keys by algorithm and material: two keys never share one.
#[derive(Default)]
pub(crate) struct PlatformKeys(RefCell<HashMap<(&'static str, Vec<u8>), PlatformKey>>);

#[derive(Clone)]
enum PlatformKey {
    Imported(JsValue),
    /// The platform cannot; asked once.
    Unavailable,
}

impl PlatformKeys {
    /// Verifies a signature.
    pub(crate) async fn verify<C>(&self, question: &SignatureQuestion<C>) -> Verdict {
        match self.key(question.key()).await {
            PlatformKey::Imported(key) => verify(question, &key).await,
            PlatformKey::Unavailable => hallpass_signature::verify(question),
        }
    }

    async fn key(&self, key: &VerificationKey) -> PlatformKey {
        let name = (key.algorithm().name(), key.material().to_vec());
        if let Some(known) = self.0.borrow().get(&name) {
            return known.clone();
        }
        let imported = match import(key).await {
            Ok(key) => PlatformKey::Imported(key),
            Err(_) => PlatformKey::Unavailable,
        };
        let mut keys = self.0.borrow_mut();
        if keys.len() >= MAX_KEYS {
            keys.clear();
        }
        keys.insert(name, imported.clone());
        imported
    }
}

/// Whatever goes wrong, the signature has not been shown to be good.
async fn verify<C>(question: &SignatureQuestion<C>, key: &JsValue) -> Verdict {
    if is_degenerate(question) {
        return Verdict::Bad;
    }
    let outcome = ask(question, key).await;
    if outcome.is_ok_and(|good| good == JsValue::TRUE) {
        Verdict::Good
    } else {
        Verdict::Bad
    }
}

/// Whether it is an Ed25519 signature that gives its key away: with the identity as `R`, `S` is the
/// private key times a number that everybody knows.
fn is_degenerate<C>(question: &SignatureQuestion<C>) -> bool {
    let is_ed25519 = matches!(
        question.key().algorithm(),
        Algorithm::EdDsa | Algorithm::Ed25519
    );
    is_ed25519 && question.signature().starts_with(&IDENTITY)
}

async fn ask<C>(question: &SignatureQuestion<C>, key: &JsValue) -> Result<JsValue, JsValue> {
    let algorithm = algorithm(question.key().algorithm())?;
    let signature = Uint8Array::from(question.signature());
    let data = Uint8Array::from(question.signing_input().as_bytes());
    JsFuture::from(subtle_verify(&algorithm, key, &signature, &data)?).await
}

async fn import(key: &VerificationKey) -> Result<JsValue, JsValue> {
    let usages = Array::of1(&"verify".into());
    let material = Uint8Array::from(key.material());
    let algorithm = algorithm(key.algorithm())?;
    JsFuture::from(subtle_import_key(
        "raw", &material, &algorithm, false, &usages,
    )?)
    .await
}

/// The parameters of an algorithm, the same object to import and to verify.
fn algorithm(algorithm: Algorithm) -> Result<JsValue, JsValue> {
    let members: &[(&str, &str)] = match algorithm {
        Algorithm::EdDsa | Algorithm::Ed25519 => &[("name", "Ed25519")],
        Algorithm::Es256 => &[
            ("name", "ECDSA"),
            ("namedCurve", "P-256"),
            ("hash", "SHA-256"),
        ],
        // An HMAC over 500 bytes costs less in wasm than the way to the platform and back.
        Algorithm::Hs256 => return Err("left to wasm".into()),
    };
    let parameters = Object::new();
    for (member, value) in members {
        Reflect::set(&parameters, &(*member).into(), &(*value).into())?;
    }
    Ok(parameters.unchecked_into())
}
