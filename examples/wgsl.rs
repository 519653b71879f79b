//! Writes the complete WGSL of every lowering to a folder, one file for each: what a GPU driver or another compiler of
//! WGSL gets.
//!
//! Run it with `cargo run --example wgsl -- DIR`.

use r3mes_wgpu::kernels;
use std::{fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: wgsl DIR")?);
    fs::create_dir_all(&dir)?;
    for kernel in kernels::ALL {
        for lowering in kernel.lowerings {
            fs::write(dir.join(format!("{}.{}.wgsl", kernel.name, lowering.name)), lowering.wgsl())?;
        }
    }
    Ok(())
}
