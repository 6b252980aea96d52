//! The attack catalogue, row by row where `token.rs` and `admission.rs` have no test of it: what a
//! client can send, signed by the right key wherever the row is not about signatures.
//!
//! `tests/vectors/rows.toml` says which test covers which row; natively and in wasm.

use crate::curve::{self, ORDER};
use crate::support::{
    KID, NOW, claims, header, judge, key, keyring, policy, refusal, sign, sign_bytes, sign_text,
    token, with, without,
};
use hallpass_session::base64url::{decode, encode};
use hallpass_session::keyring::{JwkSet, KeySetFault, Keyring, VerificationKey};
use hallpass_session::presented::Presented;
use hallpass_session::refusal::Refusal;
use hallpass_session::renewal::RenewalToken;
use hallpass_session::time::UnixSeconds;
use hallpass_session::token as session_token;
use jwt_simple::prelude::Ed25519PublicKey;
use serde_json::{Map, Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const MALFORMED: Option<Refusal> = Some(Refusal::TokenMalformed);
const INVALID: Option<Refusal> = Some(Refusal::TokenInvalid);
const UNTRUSTED: Option<Refusal> = Some(Refusal::TokenUntrusted);

fn text(members: &Map<String, Value>) -> String {
    Value::Object(members.clone()).to_string()
}

fn refusal_with(keyring: &Keyring, text: &str) -> Option<Refusal> {
    let now = UnixSeconds::new(NOW);
    session_token::judge(text, keyring, &policy(), hallpass_signature::verify, now).err()
}

fn take_in(jwk: &Value) -> Result<Keyring, KeySetFault> {
    JwkSet::parse(&json!({"keys": [jwk]}))?.checked(hallpass_signature::is_sound)
}

fn ed25519_jwk(alg: &str, x: &[u8]) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": alg, "kid": KID, "x": encode(x)})
}

