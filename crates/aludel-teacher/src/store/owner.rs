//! Who asks: a process, told apart from all others that may share a store, and whether it is still there. On systems without
//! `/proc` nobody is known to be gone; leases do there.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// A process.
#[derive(Debug, PartialEq)]
pub(super) struct Owner {
    /// The machine, its boot and the namespace of process numbers: only there does a number mean anything.
    pub(super) host: String,
    pub(super) pid: u32,
    /// When it started, as the system counts: numbers are given again.
    pub(super) started: String,
}

impl Owner {
    pub(super) fn of_this_process() -> Owner {
        let pid = std::process::id();
        Owner { host: host(), pid, started: started(pid).unwrap_or_default() }
    }

    /// Whether what it claimed is free: its lease, in milliseconds of Unix time, ended, or its process did.
    pub(super) fn is_gone_at(&self, lease: i64) -> bool {
        lease < now_ms() || self.is_gone()
    }

    /// Whether the process is known to have ended.
    fn is_gone(&self) -> bool {
        let can_be_seen = !self.started.is_empty() && self.host == host();
        can_be_seen && started(self.pid).as_ref() != Some(&self.started)
    }
}

fn host() -> String {
    let read = |path: &str| aludel_files::read_of_system(path).map(|text| text.trim().to_string()).unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
    format!("{} {} {namespace}", read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/random/boot_id"))
}

/// Field 22 of the process's `stat`, counted behind the name, which may hold anything. A zombie has ended.
fn started(pid: u32) -> Option<String> {
    let stat = aludel_files::read_of_system(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18).map(str::to_string),
    }
}

/// Now, in milliseconds of Unix time, as leases are counted.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
