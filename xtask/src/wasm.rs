//! What a deployed wasm file does not need.
//!
//! A module is eight bytes and then sections: a byte of kind, a length, that many bytes. Sections of
//! kind 0 are custom: a name and whatever its maker wanted to keep.
//! Source: WebAssembly Core Specification, chapter 5.5.

use anyhow::{Context, Result, bail};

const HEAD_BYTES: usize = 8;
const CUSTOM: u8 = 0;
/// Names of functions, a sixth of the file: only debuggers read them, and what they would be asked
/// about is in `target/`, names and all.
const NAMES: &[u8] = b"name";

/// The module without the names of its functions.
///
/// # Errors
/// When it is not a module.
pub(crate) fn without_names(module: &[u8]) -> Result<Vec<u8>> {
    let (head, mut rest) = split(module, HEAD_BYTES)?;
    let mut kept = head.to_vec();
    while let Some((kind, after_kind)) = rest.split_first() {
        let (length, content) = read_number(after_kind)?;
        let (content, next) = split(content, length)?;
        if *kind != CUSTOM || custom_name(content)? != NAMES {
            kept.extend_from_slice(&rest[..rest.len() - next.len()]);
        }
        rest = next;
    }
    Ok(kept)
}

fn custom_name(content: &[u8]) -> Result<&[u8]> {
    let (length, content) = read_number(content)?;
    Ok(split(content, length)?.0)
}

/// An unsigned LEB128 number of up to 32 bits, and what follows it.
fn read_number(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[place + 1..]));
        }
    }
    bail!("not a wasm module")
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(at).context("not a wasm module")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"\0asm\x01\0\0\0";
    const TYPES: &[u8] = b"\x01\x01\0";
    const NAME: &[u8] = b"\0\x07\x04nameab";
    const FEATURES: &[u8] = b"\0\x05\x03abcd";

    #[test]
    fn without_names_drops_the_names_and_keeps_every_other_section() -> Result<()> {
        let module = [HEAD, TYPES, NAME, FEATURES].concat();
        assert_eq!(without_names(&module)?, [HEAD, TYPES, FEATURES].concat());
        Ok(())
    }

    #[test]
    fn without_names_reads_lengths_of_two_bytes() -> Result<()> {
        let long = [b"\0\x85\x01\x04name".as_slice(), &[7; 128]].concat();
        assert_eq!(without_names(&[HEAD, &long].concat())?, HEAD);
        Ok(())
    }

    #[test]
    fn without_names_refuses_what_is_cut_off() {
        for cut in [3, HEAD.len() + 1, HEAD.len() + 4] {
            let module = [HEAD, NAME].concat();
            assert!(without_names(&module[..cut]).is_err(), "{cut}");
        }
    }
}
