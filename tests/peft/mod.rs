//! Tests that adapters in the file format of PEFT give results close to those of `transformers` and PEFT, and that an
//! adapter is unchanged after it is written and read back. An invalid adapter must be refused with an error that states
//! the invalid key or tensor. `tests/data/peft/make.py` generates the data and states the versions of both libraries.

mod forms;
mod parity;

use crate::cases;
use proptest::prelude::*;
use r3mes_wgpu::{
    model::{file, peft, weights::Model},
    numbers::lora::{LoraAdapter, LoraMatrix},
};
use safetensors::SafeTensors;
use std::{fs, path::Path};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/peft").join(name)).unwrap()
}

fn model() -> Model {
    file::read(&fixture("model/config.json"), &fixture("model/model.safetensors")).unwrap()
}

fn exported() -> [Vec<u8>; 2] {
    ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"].map(fixture)
}

fn adapter() -> LoraAdapter {
    let [config, tensors] = exported();
    peft::read(&config, &tensors).unwrap()
}

/// Checks that an exported adapter has the same bytes after it is read with [`peft::read`] and written with
/// [`peft::write`].
#[test]
fn the_export_is_read_and_written_unchanged() {
    let [config, tensors] = exported();
    let (again, tensors_again) = peft::write(&adapter(), "tests/data/peft/model").unwrap();
    assert_eq!(String::from_utf8(again), String::from_utf8(config));
    assert!(tensors == tensors_again);
    assert!(adapter().check_shapes(&cases::targets(4).shapes(&model().config)).is_ok());
}

/// Returns an adapter whose parameters have extreme values, such as the largest i32 and values that need more than 24
/// bits.
fn extreme() -> LoraAdapter {
    let values = [0, 1, -1, i32::MAX, -i32::MAX, 1 << 24, (1 << 24) + 1, -(1 << 30) - 77];
    let matrix = |factor: &str, columns: usize| LoraMatrix {
        name: format!("layers.0.attention.q.{factor}"),
        rows: 4,
        columns,
        values: (0..4 * columns).map(|at| values[at % values.len()]).collect(),
    };
    LoraAdapter { rank: 4, alpha: 8, matrices: vec![matrix("a", 3), matrix("b", 5)] }
}

#[test]
fn master_parameters_keep_24_significant_bits() {
    let adapter = extreme();
    let (config, tensors) = peft::write(&adapter, "").unwrap();
    let read = peft::read(&config, &tensors).unwrap();
    for (read, matrix) in read.matrices.iter().zip(&adapter.matrices) {
        assert_eq!((&read.name, read.rows, read.columns), (&matrix.name, matrix.rows, matrix.columns));
        for (&read, &master) in read.values.iter().zip(&matrix.values) {
            let distance = (i64::from(read) - i64::from(master)).unsigned_abs();
            let lost = 32 - master.unsigned_abs().leading_zeros().min(8) - 24;
            assert!(distance <= 1 << lost >> 1 || (master.unsigned_abs() > i32::MAX as u32 - 128 && distance < 128));
            assert!(master.unsigned_abs() > 1 << 24 || distance == 0, "{master} {read}");
        }
    }
}

/// Checks that an adapter that PEFT has saved can be read. The test data contains only PEFT's config file. The tensors
/// are read from the adapter that this program exported, because `make.py` has checked that PEFT saves equal tensors.
#[test]
fn files_saved_by_peft_are_read() {
    let [_, tensors] = exported();
    assert_eq!(peft::read(&fixture("saved_config.json"), &tensors).unwrap(), adapter());
}

/// Replaces the text `from` by `to` in the config of the exported adapter, and returns the error with which the adapter
/// is refused.
fn error_with_config(from: &str, to: &str) -> String {
    let [config, tensors] = exported();
    let text = String::from_utf8(config).unwrap();
    assert!(text.contains(from), "{from}");
    peft::read(text.replacen(from, to, 1).as_bytes(), &tensors).unwrap_err().to_string()
}

