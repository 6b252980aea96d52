//! Any bytes in the place of a JWK set.

#![no_main]

use hallpass_properties::key_set::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
