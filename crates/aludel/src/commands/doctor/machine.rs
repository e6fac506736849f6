//! The machine: processor and its measured speed, memory, disk, limits of the system, clock, GPU, and where models of the Hub are kept.

use super::Finding;
use crate::hub;
use crate::humanize::bytes;
use crate::settings::instruction_set_of_the_environment;
use crate::version::processor;
use aludel_distill::memory;
use aludel_files::counted;
use aludel_kernels::linear::Precision;
use aludel_kernels::{Isa, peak};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Memory with which the smallest students can be trained.
const LITTLE_MEMORY: u64 = 2 << 30;
/// Room for a few checkpoints and a small merged model.
const LITTLE_DISK: u64 = 2 << 30;
/// Below this many, a collection with many requests at once may run out of open files.
const FEW_FILES: u64 = 512;
/// All of it.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![cores(), speed()];
    findings.extend(memory_there());
    findings.extend(disk());
    findings.extend(huge_pages());
    findings.extend(open_files());
    findings.extend(clock());
    findings.extend(gpu());
    findings.push(hub_cache());
    findings
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cores() -> Finding {
    let (isa, cores) = (Isa::detect(), threads());
    let known: Vec<&str> = Isa::supported().iter().map(|isa| isa.name()).collect();
    let asked = instruction_set_of_the_environment();
    let found = format!(
        "{}, {} to use, instruction sets {}{}",
        processor().unwrap_or_else(|| "unknown".to_owned()),
        counted(cores as u64, "core", "cores"),
        known.join(", "),
        asked.map_or_else(String::new, |name| format!("; ALUDEL_ISA asks for {name}")),
    );
    match isa {
        Isa::Portable => Finding::warning(
            "processor",
            found,
            "without AVX2, products are computed one number at a time or as the compiler arranges them",
            "use a processor with AVX2 or AVX-512 for anything but trials",
        ),
        _ => Finding::ok("processor", found),
    }
}

fn speed() -> Finding {
    let (isa, threads) = (Isa::detect(), threads());
    let giga = |rate: f64| format!("{:.0}", rate / 1e9);
    let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|precision| giga(peak::flops(isa, precision, threads)));
    let chosen = if peak::favours_bf16(isa) { "bf16" } else { "f32" };
    let found = format!(
        "f32 {f32} GFLOP/s, bf16 {bf16} GFLOP/s, memory read at {} GB/s; `dtype = \"auto\"` trains in {chosen}",
        giga(peak::memory_read_rate(threads))
    );
    Finding::ok("speed", found)
}

fn memory_there() -> Option<Finding> {
    let available = memory::available()?;
    let found = format!("{} available", bytes(available));
    Some(match available < LITTLE_MEMORY {
        true => Finding::warning(
            "memory",
            found,
            "training the smallest students takes about 1 GB, and the rest of the system shares what is there",
            "end other programs, or train with student.quantize = \"nf4\" and train.gradient_checkpointing = true",
        ),
        false => Finding::ok("memory", found),
    })
}

#[cfg(unix)]
fn disk() -> Option<Finding> {
    let there = rustix::fs::statvfs(".").ok()?;
    let free = there.f_bavail.saturating_mul(there.f_frsize);
    let found = format!("{} free in this folder's file system", bytes(free));
    Some(match free < LITTLE_DISK {
        true => Finding::warning(
            "disk",
            found,
            "checkpoints and merged models are written whole before they replace what was there",
            "make room, or work in another file system",
        ),
        false => Finding::ok("disk", found),
    })
}

#[cfg(not(unix))]
fn disk() -> Option<Finding> {
    None
}

fn huge_pages() -> Option<Finding> {
    let text = aludel_files::read_of_system("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let chosen = text.split('[').nth(1)?.split(']').next()?.to_owned();
    Some(Finding::ok("huge pages", format!("transparent huge pages: {chosen}")))
}

#[cfg(unix)]
fn open_files() -> Option<Finding> {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let found = format!("{most} at once");
    Some(match most < FEW_FILES {
        true => Finding::warning(
            "open files",
            found,
            "each request to a teacher holds a connection, and each model a mapped file",
            "raise the limit for this shell: ulimit -n 4096",
        ),
        false => Finding::ok("open files", found),
    })
}

#[cfg(not(unix))]
fn open_files() -> Option<Finding> {
    None
}

/// A clock that is behind the program's own file is wrong.
fn clock() -> Option<Finding> {
    let made = std::env::current_exe().ok()?.metadata().ok()?.modified().ok()?;
    let behind = made.duration_since(SystemTime::now()).unwrap_or_default();
    Some(match behind > Duration::from_secs(86_400) {
        true => Finding::warning(
            "clock",
            "it is behind the date of this program",
            "certificates of servers are refused that are not valid yet, and chat templates are told a wrong date",
            "set the clock",
        ),
        false => Finding::ok("clock", "not behind this program's date"),
    })
}

fn gpu() -> Option<Finding> {
    let text = aludel_files::read_of_system("/proc/driver/nvidia/version").ok()?;
    let driver = text.lines().next()?.trim().to_owned();
    Some(Finding::ok("GPU", format!("{driver}; this version computes on the processor and does not use it")))
}

fn hub_cache() -> Finding {
    match hub::from_environment() {
        Ok(hub) => {
            let is_there = if hub.cache.is_dir() { "" } else { ", not there yet" };
            let token = if hub.token.is_some() { "a token is set" } else { "no token" };
            let offline = if hub.offline { ", offline (HF_HUB_OFFLINE)" } else { "" };
            Finding::ok("Hub", format!("{}, {token}, cache {}{is_there}{offline}", hub.endpoint, shown(&hub.cache)))
        }
        Err(error) => Finding::failure("Hub", "no place for fetched files", &error),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
