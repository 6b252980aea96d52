//! Any text in the place of a session token.

#![no_main]

use hallpass_properties::token::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
