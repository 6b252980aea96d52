//! What differs between the two machines: files, the clock, threads.
//!
//! In wasm files come from Node's `fs` and there is one thread.

use crate::BadData;
use ct_codecs::{Decoder, Hex};
use serde::de::DeserializeOwned;
use std::ops::Range;

/// Reads a JSON file of the data.
pub(crate) fn read_json<T: DeserializeOwned>(folder: &str, path: &str) -> Result<T, BadData> {
    let bytes = read(folder, path)?;
    serde_json::from_slice(&bytes).map_err(|error| BadData(format!("{folder}/{path}: {error}")))
}

/// Reads a file of the data.
pub(crate) fn read(folder: &str, path: &str) -> Result<Vec<u8>, BadData> {
    let path = format!("{folder}/{path}");
    this::read(&path).ok_or_else(|| BadData(format!("cannot read {path}")))
}

/// The bytes that the data gives in hexadecimal.
pub(crate) fn bytes(hex: &str) -> Result<Vec<u8>, BadData> {
    Hex::decode_to_vec(hex, None).map_err(|_| BadData(format!("no hexadecimal: {hex}")))
}

/// The names in a folder of the data, in order.
pub(crate) fn list(folder: &str, path: &str) -> Result<Vec<String>, BadData> {
    let path = format!("{folder}/{path}");
    let mut names = this::list(&path).ok_or_else(|| BadData(format!("cannot list {path}")))?;
    names.sort();
    Ok(names)
}

/// Milliseconds since some moment.
pub(crate) fn now_ms() -> f64 {
    this::now_ms()
}

/// Cuts `0..total` into as many ranges as there may be threads, and runs `work` on each.
pub(crate) fn in_parallel<T: Send>(
    total: u64,
    threads: u32,
    work: impl Fn(Range<u64>) -> T + Sync,
) -> Vec<T> {
    let threads = u64::from(threads.max(1));
    let share = total.div_ceil(threads).max(1);
    let ranges = (0..threads).map(|n| (n * share).min(total)..((n + 1) * share).min(total));
    this::in_parallel(ranges.collect(), work)
}

#[cfg(not(target_arch = "wasm32"))]
mod this {
    use std::ops::Range;
    use std::sync::LazyLock;
    use std::time::Instant;

    #[expect(
        clippy::disallowed_methods,
        reason = "the report says how long a set took"
    )]
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(super) fn read(path: &str) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    pub(super) fn list(path: &str) -> Option<Vec<String>> {
        let entries = std::fs::read_dir(path).ok()?;
        entries
            .map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect()
    }

    pub(super) fn now_ms() -> f64 {
        BEGAN.elapsed().as_secs_f64() * 1000.0
    }

    pub(super) fn in_parallel<T: Send>(
        ranges: Vec<Range<u64>>,
        work: impl Fn(Range<u64>) -> T + Sync,
    ) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = ranges
                .into_iter()
                .map(|range| scope.spawn(move || work(range)))
                .collect();
            let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            joined
                .map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }
}

#[cfg(target_arch = "wasm32")]
mod this {
    use std::ops::Range;
    use wasm_bindgen::JsValue;
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(module = "node:fs")]
    extern "C" {
        #[wasm_bindgen(js_name = readFileSync, catch)]
        fn read_file(path: &str) -> Result<Vec<u8>, JsValue>;

        #[wasm_bindgen(js_name = readdirSync, catch)]
        fn read_dir(path: &str) -> Result<Vec<String>, JsValue>;
    }

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = performance, js_name = now)]
        fn performance_now() -> f64;
    }

    pub(super) fn read(path: &str) -> Option<Vec<u8>> {
        read_file(path).ok()
    }

    pub(super) fn list(path: &str) -> Option<Vec<String>> {
        read_dir(path).ok()
    }

    pub(super) fn now_ms() -> f64 {
        performance_now()
    }

    pub(super) fn in_parallel<T>(
        ranges: Vec<Range<u64>>,
        work: impl Fn(Range<u64>) -> T,
    ) -> Vec<T> {
        ranges.into_iter().map(work).collect()
    }
}
