//! Writes a model with random weights and the shape of BitNet b1.58 2B4T to a folder. The model has 2.08 billion
//! ternary weights and takes 0.85 GB of disk space.
//!
//! Run it with `cargo run --release --example random_model -- DIR`. It needs 4 GB of memory.

use r3mes_wgpu::model::{config::ModelConfig, file, generator::seeded};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::PathBuf,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: random_model DIR")?);
    fs::create_dir_all(&dir)?;
    let model = seeded(ModelConfig::BITNET_2B4T, *b"a random model of 2B4T's shape..")?;
    fs::write(dir.join("config.json"), file::config_json(&model.config)?)?;
    let mut tensors = BufWriter::with_capacity(1 << 20, File::create(dir.join("model.safetensors"))?);
    file::write_tensors(&model, &mut tensors)?;
    Ok(tensors.flush()?)
}
