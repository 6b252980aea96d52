//! Any bytes in the place of a token's claims, well signed.

#![no_main]

use hallpass_properties::claims::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
