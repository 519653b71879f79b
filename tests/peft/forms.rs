//! Tests adapters in the forms that PEFT and other programs write. The config may select modules by lists of names or
//! paths, or by a regular expression, and may state a separate rank or alpha for some modules. The names of the
//! tensors may contain the name of the adapter.

use super::{adapter, exported};
use r3mes_wgpu::model::{
    config::{Linear, ModelConfig},
    peft,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Returns the config file of the exported test adapter, with the given keys changed.
fn config(changes: Value) -> Vec<u8> {
    let mut config: Value = serde_json::from_slice(&exported()[0]).unwrap();
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    config.to_string().into_bytes()
}

/// Returns the bytes of a file `adapter_model.safetensors` whose tensors have the given names and shapes, and contain
/// only zeros.
fn zeros(shapes: &BTreeMap<String, [usize; 2]>) -> Vec<u8> {
    let bytes = vec![0; 1 << 20];
    let view = |(name, shape): (&String, &[usize; 2])| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes[..4 * shape[0] * shape[1]]).unwrap();
        (name.clone(), view)
    };
    safetensors::serialize(shapes.iter().map(view).collect::<Vec<_>>(), None).unwrap()
}

/// Checks that each adapter in `targets.json` has the same modules, rank and scale as in PEFT. An adapter must be
/// refused unless all its modules have the same rank and the same scale, the same modules are adapted in both decoder
/// layers of the model, and the scale is an integer divided by the rank.
#[test]
fn modules_ranks_and_scales_are_those_of_peft() {
    let cases: Vec<Value> = serde_json::from_slice(&super::fixture("targets.json")).unwrap();
    let sizes = ModelConfig { layers: 2, ..ModelConfig::TINY };
    let mut refused = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let (mut shapes, mut forms) = (BTreeMap::new(), Vec::new());
        let mut layers: [Vec<Linear>; 2] = [Vec::new(), Vec::new()];
        for (path, module) in case["modules"].as_object().unwrap() {
            let linear = *Linear::ALL.iter().find(|linear| path.ends_with(linear.path())).unwrap();
            let (columns, rows) = linear.shape(&sizes);
            let rank = module[0].as_u64().unwrap() as usize;
            shapes.insert(format!("base_model.model.{path}.lora_A.weight"), [rank, columns]);
            shapes.insert(format!("base_model.model.{path}.lora_B.weight"), [rows, rank]);
            forms.push((rank, module[1].as_f64().unwrap()));
            layers[usize::from(path.contains("layers.1."))].push(linear);
        }
        layers.iter_mut().for_each(|linears| linears.sort_unstable());
        let (rank, scale) = forms[0];
        let is_whole = (scale * rank as f64).fract() == 0.0;
        let uniform = forms.iter().all(|form| *form == forms[0]) && layers[0] == layers[1] && is_whole;
        match peft::read(case["config"].to_string().as_bytes(), &zeros(&shapes)) {
            Ok(adapter) => {
                assert!(uniform, "case {number}");
                assert_eq!((adapter.rank, f64::from(adapter.alpha) / rank as f64), (rank, scale), "case {number}");
                assert_eq!(adapter.matrices.len(), shapes.len(), "case {number}");
            }
            Err(error) => {
                assert!(!uniform, "case {number}: {error}");
                refused.push(error.to_string());
            }
        }
    }
    let words = ["target_modules", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern"];
    assert_eq!(refused.len(), words.len(), "{refused:#?}");
    for (error, word) in refused.iter().zip(words) {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_tensor_that_the_config_does_not_select_is_refused() {
    let tensors = &exported()[1];
    for (changes, word) in [
        (json!({"target_modules": r".*\.(q|k|v|o)_proj"}), "target_modules"),
        (json!({"target_modules": ["lm_head"]}), "names none of the model's linear layers"),
        (json!({"target_modules": null}), "target_modules is null"),
        (json!({"target_modules": "(unclosed"}), "target_modules contains a regular expression"),
        (json!({"layers_to_transform": [0]}), "layer 1"),
        (json!({"layers_to_transform": ["all"]}), "layers_to_transform"),
        (json!({"exclude_modules": ["down_proj"]}), "target_modules"),
        (json!({"rank_pattern": {"q_proj": 8}}), "rank_pattern"),
        (json!({"alpha_pattern": {"q_proj": 4}}), "alpha_pattern"),
        (json!({"alpha_pattern": {"q_proj": 4, "self_attn.q_proj": 8}}), "two different values"),
    ] {
        let error = peft::read(&config(changes.clone()), tensors).unwrap_err().to_string();
        assert!(error.contains(word), "{changes}: {error}");
    }
    for changes in [
        json!({"target_modules": "ALL-LINEAR"}),
        json!({"target_modules": ["proj", "mlp", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "mlp.up_proj",
            "mlp.down_proj"]}),
        json!({"layers_to_transform": [0, 1]}),
        json!({"exclude_modules": ["lm_head"]}),
        json!({"rank_pattern": {"lm_head": 8}, "alpha_pattern": {".*_proj": 8}}),
    ] {
        assert_eq!(peft::read(&config(changes.clone()), tensors).unwrap(), adapter(), "{changes}");
    }
}

#[test]
fn rank_stabilized_adapters_have_a_larger_alpha() {
    let read = peft::read(&config(json!({"use_rslora": true})), &exported()[1]).unwrap();
    // the rank is 4, so the scale 8 / √4 equals 16 / 4
    assert_eq!((read.alpha, read.matrices), (16, adapter().matrices));
}

/// Returns the tensors of the exported test adapter, each under the name that `rename` returns for its old name.
fn renamed(rename: impl Fn(&str) -> String) -> Vec<u8> {
    let tensors = &exported()[1];
    let file = SafeTensors::deserialize(tensors).unwrap();
    let views: Vec<_> = file.iter().map(|(name, view)| (rename(name), view)).collect();
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn tensors_may_be_named_after_their_adapter() {
    let [config, _] = exported();
    let named = |adapter: &'static str| move |name: &str| name.replace(".weight", &format!(".{adapter}.weight"));
    for name in ["default", "my_adapter"] {
        assert_eq!(peft::read(&config, &renamed(named(name))).unwrap(), adapter());
    }
    let two = renamed(|name| named(if name.contains("lora_A") { "one" } else { "two" })(name));
    assert!(peft::read(&config, &two).unwrap_err().to_string().contains("second adapter"));
    let magnitude = renamed(|name| name.replace("lora_A", "lora_magnitude_vector"));
    assert!(peft::read(&config, &magnitude).unwrap_err().to_string().contains("lora_magnitude_vector"));
}

#[test]
fn a_file_of_another_kind_is_recognized() {
    let [config, tensors] = exported();
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    for error in [peft::read(lfs, &tensors), peft::read(&config, lfs)] {
        assert!(error.unwrap_err().to_string().contains("git lfs pull"));
    }
    let truncated = peft::read(&config, &tensors[..tensors.len() - 1]).unwrap_err().to_string();
    assert!(truncated.contains("truncated"), "{truncated}");
    let with_bom = [b"\xef\xbb\xbf", &config[..]].concat();
    assert_eq!(peft::read(&with_bom, &tensors).unwrap(), adapter());
}
