//! The owner of a claim: a process, distinguished from all others that may share a store, and whether it is still running. On
//! systems without `/proc` this is unknown, and leases are used.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// A process.
#[derive(Debug, PartialEq)]
pub(super) struct Owner {
    /// The machine, its boot and its process namespace: process ids are only comparable within the same one.
    pub(super) host: String,
    pub(super) pid: u32,
    /// Its start time in clock ticks, since process ids are reused.
    pub(super) started: String,
}

impl Owner {
    pub(super) fn of_this_process() -> Owner {
        let pid = std::process::id();
        Owner { host: host(), pid, started: started(pid).unwrap_or_default() }
    }

    /// Whether its claims are free: its lease, in milliseconds of Unix time, has expired, or its process has ended.
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

/// Field 22 of the process's `stat`, counted after the name, which may hold any character. A zombie has ended.
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
