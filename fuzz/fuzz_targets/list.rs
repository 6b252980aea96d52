//! Any lines in the place of revocation lists, well signed.

#![no_main]

use hallpass_properties::list::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
