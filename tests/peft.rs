//! Adapters in PEFT's files: what transformers and PEFT computed of our export (`tests/data/peft`, `make.py` there says with
//! what versions) beside our integers, and every file that is refused.

#[allow(dead_code, reason = "a part is used")]
mod cases;

use pollster::block_on;
use proptest::prelude::*;
use r3mes_wgpu::{
    backend::Backend,
    kernels::cross_entropy::IGNORE,
    model::{
        file,
        lora::{LoraAdapter, LoraMatrix},
        peft,
        transformer::Step,
        weights::Model,
    },
    training::{session::JOB_EXPONENT, step::Trainer},
};
use safetensors::SafeTensors;
use std::{fs, path::Path, sync::Arc};

const CPU: Backend = Backend::Cpu { threads: 1, choose: |_| None };

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

/// What PEFT computed.
struct Reference(Vec<u8>);

impl Reference {
    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        file.tensor(name).unwrap().data().as_chunks().0.to_vec()
    }

    fn reals(&self, name: &str) -> Vec<f64> {
        self.words(name).into_iter().map(|word| f32::from_le_bytes(word).into()).collect()
    }

    fn ids(&self) -> Vec<u32> {
        self.words("ids").into_iter().map(u32::from_le_bytes).collect()
    }
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn cosine(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / (norm(x) * norm(y))
}

/// Logits `[tokens, vocab]` of the integer path: the head's scores, Q20 in bits.
fn logits(model: &Model, adapter: &LoraAdapter, ids: &[u32]) -> Vec<f64> {
    let step = Step::new(model, &cases::targets(adapter.rank), ids.len() / model.config.context);
    let (at, head) =
        step.recording.dispatches().iter().enumerate().find(|(_, dispatch)| dispatch.label == "head logits").unwrap();
    let scores = *head.buffers.last().unwrap();
    let mut player = block_on(CPU.player(&Arc::new(step.recording.clone()))).unwrap();
    for ((_, buffers), pair) in step.adapted.iter().zip(adapter.matrices.chunks_exact(2)) {
        for (id, words) in buffers.pack(adapter.alpha, &pair[0], &pair[1], (JOB_EXPONENT, JOB_EXPONENT)) {
            block_on(player.write(id, &words)).unwrap();
        }
    }
    block_on(player.write(step.ids, ids)).unwrap();
    block_on(player.write(step.labels, &vec![IGNORE; ids.len()])).unwrap();
    assert!(!block_on(player.play(0..at + 1)).unwrap());
    let unit = std::f64::consts::LN_2 / f64::from(1 << 20);
    block_on(player.read(scores)).unwrap().into_iter().map(|score| f64::from(score as i32) * unit).collect()
}

/// PEFT's LoRA sees x, ours its int8. The first comparison holds that difference, the second only what two paths round
/// to different int8 steps.
#[test]
fn peft_computes_our_logits_from_our_export() {
    let reference = Reference(fixture("reference.safetensors"));
    let got = logits(&model(), &adapter(), &reference.ids());
    let compare = |name: &str| {
        let want = reference.reals(name);
        let error: Vec<f64> = got.iter().zip(&want).map(|(got, want)| got - want).collect();
        let largest = error.iter().fold(0f64, |max, error| max.max(error.abs()));
        let (distance, cosine) = (norm(&error) / norm(&want), cosine(&got, &want));
        println!("{name}: cosine {cosine:.7}, distance {distance:.5} of the norm, {largest:.4} nats at most");
        (cosine, distance, largest)
    };
    let (cosine, distance, largest) = compare("logits");
    assert!(cosine >= 0.9999 && distance < 0.01 && largest < 0.25, "PEFT: {cosine} {distance} {largest}");
    let (cosine, int8_distance, largest) = compare("logits_int8");
    assert!(cosine >= 0.9999 && largest < 0.25, "PEFT on int8 x: {cosine} {int8_distance} {largest}");
    assert!(int8_distance < distance, "{int8_distance} {distance}");
    // and the adapter counts: without it the logits are elsewhere
    let mut none = adapter();
    none.matrices.iter_mut().for_each(|matrix| matrix.values.fill(0));
    let bare = logits(&model(), &none, &reference.ids());
    let moved: Vec<f64> = bare.iter().zip(&got).map(|(bare, got)| bare - got).collect();
    println!("without the adapter: distance {:.5}", norm(&moved) / norm(&got));
    assert!(norm(&moved) > 0.1 * norm(&got));
}

/// The gates of docs: global cosine, the worst matrix, and the ratio of norms.
#[test]
fn gradients_are_pefts() {
    let reference = Reference(fixture("reference.safetensors"));
    let (model, adapter, ids) = (model(), adapter(), reference.ids());
    let step = Step::new(&model, &cases::targets(adapter.rank), ids.len() / model.config.context);
    let player = block_on(CPU.player(&Arc::new(step.recording.clone()))).unwrap();
    let mut trainer = Trainer::new(step, player);
    block_on(trainer.load(&adapter, &vec![JOB_EXPONENT; adapter.matrices.len()])).unwrap();
    let got = block_on(trainer.gradient(&ids, &[7; 32], 0)).unwrap();
    assert!(!got.saturated);
    let (mut all_got, mut all_want, mut worst) = (Vec::new(), Vec::new(), (1.0, String::new()));
    for matrix in &got.matrices {
        let unit = 2f64.powi(matrix.exponent);
        let values: Vec<f64> = matrix.values.iter().map(|&value| value as f64 * unit).collect();
        let (_, _, factor) = peft::place(&matrix.name).unwrap();
        let (_, values) = peft::oriented(factor, matrix.rows, matrix.columns, &values);
        let name = peft::tensor_name(&matrix.name).unwrap();
        let want = reference.reals(&name);
        let cosine = cosine(&values, &want);
        if cosine < worst.0 {
            worst = (cosine, name);
        }
        all_got.extend(values);
        all_want.extend(want);
    }
    let (cosine, ratio) = (cosine(&all_got, &all_want), norm(&all_got) / norm(&all_want));
    let (loss, want) = (got.mean_loss(), reference.reals("loss")[0] / got.supervised as f64);
    println!("gradients: cosine {cosine:.6}, ratio {ratio:.5}, worst {:.6} ({})", worst.0, worst.1);
    println!("loss {loss:.5} nats a token, PEFT's {want:.5}");
    assert!(cosine >= 0.998 && worst.0 >= 0.98 && (0.98..=1.02).contains(&ratio), "{cosine} {worst:?} {ratio}");
    assert!((loss - want).abs() < 0.01 * want);
}

