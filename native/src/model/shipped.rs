//! The bundled model. Its files are in `native/model`, and `scripts/pretrain` trains it.

use crate::{output::hex, paths};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

const FILES: [(&str, &[u8]); 3] = [
    ("config.json", include_bytes!("../../model/config.json")),
    ("model.safetensors", include_bytes!("../../model/model.safetensors")),
    (super::tokenizer::TOKENIZER, include_bytes!("../../model/tokenizer.json")),
];

/// Returns the folder of the bundled model in `data_dir`, and writes the model's files if they are missing. The
/// folder's name contains a hash of the files, so the models of different versions of this program are in different
/// folders. Receipts for an older model can therefore still be verified.
pub(crate) fn dir(data_dir: &Path) -> Result<PathBuf> {
    let mut digest = Sha256::new();
    for (name, bytes) in FILES {
        digest.update(name);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    let name = format!("shipped-{}", &hex(&digest.finalize())[..16]);
    let dir = data_dir.join("models").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    for (name, bytes) in FILES {
        let path = dir.join(name);
        if !path.exists() {
            paths::write_whole(&path, bytes)?;
        }
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TEXT, TextTokenizer, targets};
    use pollster::block_on;
    use r3mes_wgpu::{
        compute::{Backend, cpu},
        model::{file, transformer::RecordedStep},
        numbers::lora::LoraAdapter,
        training::{
            session::JOB_EXPONENT,
            step::{Trainer, nats},
        },
    };

    #[test]
    fn the_bundled_model_is_small_and_predicts_unseen_english() {
        let home = std::env::temp_dir().join(format!("r3mes-shipped-{}", std::process::id()));
        let dir = dir(&home).unwrap();
        assert_eq!(dir, super::dir(&home).unwrap());
        let tokenizer = TextTokenizer::open(&dir, 1024).unwrap();
        fs::remove_dir_all(&home).unwrap();
        assert!(FILES.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= 3_000_000);

        let model = file::read(FILES[0].1, FILES[1].1).unwrap();
        assert!((2_000_000..=6_000_000).contains(&model.config.ternary_weights()) && model.config.context >= 256);
        let text = &TEXT[600_000..604_000];
        let ids = tokenizer.encode(text).unwrap();
        assert!(3 * ids.len() < 2 * text.len(), "{} tokens", ids.len());

        let targets = targets(4);
        let step = RecordedStep::new(&model, &targets, 1);
        let backend = Backend::Cpu { threads: 0, kernels: cpu::fastest };
        let mut trainer = block_on(Trainer::prepare(step, &backend)).unwrap();
        let adapter = LoraAdapter::seeded(4, 8, &targets.shapes(&model.config), [0; 32]).unwrap();
        block_on(trainer.load(&adapter, &vec![JOB_EXPONENT; adapter.matrices.len()])).unwrap();
        let (loss, saturated) = block_on(trainer.evaluate(&ids)).unwrap();
        let supervised = ids.len() - 1;
        let bits = nats(loss, supervised) / std::f64::consts::LN_2 * supervised as f64 / text.len() as f64;
        println!("{bits:.4} bits per byte");
        // a unigram model reaches 3.4 bits per byte, a bigram model reaches 2.7, and this model reaches 2.8 if another
        // RoPE theta is used
        assert!(!saturated && bits < 2.6, "{bits} bits per byte");
    }
}
