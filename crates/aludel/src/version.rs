//! The version of Aludel and what it detects on this machine, as needed for a bug report. The commit comes from the
//! build script.

use aludel_kernels::Isa;
use std::sync::OnceLock;

/// The commit that this was built from, where that was known.
pub(crate) const COMMIT: Option<&str> = option_env!("ALUDEL_COMMIT");

/// The processor's name, if the system reports it.
pub(crate) fn processor() -> Option<String> {
    let text = aludel_files::read_of_system("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?.1;
    Some(name.trim().to_owned())
}

/// What `--version` says beyond the version: commit, target and instruction set.
pub(crate) fn long_version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        format!(
            "{}\ncommit: {}\ntarget: {}\ninstruction set found here: {}",
            env!("CARGO_PKG_VERSION"),
            COMMIT.unwrap_or("unknown"),
            env!("ALUDEL_TARGET"),
            Isa::detect().name()
        )
    })
}
