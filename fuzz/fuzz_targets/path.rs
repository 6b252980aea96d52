//! Any text in the place of a path and query.

#![no_main]

use hallpass_properties::path::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