#[test]
fn errors_name_the_unsupported_key_of_a_config() {
    for (from, to, key) in [
        ("\"LORA\"", "\"IA3\"", "peft_type"),
        ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "bias"),
        ("\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", "fan_in_fan_out"),
        ("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]", "modules_to_save"),
        ("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "init_lora_weights"),
        ("\"r\": 4", "\"r\": 3", "r is 3"),
        ("\"r\": 4", "\"r\": 8", "lora_A.weight: the shape [4, 64] does not match the rank 8"),
        ("\"r\": 4", "\"r\": 4, \"rank_pattern\": {\"q_proj\": 8}", "rank_pattern"),
        ("\"r\": 4", "\"r\": 4, \"use_what_is_not_invented\": true", "use_what_is_not_invented"),
        ("\"lora_alpha\": 8", "\"lora_alpha\": 0.5", "lora_alpha"),
        ("\"q_proj\"", "\"lm_head\"", "target_modules"),
        ("\"q_proj\",", "", "is not in the config's target_modules"),
        ("\"target_modules\": [", "\"target_modules\": 3, \"auto_mapping\": [", "target_modules"),
    ] {
        let error = error_with_config(from, to);
        assert!(error.contains(key), "{to}: {error}");
    }
    let [config, tensors] = exported();
    let whole = String::from_utf8(config).unwrap().replace("\"lora_alpha\": 8", "\"lora_alpha\": 8.0");
    assert_eq!(peft::read(whole.as_bytes(), &tensors).unwrap(), adapter());
}

#[test]
fn incomplete_adapters_are_not_written() {
    let mut gap = adapter();
    gap.matrices.pop();
    assert!(peft::write(&gap, "").is_err());
    let mut twice = adapter();
    twice.matrices[0].name = twice.matrices[2].name.clone();
    assert!(peft::write(&twice, "").is_err());
    let mut named = adapter();
    named.matrices[0].name = "layers.0.head.a".into();
    assert!(peft::write(&named, "").unwrap_err().to_string().contains("layers.0.head.a"));
}

/// Replaces the name, shape and bytes of each tensor of the exported adapter by the result of `change`, or removes the
/// tensor if the result is `None`. Returns the error with which the adapter is refused.
fn error_with_tensors(change: impl Fn(&str, Vec<usize>, Vec<u8>) -> Option<(String, Vec<usize>, Vec<u8>)>) -> String {
    use safetensors::{Dtype, tensor::TensorView};
    let [config, tensors] = exported();
    let file = SafeTensors::deserialize(&tensors).unwrap();
    let changed = file.iter().filter_map(|(name, view)| change(name, view.shape().to_vec(), view.data().to_vec()));
    let changed: Vec<_> = changed.collect();
    let views = changed
        .iter()
        .map(|(name, shape, data)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    peft::read(&config, &bytes).unwrap_err().to_string()
}

#[test]
fn errors_name_the_invalid_tensor() {
    const NAME: &str = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
    let missing = error_with_tensors(|name, shape, data| (name != NAME).then(|| (name.to_owned(), shape, data)));
    assert_eq!(missing, format!("{NAME} is missing"));
    let turned = error_with_tensors(|name, mut shape, data| {
        if name == NAME {
            shape.reverse();
        }
        Some((name.to_owned(), shape, data))
    });
    assert!(turned.contains(NAME) && turned.contains("[4, 128]"), "{turned}");
    let renamed = error_with_tensors(|name, shape, data| Some((name.replace("up_proj", "lm_head"), shape, data)));
    assert!(renamed.contains("lm_head") && renamed.contains("not a LoRA factor"), "{renamed}");
    let short = error_with_tensors(|name, mut shape, mut data| {
        if name == NAME {
            shape[0] -= 1;
            data.truncate(4 * shape[0] * shape[1]);
        }
        Some((name.to_owned(), shape, data))
    });
    assert!(short.contains(NAME) && short.contains("127 features"), "{short}");
    for value in [8.0f32, -8.5, f32::NAN, f32::INFINITY] {
        let outside = error_with_tensors(|name, shape, mut data| {
            if name == NAME {
                data[4..8].copy_from_slice(&value.to_le_bytes());
            }
            Some((name.to_owned(), shape, data))
        });
        assert!(outside.contains(NAME) && outside.contains("outside the range from -8 to 8"), "{value}: {outside}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Checks that reading altered files never panics. If an adapter can be read from them, it must be possible to
    /// write it.
    #[test]
    fn mutated_files_never_panic(
        which in 0..2usize,
        cut in proptest::option::of(0..4096usize),
        changes in proptest::collection::vec((0..4096usize, any::<u8>()), 0..6),
    ) {
        let (config, tensors) = peft::write(&extreme(), "").unwrap();
        let mut files = [config, tensors];
        let file = &mut files[which];
        for (at, byte) in changes {
            let at = at % file.len();
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut);
        }
        if let Ok(adapter) = peft::read(&files[0], &files[1]) {
            peft::write(&adapter, "").unwrap();
        }
    }
}