/// The checked-in export is what [`peft::write`] makes of what [`peft::read`] reads.
#[test]
fn what_is_read_is_written_again() {
    let [config, tensors] = exported();
    let (again, tensors_again) = peft::write(&adapter(), "tests/data/peft/model").unwrap();
    assert_eq!(String::from_utf8(again), String::from_utf8(config));
    assert!(tensors == tensors_again);
    assert!(adapter().check_shapes(&cases::targets(4).shapes(&model().config)).is_ok());
}

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
fn masters_keep_24_significant_bits() {
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

/// PEFT saved the same tensors (`make.py` compares them), and this config beside them.
#[test]
fn what_peft_saves_is_read() {
    let [_, tensors] = exported();
    assert_eq!(peft::read(&fixture("saved_config.json"), &tensors).unwrap(), adapter());
}

/// The export with one text of its config replaced.
fn with(from: &str, to: &str) -> String {
    let [config, tensors] = exported();
    let text = String::from_utf8(config).unwrap();
    assert!(text.contains(from), "{from}");
    peft::read(text.replacen(from, to, 1).as_bytes(), &tensors).unwrap_err().to_string()
}

#[test]
fn configs_that_ask_for_more_are_refused_by_key() {
    for (from, to, key) in [
        ("\"LORA\"", "\"IA3\"", "peft_type"),
        ("\"use_rslora\": false", "\"use_rslora\": true", "use_rslora"),
        ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "bias"),
        ("\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", "fan_in_fan_out"),
        ("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]", "modules_to_save"),
        ("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"", "init_lora_weights"),
        ("\"r\": 4", "\"r\": 3", "r is 3"),
        ("\"r\": 4", "\"r\": 8", "lora_A.weight has shape [4, 64], not that of rank 8"),
        ("\"r\": 4", "\"r\": 4, \"rank_pattern\": {\"q_proj\": 8}", "rank_pattern"),
        ("\"r\": 4", "\"r\": 4, \"use_what_is_not_invented\": true", "use_what_is_not_invented"),
        ("\"lora_alpha\": 8", "\"lora_alpha\": 0.5", "lora_alpha"),
        ("\"q_proj\"", "\"lm_head\"", "target_modules"),
        ("\"q_proj\",", "", "is not among the config's target_modules"),
        ("\"target_modules\": [", "\"target_modules\": \"all-linear\", \"auto_mapping\": [", "target_modules"),
    ] {
        let error = with(from, to);
        assert!(error.contains(key), "{to}: {error}");
    }
    let [config, tensors] = exported();
    let whole = String::from_utf8(config).unwrap().replace("\"lora_alpha\": 8", "\"lora_alpha\": 8.0");
    assert_eq!(peft::read(whole.as_bytes(), &tensors).unwrap(), adapter());
}

#[test]
fn an_adapter_with_a_gap_is_not_written() {
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

/// The export with its tensors changed one by one: `None` leaves one out.
fn tensors(change: impl Fn(&str, Vec<usize>, Vec<u8>) -> Option<(String, Vec<usize>, Vec<u8>)>) -> String {
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
fn tensors_that_do_not_fit_are_refused_by_name() {
    const NAME: &str = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
    let missing = tensors(|name, shape, data| (name != NAME).then(|| (name.to_owned(), shape, data)));
    assert_eq!(missing, format!("{NAME} is missing"));
    let turned = tensors(|name, mut shape, data| {
        if name == NAME {
            shape.reverse();
        }
        Some((name.to_owned(), shape, data))
    });
    assert!(turned.contains(NAME) && turned.contains("[4, 128]"), "{turned}");
    let renamed = tensors(|name, shape, data| Some((name.replace("up_proj", "lm_head"), shape, data)));
    assert!(renamed.contains("lm_head") && renamed.contains("no LoRA factor"), "{renamed}");
    let short = tensors(|name, mut shape, mut data| {
        if name == NAME {
            shape[0] -= 1;
            data.truncate(4 * shape[0] * shape[1]);
        }
        Some((name.to_owned(), shape, data))
    });
    assert!(short.contains(NAME) && short.contains("127 features"), "{short}");
    for value in [8.0f32, -8.5, f32::NAN, f32::INFINITY] {
        let outside = tensors(|name, shape, mut data| {
            if name == NAME {
                data[4..8].copy_from_slice(&value.to_le_bytes());
            }
            Some((name.to_owned(), shape, data))
        });
        assert!(outside.contains(NAME) && outside.contains("outside ±8"), "{value}: {outside}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Whatever happens to the files, reading answers; and what it accepts can be written.
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
