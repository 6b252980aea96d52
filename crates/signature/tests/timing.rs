//! How long a forged MAC takes to refuse tells nothing about how much of it was right.
//!
//! Two forgeries, one wrong from its first byte and one in its last only, are judged in random
//! order; Welch's t compares their times as dudect does, over the quicker half of each, where the
//! machine disturbed least. Noise strikes both alike, so it hides differences but makes none: past
//! 10 there is one. A comparison that stops at the first wrong byte, for control, is past 300.
//!
//! Source: Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017.

use hallpass_session::base64url::encode;
use hallpass_session::jws::Verdict;
use hallpass_session::keyring::{Keyring, VerificationKey};
use hallpass_session::token;
use std::hint::black_box;
use std::time::Instant;

const SAMPLES: usize = 20_000;
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

/// The header and claims of a token, and its MAC made wrong in one byte.
fn forged(wrong_byte: usize) -> (String, [u8; 32]) {
    let header = r#"{"alg":"HS256","kid":"hs256","typ":"session+jwt"}"#;
    let claims = r#"{"iss":"i","aud":"a","sub":"s","sid":"AAAAAAAAAAAAAAAAAAAAAA","idx":1,"iat":1000,"exp":1300,"auth_time":1000}"#;
    let input = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let mut mac = hmac_sha256::HMAC::mac(&input, SECRET);
    mac[wrong_byte] ^= 1;
    (input, mac)
}

/// Welch's t of the times that `refuse` takes for two classes, asked for in random order.
fn compare(mut refuse: impl FnMut(usize) -> f64) -> f64 {
    let mut random = 1_u32;
    let mut samples = [Vec::new(), Vec::new()];
    for _ in 0..SAMPLES {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let class = usize::from(random.is_multiple_of(2));
        samples[class].push(refuse(class));
    }
    let [first, last] = samples.map(quicker_half);
    (first.mean - last.mean) / (first.error() + last.error()).sqrt()
}

fn quicker_half(mut samples: Vec<f64>) -> Times {
    samples.sort_by(f64::total_cmp);
    let mut times = Times::default();
    for sample in &samples[..samples.len() / 2] {
        times.add(*sample);
    }
    times
}

#[expect(clippy::disallowed_methods, reason = "what is measured is time")]
fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

#[test]
fn verify_takes_as_long_whatever_part_of_a_mac_is_right() {
    let keyring = Keyring::default().with(VerificationKey::from_hmac_secret(&SECRET).unwrap());
    let forgeries = [0, 31].map(|wrong| {
        let (input, mac) = forged(wrong);
        format!("{input}.{}", encode(&mac))
    });
    // One buffer for both, or where each lies in memory would show.
    let mut text = String::with_capacity(forgeries[0].len());

    let t = compare(|class| {
        text.clone_from(&forgeries[class]);
        let parsed = token::parse(&text).expect("good form");
        let question = parsed.question(&keyring).expect("a known key");
        seconds(|| assert_eq!(hallpass_signature::verify(&question), Verdict::Bad))
    });
    assert!(t.abs() < 10.0, "t = {t:.1}");
}

#[test]
fn compare_sees_a_comparison_that_stops_at_the_first_wrong_byte() {
    let forgeries = [0, 31].map(forged);
    let mut mac = [0; 32];

    let t = compare(|class| {
        mac.copy_from_slice(&forgeries[class].1);
        seconds(|| {
            let right = hmac_sha256::HMAC::mac(&forgeries[0].0, SECRET);
            let mut pairs = black_box(&mac).iter().zip(black_box(&right));
            assert!(!pairs.all(|(one, other)| black_box(one) == other));
        })
    });
    assert!(t.abs() > 10.0, "t = {t:.1}");
}
