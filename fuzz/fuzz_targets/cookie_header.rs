//! Any text in the place of a `Cookie` or `Set-Cookie` line.

#![no_main]

use hallpass_properties::cookie_header::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
