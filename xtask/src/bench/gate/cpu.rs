//! How long a process has been on a processor, all its threads together.

use std::fs;

use anyhow::{Context, Result};

/// Nanoseconds of processor time; a thread that has ended is no longer counted, and workerd keeps
/// its threads.
///
/// # Errors
/// When the process is gone, or the system does not tell (it is not Linux).
pub(super) fn spent_ns(process: u32) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))
        .context("processor time per process is read from /proc: this needs Linux")?;
    let of_task = |task: std::io::Result<fs::DirEntry>| {
        let told = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(tasks.filter_map(of_task).sum())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn spent_ns_grows_with_work() -> Result<()> {
        let own = std::process::id();
        let before = spent_ns(own)?;
        let mut sum = 0_u64;
        while spent_ns(own)? < before + 1_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(sum > 0);
        Ok(())
    }
}
