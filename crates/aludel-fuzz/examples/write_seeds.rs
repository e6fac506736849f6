//! Writes the seeds that are made by code into `fuzz/seeds`: `cargo run -p aludel-fuzz --example write_seeds`.

use std::fs;
use std::io;

fn main() -> io::Result<()> {
    for (folder, name, bytes) in aludel_fuzz::generated() {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