/// A token whose parts are given as base64url already.
fn joined(header: &Map<String, Value>, signature: &str) -> String {
    let part = |members: &Map<String, Value>| encode(text(members).as_bytes());
    format!("{}.{}.{signature}", part(header), part(&claims()))
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_alg_none_with_any_signature() {
    let good = token();
    let (_, old) = good.rsplit_once('.').expect("three parts");
    for alg in ["none", "None", "NONE", "nOnE", "none "] {
        let header = with(header(), "alg", json!(alg));
        assert_eq!(refusal(&joined(&header, "")), MALFORMED, "{alg}");
        for signature in ["AA", old] {
            assert_eq!(refusal(&joined(&header, signature)), UNTRUSTED, "{alg}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_hmac_under_every_form_of_the_public_key() {
    let public = key().pk;
    let x = encode(&public[..]);
    let published = Ed25519PublicKey::from_bytes(&public[..]).expect("a sound key");
    let pem = published.to_pem().trim_end().to_owned();
    let jwk = ed25519_jwk("EdDSA", &public[..]).to_string();
    let secret = VerificationKey::from_hmac_secret(&[9; 32]).expect("a long secret");
    let with_secret = keyring().with(secret);
    for known in [
        public.to_vec(),
        x.into_bytes(),
        published.to_der(),
        format!("{pem}\n").into_bytes(),
        format!(" {pem}").into_bytes(),
        pem.into_bytes(),
        jwk.into_bytes(),
    ] {
        for kid in [KID, "hs256"] {
            let header = with(with(header(), "alg", json!("HS256")), "kid", json!(kid));
            let input = joined(&header, "");
            let input = input.trim_end_matches('.');
            let forged = format!("{input}.{}", encode(&hmac_sha256::HMAC::mac(input, &known)));
            assert_eq!(refusal(&forged), UNTRUSTED, "{kid}");
            assert_eq!(refusal_with(&with_secret, &forged), UNTRUSTED, "{kid}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn parse_refuses_key_without_alg_and_kid_with_two() {
    let good = ed25519_jwk("EdDSA", &key().pk[..]);
    let mut newer = good.clone();
    newer["alg"] = json!("Ed25519");
    let mut bare = good.clone();
    bare.as_object_mut().expect("an object").remove("alg");

    assert_eq!(take_in(&bare).err(), Some(KeySetFault::Key));
    let both = JwkSet::parse(&json!({"keys": [good, newer]}));
    assert_eq!(both.err(), Some(KeySetFault::DuplicateKid));
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_alg_in_any_other_form() {
    let long = "E".repeat(10_000);
    for (alg, expected) in [
        (json!("EDDSA"), UNTRUSTED),
        (json!("EdDSA "), UNTRUSTED),
        (json!(["EdDSA"]), MALFORMED),
        (json!({"EdDSA": true}), MALFORMED),
        (json!(null), MALFORMED),
        (json!(0), MALFORMED),
        (json!(long), MALFORMED),
    ] {
        let odd = sign(&with(header(), "alg", alg.clone()), &claims());
        assert_eq!(refusal(&odd), expected, "{alg:.40}");
    }
    assert_eq!(
        refusal(&sign(&without(header(), "alg"), &claims())),
        MALFORMED
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_takes_the_name_of_ed25519_that_the_key_says() {
    for (key_says, other) in [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA")] {
        let keyring = take_in(&ed25519_jwk(key_says, &key().pk[..])).expect("a good set");
        let named = |alg: &str| sign(&with(header(), "alg", json!(alg)), &claims());
        assert_eq!(refusal_with(&keyring, &named(key_says)), None);
        assert_eq!(refusal_with(&keyring, &named(other)), UNTRUSTED);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_header_that_brings_or_names_a_key() {
    let attacker = crate::support::other_key();
    let jwk = ed25519_jwk("EdDSA", &attacker.pk[..]);
    for (name, value) in [
        ("jwk", jwk),
        ("x5c", json!(["MIIB"])),
        ("jku", json!("http://127.0.0.1:9/jwks.json")),
        ("x5u", json!("https://attacker.example/key.pem")),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
    ] {
        let header = with(header(), name, value);
        assert_eq!(refusal(&sign(&header, &claims())), MALFORMED, "{name}");
        let forged = sign_text(&attacker, &text(&header), &text(&claims()));
        assert_eq!(refusal(&forged), MALFORMED, "{name}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_every_kid_but_the_exact_bytes() {
    let long = "k".repeat(10_000);
    for (kid, expected) in [
        (json!("../../dev/null"), UNTRUSTED),
        (json!("__proto__"), UNTRUSTED),
        (json!("constructor"), UNTRUSTED),
        (json!("K1"), UNTRUSTED),
        (json!("k1%00"), UNTRUSTED),
        (json!("' OR 1=1--"), MALFORMED),
        (json!("k1\0"), MALFORMED),
        (json!("k1 "), MALFORMED),
        (json!("\u{43a}1"), MALFORMED),
        (json!("\u{212a}1"), MALFORMED),
        (json!(long), MALFORMED),
        (json!(""), MALFORMED),
        (json!(null), MALFORMED),
        (json!(1), MALFORMED),
        (json!([KID]), MALFORMED),
    ] {
        let odd = sign(&with(header(), "kid", kid.clone()), &claims());
        assert_eq!(refusal(&odd), expected, "{kid:.40}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_absent_kid_with_one_key_and_with_two() {
    let odd = sign(&without(header(), "kid"), &claims());
    let secret = VerificationKey::from_hmac_secret(&[9; 32]).expect("a long secret");
    assert_eq!(refusal(&odd), MALFORMED);
    assert_eq!(refusal_with(&keyring().with(secret), &odd), MALFORMED);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_es256_of_numbers_out_of_range() {
    let keyring = curve::keyring();
    let good = curve::token();
    assert_eq!(refusal_with(&keyring, &good), None);
    let (input, signature) = good.rsplit_once('.').expect("three parts");
    let signature = decode(signature).expect("base64url");
    let (r, s) = signature.split_at(32);
    let near_order = |last: u8| [&ORDER[..31], &[last]].concat();
    let odd = [
        vec![0; 32],
        near_order(0x50),
        near_order(0x51),
        near_order(0x52),
        vec![0xff; 32],
    ];
    for number in &odd {
        for pair in [[number, s], [r, number], [number, number]] {
            let forged = format!("{input}.{}", encode(&pair.concat()));
            assert_eq!(refusal_with(&keyring, &forged), UNTRUSTED, "{pair:x?}");
        }
    }
    assert_eq!(refusal_with(&keyring, &format!("{input}.")), MALFORMED);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_signature_in_any_other_form() {
    let (eddsa, es256) = (token(), curve::token());
    for (keyring, good) in [(keyring(), &eddsa), (curve::keyring(), &es256)] {
        let (input, signature) = good.rsplit_once('.').expect("three parts");
        let signature = decode(signature).expect("base64url");
        for odd in [
            signature[..63].to_vec(),
            signature[..32].to_vec(),
            curve::der(&signature),
            [&signature[..], &[0]].concat(),
            [&[0], &signature[..]].concat(),
            signature.repeat(2),
        ] {
            let length = odd.len();
            let text = format!("{input}.{}", encode(&odd));
            let expected = if length > 64 { MALFORMED } else { UNTRUSTED };
            assert_eq!(refusal_with(&keyring, &text), expected, "{length} bytes");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_ed25519_with_the_order_added() {
    let good = token();
    let (input, signature) = good.rsplit_once('.').expect("three parts");
    let forged = curve::with_order_added(&decode(signature).expect("base64url"));
    assert_eq!(refusal(&format!("{input}.{}", encode(&forged))), UNTRUSTED);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_takes_the_es256_twin_for_the_same_session() {
    // Valid by the standard, so nothing but the memo may be keyed by a token's text: two texts of
    // one token present one session, which `sid` tells.
    let good = curve::token();
    let twin = curve::twin(&good);
    assert_ne!(good, twin);
    assert_eq!(refusal_with(&curve::keyring(), &twin), None);
    let (cookie, bearer) = (format!("__Host-session={good}"), format!("Bearer {twin}"));
    assert!(Presented::read(Some(&cookie), Some(&bearer)).is_ok());
}

#[wasm_bindgen_test(unsupported = test)]
fn checked_refuses_every_point_of_small_order() {
    let ends = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        (point[0], point[31]) = (first, last);
        point.to_vec()
    };
    let hex = |text: &str| -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        pairs.map(|pair| byte(pair).expect("hexadecimal")).collect()
    };
    let eighths = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    let mut points = vec![
        ends(1, 0, 0),
        ends(1, 0, 0x80),
        ends(0, 0, 0),
        ends(0, 0, 0x80),
    ];
    // The same points and their neighbours, written as numbers from the field's prime on.
    for first in [0xec, 0xed, 0xee] {
        points.extend([ends(first, 0xff, 0x7f), ends(first, 0xff, 0xff)]);
    }
    points.extend(eighths.map(hex));
    for point in points {
        let outcome = take_in(&ed25519_jwk("EdDSA", &point));
        assert_eq!(outcome.err(), Some(KeySetFault::Weak), "{point:x?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn checked_refuses_p256_point_off_the_curve() {
    let mut jwk = curve::jwk();
    assert!(take_in(&jwk).is_ok());
    let mut y = decode(jwk["y"].as_str().expect("text")).expect("base64url");
    y[31] ^= 1;
    jwk["y"] = json!(encode(&y));
    assert_eq!(take_in(&jwk).err(), Some(KeySetFault::Weak));
    jwk["x"] = json!(encode(&[0; 32]));
    jwk["y"] = json!(encode(&[0; 32]));
    assert_eq!(take_in(&jwk).err(), Some(KeySetFault::Weak));
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_encrypted_tokens_before_it_decodes() {
    let good = token();
    for parts in [4, 5, 6] {
        let more = ".AAAA".repeat(parts - 3);
        assert_eq!(
            refusal(&format!("{good}{more}")),
            MALFORMED,
            "{parts} parts"
        );
    }
    for (name, value) in [
        ("enc", json!("A256GCM")),
        ("zip", json!("DEF")),
        ("p2c", json!(2_147_483_648_u64)),
    ] {
        let odd = sign(&with(header(), name, value), &claims());
        assert_eq!(refusal(&odd), MALFORMED, "{name}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_says_the_same_of_every_mismatch_of_key_and_signature() {
    let wrong_mac = {
        let keyring = keyring().with(VerificationKey::from_hmac_secret(&[9; 32]).expect("long"));
        let header = with(with(header(), "alg", json!("HS256")), "kid", json!("hs256"));
        refusal_with(&keyring, &joined(&header, &"A".repeat(43)))
    };
    let unknown = refusal(&sign(&with(header(), "kid", json!("k9")), &claims()));
    let other_alg = refusal(&sign(&with(header(), "alg", json!("ES256")), &claims()));
    for refusal in [wrong_mac, unknown, other_alg] {
        assert_eq!(refusal.map(Refusal::code), Some("token_untrusted"));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_every_other_base64_in_each_part() {
    let good = token();
    let parts: Vec<&str> = good.split('.').collect();
    for number in 0..3 {
        for odd in [
            "=", "==", "+", "/", " ", "\t", "\r\n", "\0", "#", "%3D", "\u{e9}",
        ] {
            let appended = format!("{}{odd}", parts[number]);
            let inserted = format!("{odd}{}", parts[number]);
            for part in [appended, inserted] {
                let mut changed = parts.clone();
                changed[number] = &part;
                assert_eq!(refusal(&changed.join(".")), MALFORMED, "{number} {odd:?}");
            }
        }
        let mut short = parts.clone();
        let impossible = &parts[number][..parts[number].len() / 4 * 4 - 3];
        short[number] = impossible;
        assert_eq!(impossible.len() % 4, 1);
        assert_eq!(refusal(&short.join(".")), MALFORMED, "{number} 4n + 1");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_a_million_dots_and_polyglots() {
    let good = token();
    assert_eq!(refusal(&".".repeat(1_000_000)), MALFORMED);
    let (head, tail) = good.split_at(10);
    for odd in [
        format!("{{\"protected\":\"{head}{tail}"),
        format!("{good}\",\"signature\":\"x\"}}"),
        format!("[\"{good}\"]"),
        format!("\"{good}\""),
        format!("{head}\n{tail}"),
    ] {
        assert_eq!(refusal(&odd), MALFORMED, "{odd:.40}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_header_of_513_bytes() {
    let padded = |bytes: usize| {
        let header = text(&header());
        let spaces = " ".repeat(bytes - header.len());
        sign_text(&key(), &format!("{header}{spaces}"), &text(&claims()))
    };
    assert_eq!(refusal(&padded(511)), None);
    assert_eq!(refusal(&padded(512)), None);
    assert_eq!(refusal(&padded(513)), MALFORMED);
    assert_eq!(refusal(&padded(1025)), MALFORMED);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_deep_nesting_in_header_and_payload() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (levels, expected) in [
        (15, None),
        (16, MALFORMED),
        (128, MALFORMED),
        (100_000, MALFORMED),
    ] {
        let payload = text(&claims()).replacen('{', &format!("{{\"x\":{},", nested(levels)), 1);
        let odd = sign_text(&key(), &text(&header()), &payload);
        assert_eq!(refusal(&odd), expected, "{levels} levels");
        let deep = text(&header()).replacen("\"k1\"", &nested(levels), 1);
        assert_eq!(
            refusal(&sign_text(&key(), &deep, &text(&claims()))),
            MALFORMED
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_text_that_is_not_plain_utf8() {
    let (header, claims) = (text(&header()), text(&claims()));
    let utf16 = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<_>>()
    };
    let marked = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
    let broken = |text: &str, bytes: &[u8]| {
        let at = text.rfind('}').expect("an object");
        [&text.as_bytes()[..at], b",\"x\":\"", bytes, b"\"}"].concat()
    };
    for odd in [
        utf16(&claims),
        marked(&claims),
        broken(&claims, b"\xff"),
        broken(&claims, b"\xc0\xaf"),
        broken(&claims, b"\xed\xa0\x80"),
        broken(&claims, b"\\ud800"),
        broken(&claims, b"\\udc00\\ud800"),
        broken(&claims, b"\0"),
    ] {
        assert_eq!(
            refusal(&sign_bytes(&key(), header.as_bytes(), &odd)),
            MALFORMED
        );
    }
    for odd in [utf16(&header), marked(&header), broken(&header, b"\xff")] {
        assert_eq!(
            refusal(&sign_bytes(&key(), &odd, claims.as_bytes())),
            MALFORMED
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_takes_white_space_around_and_nothing_else() {
    let sign = |payload: String| refusal(&sign_text(&key(), &text(&header()), &payload));
    let good = text(&claims());
    assert_eq!(sign(format!(" {good}\n")), None);
    for odd in [
        format!("{good} x"),
        format!("{good}{good}"),
        format!("{good},"),
        format!("{good}\0"),
    ] {
        assert_eq!(sign(odd), MALFORMED);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_crit_and_unencoded_payloads() {
    for crit in [
        json!(["b64"]),
        json!(["exp"]),
        json!(["nobody"]),
        json!(["b64", "b64"]),
        json!(["alg"]),
        json!({}),
        json!(true),
    ] {
        let odd = sign(&with(header(), "crit", crit.clone()), &claims());
        assert_eq!(refusal(&odd), MALFORMED, "{crit}");
    }
    let plain = with(header(), "b64", json!(false));
    assert_eq!(refusal(&sign(&plain, &claims())), MALFORMED);
    let declared = with(plain, "crit", json!(["b64"]));
    assert_eq!(refusal(&sign(&declared, &claims())), MALFORMED);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_times_of_any_other_spelling() {
    let good = text(&claims());
    for (name, value) in [
        ("exp", NOW + 240),
        ("iat", NOW - 60),
        ("auth_time", NOW - 3600),
    ] {
        for odd in [
            "0",
            "-0",
            "-1",
            "1e9",
            "1e300",
            "9007199254740993",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1795224155.0",
            "\"1795224155\"",
        ] {
            let from = format!("\"{name}\":{value}");
            assert!(good.contains(&from));
            let odd_claims = good.replace(&from, &format!("\"{name}\":{odd}"));
            let refused = refusal(&sign_text(&key(), &text(&header()), &odd_claims));
            // Only that somebody signed in at the beginning of time is possible.
            let expected = if (name, odd) == ("auth_time", "0") {
                None
            } else {
                INVALID
            };
            assert_eq!(refused, expected, "{name} {odd}");
        }
        let endless = good.replace(&format!("\"{name}\":{value}"), &format!("\"{name}\":1e400"));
        assert_eq!(
            refusal(&sign_text(&key(), &text(&header()), &endless)),
            MALFORMED
        );
    }
    let ahead = with(claims(), "nbf", json!(u64::MAX));
    assert_eq!(refusal(&sign(&header(), &ahead)), INVALID);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_counts_lifetime_from_an_iat_ahead() {
    let at = |lifetime: u64| {
        let ahead = with(
            with(claims(), "iat", json!(NOW + 5)),
            "exp",
            json!(NOW + 5 + lifetime),
        );
        refusal(&sign(&header(), &ahead))
    };
    assert_eq!(at(3600), None);
    assert_eq!(at(3601), INVALID);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_every_other_form_of_audience_and_issuer() {
    for (name, value) in [
        ("aud", json!([])),
        ("aud", json!(["app"])),
        ("aud", json!(["app", 1])),
        ("aud", json!(["evil", "app"])),
        ("aud", json!("app other")),
        ("aud", json!("APP")),
        ("aud", json!("")),
        ("aud", json!(null)),
        ("iss", json!(["https://sessions.example"])),
        ("iss", json!("https://sessions.example.evil")),
        ("iss", json!("sessions.example")),
        ("iss", json!(null)),
    ] {
        let odd = sign(&header(), &with(claims(), name, value.clone()));
        assert_eq!(refusal(&odd), INVALID, "{name} {value}");
        assert_eq!(refusal(&sign(&header(), &without(claims(), name))), INVALID);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_tokens_of_another_kind_both_ways() {
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "at+jwt",
        "assertion+jwt",
        "revocations+jwt",
        "JWT",
    ] {
        let odd = sign(&with(header(), "typ", json!(typ)), &claims());
        assert_eq!(refusal(&odd), MALFORMED, "{typ}");
    }
    let renewal = format!("hp1.{}", encode(&[7; 61]));
    assert!(RenewalToken::is_well_formed(&renewal));
    assert_eq!(refusal(&renewal), MALFORMED);
    assert!(!RenewalToken::is_well_formed(&token()));
    let elsewhere = with(claims(), "aud", json!("app-b"));
    assert_eq!(refusal(&sign(&header(), &elsewhere)), INVALID);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_compares_sid_byte_for_byte() {
    let with_sid = |sid: &str| sign(&header(), &with(claims(), "sid", json!(sid)));
    for odd in [
        "",
        "A",
        &"A".repeat(10_000),
        "AAAAAAAAAAAAAAAAAAAAA ",
        "AAAAAAAAAAAAAAAAAAAAA\0",
    ] {
        assert!(refusal(&with_sid(odd)).is_some(), "{odd:.30?}");
    }
    let (one, other) = (
        with_sid("aAAAAAAAAAAAAAAAAAAAAA"),
        with_sid("AAAAAAAAAAAAAAAAAAAAAA"),
    );
    let (cookie, bearer) = (format!("__Host-session={one}"), format!("Bearer {other}"));
    let presented = Presented::read(Some(&cookie), Some(&bearer));
    assert_eq!(presented, Err(Refusal::CredentialsConflict));
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_returns_no_claim_that_it_does_not_know() {
    let more = with(with(claims(), "admin", json!(true)), "jti", json!("x"));
    let odd = judge(&sign(&header(), &more), NOW).expect("others are ignored");
    let plain = judge(&token(), NOW).expect("a good token");
    assert_eq!(odd.content(), plain.content());
}

#[wasm_bindgen_test(unsupported = test)]
fn read_finds_conflict_among_fifty_cookies() {
    let good = token();
    let pair = format!("__Host-session={good}");
    let same = vec![pair.as_str(); 50].join("; ");
    assert!(Presented::read(Some(&same), None).is_ok());
    let forged = "__Host-session=forged";
    for cookies in [format!("{same}; {forged}"), format!("{forged}; {same}")] {
        let presented = Presented::read(Some(&cookies), None);
        assert_eq!(presented, Err(Refusal::CredentialsConflict));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn read_never_takes_a_token_from_joined_lines_or_quotes() {
    let good = token();
    for (cookies, expected) in [
        (format!("a=1, __Host-session={good}"), None),
        (format!("\u{2000}__Host-session={good}"), None),
        (
            format!("$Version=1; a=\"; __Host-session={good}\""),
            MALFORMED,
        ),
        (format!("__Host-session={good}, b=2"), MALFORMED),
        (
            format!("__Host-session={good}, __Host-session={good}"),
            MALFORMED,
        ),
        (format!("__Host-session=\"{good}\""), MALFORMED),
    ] {
        let presented = Presented::read(Some(&cookies), None).expect("no conflict");
        let refused = presented.token().map(|(text, _)| refusal(text));
        assert_eq!(refused, expected.map(Some), "{cookies:.40}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_gives_the_code_of_the_first_check_that_fails() {
    let late = with(claims(), "exp", json!(NOW - 1));
    let late_elsewhere = with(late.clone(), "aud", json!("other"));
    let odd_header = with(header(), "x", json!(1));
    let unknown = with(header(), "kid", json!("k9"));
    let odd_claims = with(late_elsewhere.clone(), "idx", json!("7"));
    assert_eq!(refusal(&sign(&odd_header, &odd_claims)), MALFORMED);
    assert_eq!(refusal(&sign(&unknown, &odd_claims)), INVALID);
    assert_eq!(refusal(&sign(&unknown, &late_elsewhere)), UNTRUSTED);
    assert_eq!(refusal(&sign(&header(), &late_elsewhere)), INVALID);
    let expired = Some(Refusal::TokenExpired);
    assert_eq!(refusal(&sign(&header(), &late)), expired);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_takes_kid_of_64_bytes_and_not_of_65() {
    for (length, expected) in [(64, None), (65, MALFORMED)] {
        let kid = "k".repeat(length);
        let mut jwk = ed25519_jwk("EdDSA", &key().pk[..]);
        jwk["kid"] = json!(kid);
        let keyring = take_in(&jwk);
        assert_eq!(keyring.is_ok(), expected.is_none());
        let token = sign(&with(header(), "kid", json!(kid)), &claims());
        assert_eq!(refusal_with(&keyring.unwrap_or_default(), &token), expected);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_takes_amr_and_ext_up_to_their_bounds() {
    let with_amr = |entry: usize, count: usize| {
        let amr = vec!["a".repeat(entry); count];
        refusal(&sign(&header(), &with(claims(), "amr", json!(amr))))
    };
    assert_eq!((with_amr(64, 8), with_amr(1, 0)), (None, None));
    assert_eq!((with_amr(65, 1), with_amr(1, 9)), (INVALID, INVALID));
    assert_eq!(with_amr(0, 1), INVALID);
    // `{"x":""}` is eight bytes of it.
    let with_ext = |bytes: usize| {
        let ext = json!({"x": "y".repeat(bytes - 8)});
        refusal(&sign(&header(), &with(claims(), "ext", ext)))
    };
    assert_eq!(
        (with_ext(1023), with_ext(1024), with_ext(1025)),
        (None, None, INVALID)
    );
}
