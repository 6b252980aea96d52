//! How long a forged MAC takes to refuse tells nothing about how much of it was right.
//!
//! Two forgeries, one wrong from its first byte and one in its last only, are judged in random
//! order; Welch's t compares their times as dudect does. Noise of the machine strikes both alike, so
//! it hides differences but makes none: past 4.5 there is one.
//!
//! Source: Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017.

use hallpass_session::base64url::encode;
use hallpass_session::jws::Verdict;
use hallpass_session::keyring::{Keyring, VerificationKey};
use hallpass_session::token;
use std::time::Instant;

const SAMPLES: u32 = 20_000;
const SECRET: [u8; 32] = [9; 32];

/// Mean and variance so far (Welford).
#[derive(Default)]
struct Times {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Times {
    fn add(&mut self, time: f64) {
        self.count += 1.0;
        let away = time - self.mean;
        self.mean += away / self.count;
        self.squares += away * (time - self.mean);
    }

    /// The variance of the mean.
    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// A token whose MAC is wrong in one byte.
fn forged(wrong_byte: usize) -> String {
    let header = r#"{"alg":"HS256","kid":"hs256","typ":"session+jwt"}"#;
    let claims = r#"{"iss":"i","aud":"a","sub":"s","sid":"AAAAAAAAAAAAAAAAAAAAAA","idx":1,"iat":1000,"exp":1300,"auth_time":1000}"#;
    let input = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let mut mac = hmac_sha256::HMAC::mac(&input, SECRET);
    mac[wrong_byte] ^= 1;
    format!("{input}.{}", encode(&mac))
}

#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn seconds_to_refuse(text: &str, keyring: &Keyring) -> f64 {
    let parsed = token::parse(text).expect("good form");
    let question = parsed.question(keyring).expect("a known key");
    let began = Instant::now();
    let verdict = hallpass_signature::verify(&question);
    let took = began.elapsed().as_secs_f64();
    assert_eq!(verdict, Verdict::Bad);
    took
}

#[test]
fn verify_takes_as_long_whatever_part_of_a_mac_is_right() {
    let keyring = Keyring::default().with(VerificationKey::from_hmac_secret(&SECRET).unwrap());
    let forgeries = [forged(0), forged(31)];
    let mut times = [Times::default(), Times::default()];
    // One buffer for both, or where each lies in memory would show.
    let mut text = String::with_capacity(forgeries[0].len());
    let mut random = 1_u32;
    for _ in 0..SAMPLES {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let class = usize::from(random.is_multiple_of(2));
        text.clone_from(&forgeries[class]);
        times[class].add(seconds_to_refuse(&text, &keyring));
    }

    let [first, last] = &times;
    let t = (first.mean - last.mean) / (first.error() + last.error()).sqrt();

    assert!(
        t.abs() < 4.5,
        "t = {t:.1}, means {:e} and {:e} s",
        first.mean,
        last.mean
    );
}
