//! The judgement of a presented session token, natively and in wasm from the same bodies.
//!
//! Every odd token is signed by the right key unless the test is about signatures, so that each row
//! meets exactly one guard. Rows are those of the protocol, docs/protocol.md §1.

use crate::support::{NOW, claims, header, judge, refusal, sign, sign_text, token, with, without};
use hallpass_session::refusal::Refusal;
use hallpass_session::token::MAX_TOKEN_BYTES;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = test)]
fn judge_accepts_good_token_and_returns_its_claims() {
    let verified = judge(&token(), NOW).expect("a good token");

    assert_eq!(verified.kid(), "k1");
    let claims = verified.content();
    assert_eq!(
        (claims.sub.as_str(), claims.idx, claims.exp.get()),
        ("ada", 7, NOW + 240)
    );
    assert_eq!(claims.amr, ["pwd"]);
    assert_eq!(
        claims.ext.as_ref().and_then(|ext| ext.get("role")),
        Some(&json!("editor"))
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_token_at_its_expiry_second() {
    let end = NOW + 240;
    assert!(judge(&token(), end - 1).is_ok());
    assert_eq!(judge(&token(), end).err(), Some(Refusal::TokenExpired));
    assert_eq!(judge(&token(), end + 1).err(), Some(Refusal::TokenExpired));
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_times_beyond_the_skew() {
    for name in ["iat", "nbf"] {
        let at = |time: u64| sign(&header(), &with(claims(), name, json!(time)));
        assert_eq!(refusal(&at(NOW + 5)), None, "{name}");
        assert_eq!(refusal(&at(NOW + 6)), Some(Refusal::TokenInvalid), "{name}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_times_that_contradict_each_other() {
    for (name, time) in [
        ("auth_time", NOW - 59),
        ("iat", NOW + 240),
        ("exp", NOW - 60),
        ("nbf", NOW + 241),
        ("exp", NOW - 60 + 3601),
        ("exp", NOW + 100 * 365 * 86_400),
    ] {
        let odd = sign(&header(), &with(claims(), name, json!(time)));
        assert_eq!(refusal(&odd), Some(Refusal::TokenInvalid), "{name} {time}");
    }
    let longest = with(claims(), "exp", json!(NOW - 60 + 3600));
    assert_eq!(refusal(&sign(&header(), &longest)), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_claim_that_is_missing_or_of_another_type() {
    let numbers = [
        Value::Null,
        json!("1795224155"),
        json!(true),
        json!([1]),
        json!({}),
        json!(-1),
        json!(1.5),
        json!(1e300),
    ];
    for name in ["iat", "exp", "auth_time", "idx"] {
        assert_eq!(
            refusal(&sign(&header(), &without(claims(), name))),
            Some(Refusal::TokenInvalid)
        );
        for value in &numbers {
            let odd = sign(&header(), &with(claims(), name, value.clone()));
            assert_eq!(refusal(&odd), Some(Refusal::TokenInvalid), "{name} {value}");
        }
    }
    for name in ["iss", "aud", "sub", "sid"] {
        assert_eq!(
            refusal(&sign(&header(), &without(claims(), name))),
            Some(Refusal::TokenInvalid)
        );
        for value in [Value::Null, json!(7), json!(["app"]), json!({}), json!("")] {
            let odd = sign(&header(), &with(claims(), name, value.clone()));
            assert_eq!(refusal(&odd), Some(Refusal::TokenInvalid), "{name} {value}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_number_written_as_float_or_exponent() {
    let good = Value::Object(claims()).to_string();
    for (from, to) in [
        (
            format!("\"exp\":{}", NOW + 240),
            format!("\"exp\":{}.0", NOW + 240),
        ),
        (
            format!("\"exp\":{}", NOW + 240),
            "\"exp\":1.795224395e9".to_owned(),
        ),
        ("\"idx\":7".to_owned(), "\"idx\":-0".to_owned()),
        ("\"idx\":7".to_owned(), "\"idx\":4294967296".to_owned()),
        (
            "\"idx\":7".to_owned(),
            "\"idx\":18446744073709551616".to_owned(),
        ),
    ] {
        assert!(good.contains(&from));
        let odd = sign_text(
            &crate::support::key(),
            &Value::Object(header()).to_string(),
            &good.replace(&from, &to),
        );
        assert_eq!(refusal(&odd), Some(Refusal::TokenInvalid), "{to}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_every_other_issuer_and_audience() {
    for (name, value) in [
        ("iss", "https://sessions.example/"),
        ("iss", "https://sessions.exampl"),
        ("iss", "HTTPS://sessions.example"),
        ("iss", "https://sessions.example\0"),
        ("aud", "App"),
        ("aud", "app "),
        ("aud", "other"),
    ] {
        let odd = sign(&header(), &with(claims(), name, json!(value)));
        assert_eq!(
            refusal(&odd),
            Some(Refusal::TokenInvalid),
            "{name} {value:?}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_subject_that_is_unsafe_in_a_header() {
    let long = "a".repeat(256);
    for sub in [
        "a b",
        " a",
        "a\r\nb",
        "a,b",
        "a;b",
        "a\"b",
        "a\\b",
        "\u{202e}a",
        "ü",
        long.as_str(),
    ] {
        let odd = sign(&header(), &with(claims(), "sub", json!(sub)));
        assert_eq!(refusal(&odd), Some(Refusal::TokenInvalid), "{sub:?}");
    }
    for sub in ["a", "a@b@c", "user:1/2?3=%20", &long[..255]] {
        assert_eq!(
            refusal(&sign(&header(), &with(claims(), "sub", json!(sub)))),
            None,
            "{sub}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_sid_amr_and_ext_out_of_bounds() {
    let big = json!({"x": "y".repeat(1020)});
    for (name, value) in [
        ("sid", json!("AAAAAAAAAAAAAAAAAAAAA")),
        ("sid", json!("AAAAAAAAAAAAAAAAAAAAAAA")),
        ("sid", json!("AAAAAAAAAAAAAAAAAAAAAB")),
        ("sid", json!("AAAAAAAAAAAAAAAAAAAA==")),
        ("amr", json!("pwd")),
        ("amr", json!(["1", "2", "3", "4", "5", "6", "7", "8", "9"])),
        ("amr", json!([1])),
        ("amr", Value::Null),
        ("ext", json!([])),
        ("ext", Value::Null),
        ("ext", big),
        ("nbf", Value::Null),
    ] {
        let odd = sign(&header(), &with(claims(), name, value.clone()));
        assert_eq!(refusal(&odd), Some(Refusal::TokenInvalid), "{name} {value}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_header_that_is_not_exactly_alg_kid_typ() {
    for name in [
        "zip", "enc", "cty", "jku", "jwk", "x5u", "x5c", "b64", "salt",
    ] {
        let odd = sign(&with(header(), name, json!(false)), &claims());
        assert_eq!(refusal(&odd), Some(Refusal::TokenMalformed), "{name}");
    }
    for crit in [
        json!([]),
        Value::Null,
        json!(["b64"]),
        json!(["exp"]),
        json!("x"),
    ] {
        let odd = sign(&with(header(), "crit", crit), &claims());
        assert_eq!(refusal(&odd), Some(Refusal::TokenMalformed));
    }
    for name in ["alg", "kid", "typ"] {
        assert_eq!(
            refusal(&sign(&without(header(), name), &claims())),
            Some(Refusal::TokenMalformed)
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_every_other_typ() {
    for typ in [
        "JWT",
        "at+jwt",
        "assertion+jwt",
        "revocations+jwt",
        "SESSION+JWT",
        "\u{17f}e\u{17f}\u{17f}ion+jwt",
        "application/session+jwt",
        "",
    ] {
        let odd = sign(&with(header(), "typ", json!(typ)), &claims());
        assert_eq!(refusal(&odd), Some(Refusal::TokenMalformed), "{typ}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_every_other_algorithm_and_key_alike() {
    for alg in [
        "none", "None", "HS256", "ES256", "Ed25519", "RS256", "eddsa", "EDDSA", "",
    ] {
        let odd = sign(&with(header(), "alg", json!(alg)), &claims());
        assert_eq!(refusal(&odd), Some(Refusal::TokenUntrusted), "{alg}");
    }
    for kid in [
        "k2",
        "K1",
        "../../dev/null",
        "' OR 1=1--",
        "__proto__",
        "hs256",
    ] {
        let odd = sign(&with(header(), "kid", json!(kid)), &claims());
        assert_eq!(
            refusal(&odd)
                .map(Refusal::code)
                .unwrap_or_default()
                .split('_')
                .next(),
            Some("token"),
            "{kid}"
        );
        assert!(refusal(&odd).is_some());
    }
    for alg in [json!(["EdDSA"]), Value::Null, json!(1)] {
        assert_eq!(
            refusal(&sign(&with(header(), "alg", alg), &claims())),
            Some(Refusal::TokenMalformed)
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_signature_of_another_key_and_none() {
    let text = |members| Value::Object(members).to_string();
    let foreign = sign_text(
        &crate::support::other_key(),
        &text(header()),
        &text(claims()),
    );
    assert_eq!(refusal(&foreign), Some(Refusal::TokenUntrusted));

    let good = token();
    let (input, _) = good.rsplit_once('.').expect("three parts");
    let zeros = "A".repeat(86);
    assert_eq!(
        refusal(&format!("{input}.{zeros}")),
        Some(Refusal::TokenUntrusted)
    );
    assert_eq!(
        refusal(&format!("{input}.AAAA")),
        Some(Refusal::TokenUntrusted)
    );
    assert_eq!(refusal(&format!("{input}.")), Some(Refusal::TokenMalformed));
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_every_other_shape() {
    let good = token();
    let parts: Vec<&str> = good.split('.').collect();
    let [first, second, third] = parts[..] else {
        panic!("three parts")
    };
    for odd in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        ".".repeat(100_000),
        format!("{first}.{second}"),
        format!("{good}.{third}"),
        format!(".{second}.{third}"),
        format!("{first}..{third}"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}="),
        format!("{first}.{second}.{third}\n"),
        good.replace('.', "\0."),
        format!("{{\"protected\":\"{first}\",\"payload\":\"{second}\",\"signature\":\"{third}\"}}"),
    ] {
        assert_eq!(refusal(&odd), Some(Refusal::TokenMalformed), "{odd:.60}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_spare_bits_in_the_last_character() {
    let good = token();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (body, last) = good.split_at(good.len() - 1);
    let others = alphabet.chars().filter(|c| !last.contains(*c));
    assert_eq!(
        others
            .filter(|c| judge(&format!("{body}{c}"), NOW).is_ok())
            .count(),
        0
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_duplicate_members_at_every_depth() {
    let (header, claims) = (
        Value::Object(header()).to_string(),
        Value::Object(claims()).to_string(),
    );
    let key = crate::support::key();
    for (header, payload) in [
        (
            header.replacen('{', "{\"alg\":\"EdDSA\",", 1),
            claims.clone(),
        ),
        (
            header.replacen('{', "{\"\\u006bid\":\"k1\",", 1),
            claims.clone(),
        ),
        (
            header.clone(),
            claims.replacen('{', "{\"exp\":9999999999,", 1),
        ),
        (
            header.clone(),
            claims.replacen('{', "{\"\\u0065xp\":9999999999,", 1),
        ),
        (
            header.clone(),
            claims.replace("\"role\":", "\"role\":\"admin\",\"role\":"),
        ),
    ] {
        let odd = sign_text(&key, &header, &payload);
        assert_eq!(
            refusal(&odd),
            Some(Refusal::TokenMalformed),
            "{header} {payload}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_payload_or_header_that_is_no_object() {
    let (header, claims) = (
        Value::Object(header()).to_string(),
        Value::Object(claims()).to_string(),
    );
    let key = crate::support::key();
    for odd in [
        "[]",
        "null",
        "1",
        "\"x\"",
        "true",
        "",
        "{} x",
        "{}{}",
        "\u{feff}{}",
        "[\"EdDSA\"]",
    ] {
        assert_eq!(
            refusal(&sign_text(&key, &header, odd)),
            Some(Refusal::TokenMalformed),
            "{odd}"
        );
        assert_eq!(
            refusal(&sign_text(&key, odd, &claims)),
            Some(Refusal::TokenMalformed),
            "{odd}"
        );
    }
    assert_eq!(
        refusal(&sign_text(&key, &header, "{}")),
        Some(Refusal::TokenInvalid)
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_refuses_one_byte_too_long() {
    let padded = |bytes: usize| {
        let claims = with(claims(), "ignored", json!("x".repeat(bytes)));
        sign(&header(), &claims)
    };
    let fits = (2000..3000)
        .map(&padded)
        .find(|token| token.len() == MAX_TOKEN_BYTES);
    let fits = fits.or_else(|| {
        (2000..3000)
            .map(&padded)
            .find(|t| t.len() == MAX_TOKEN_BYTES - 1)
    });
    assert_eq!(refusal(&fits.expect("a token at the limit")), None);

    let too_long = (2000..3000)
        .map(&padded)
        .find(|token| token.len() > MAX_TOKEN_BYTES);
    assert_eq!(
        refusal(&too_long.expect("a token over it")),
        Some(Refusal::TokenMalformed)
    );
    assert_eq!(refusal(&padded(1 << 20)), Some(Refusal::TokenMalformed));
    let long_header = sign(&with(header(), "kid", json!("k".repeat(500))), &claims());
    assert_eq!(refusal(&long_header), Some(Refusal::TokenMalformed));
}

#[wasm_bindgen_test(unsupported = test)]
fn judge_accepts_no_change_of_any_byte() {
    let good = token();
    for position in 0..good.len() {
        for byte in *b"A_.=~" {
            let mut bytes = good.clone().into_bytes();
            if bytes[position] == byte {
                continue;
            }
            bytes[position] = byte;
            let odd = String::from_utf8(bytes).expect("ASCII");
            assert!(judge(&odd, NOW).is_err(), "byte {position}");
        }
    }
}
