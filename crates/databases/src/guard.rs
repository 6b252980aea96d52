//! What stays when we are killed outright, for as long as it takes to clean up.
//!
//! A guard is a small shell program with a pipe from us. It reads which process to end; when the
//! pipe closes, whether we closed it or died, it ends that process and removes the folder. Asking
//! the kernel to end a child with its parent would not do: it means the parent's thread, and a test
//! runner's threads end with each test. A group of its own keeps the guard from Ctrl-C.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::Signal;

/// A dying server may still write files while its folder is removed: hence several attempts.
const SCRIPT: &str = r#"
while read -r line; do order=$line; done
[ -z "$order" ] || kill $order
for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$1" && exit; sleep 0.2; done
"#;

/// The guard of one folder.
pub(crate) struct Guard {
    shell: Child,
    orders: Option<ChildStdin>,
}

impl Guard {
    /// Guards a folder.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start sh, which cleans up after a database server")?;
        let orders = shell.stdin.take();
        Ok(Self { shell, orders })
    }

    /// From now on this process ends with us, by this signal.
    pub(crate) fn watch(&mut self, signal: Signal, process: u32) -> Result<()> {
        self.order(&format!("-{} {process}", signal.as_raw()))
    }

    /// From now on no process ends with us.
    pub(crate) fn forget(&mut self) -> Result<()> {
        self.order("")
    }

    fn order(&mut self, line: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("a guard takes orders")?;
        writeln!(orders, "{line}").context("the guard of a database server is gone")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It ends once the folder is removed; a guard that cannot be waited for is gone.
        let _ = self.shell.wait();
    }
}
