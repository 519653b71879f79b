//! Runs libFuzzer on a fuzz target. The environment variable `R3MES_FUZZ` contains the name of the target. The first
//! argument that is not an option is the folder of the corpus. If this folder is empty, the seeds (initial inputs) of
//! the target are first written into it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use r3mes_fuzz::{TARGETS, Target, target};
use std::{env, fs, sync::LazyLock};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = env::var("R3MES_FUZZ").unwrap_or_default();
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let target = target(&name).unwrap_or_else(|| panic!("R3MES_FUZZ must be one of {}", names.join(", ")));
    let corpus = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if let Some(corpus) = corpus.filter(|corpus| fs::read_dir(corpus).is_ok_and(|mut files| files.next().is_none())) {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(format!("{corpus}/seed-{number}"), seed).expect("the corpus can be written");
        }
    }
    target
});

fuzz_target!(
    init: {
        LazyLock::force(&TARGET);
    },
    |bytes: &[u8]| (TARGET.run)(bytes)
);
