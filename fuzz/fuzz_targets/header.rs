//! Any bytes in the place of a token's header.

#![no_main]

use hallpass_properties::header::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
