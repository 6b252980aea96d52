//! Any text in the place of `return_to`.

#![no_main]

use hallpass_properties::return_to::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
