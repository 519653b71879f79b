//! Checks the keys of `config.json` that the reader does not use. A key is harmless if it cannot change what the model
//! computes; any other key is refused, so that no feature of a model is silently ignored.

use super::{config::ACTIVATION, contents::is_disabled};
use serde_json::{Map, Value};

/// Keys that do not change what a model computes. The attributes of `PreTrainedConfig` in transformers 5.24 come first,
/// then those of transformers 4, and then keys that other programs add.
pub(super) const HARMLESS: [&str; 36] = [
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "id2label",
    "initializer_range",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "problem_type",
    "return_dict",
    "transformers_version",
    "use_cache",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "attn_implementation",
    "auto_map",
    "decoder_start_token_id",
    "finetuning_task",
    "name_or_path",
    "num_labels",
    "prefix",
    "sep_token_id",
    "task_specific_params",
    "tf_legacy_loss",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "use_bfloat16",
    "unsloth_fixed",
    "unsloth_version",
];

/// Keys that tell `transformers` how to generate text. Older versions save them in `config.json`; transformers 5.24
/// ignores them there.
pub(super) const GENERATION: [&str; 33] = [
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "target_lookbehind",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];

/// Keys of `rope_parameters` or `rope_scaling` that have no effect on unscaled rotary embeddings.
pub(super) const HARMLESS_ROPE: [&str; 1] = ["original_max_position_embeddings"];

/// Keys of `quantization_config` that have no effect if there is no norm inside the linear layers.
pub(super) const HARMLESS_QUANTIZATION: [&str; 1] = ["rms_norm_eps"];

/// Returns an error message about the first of `keys` that could change what the model computes. `keys` contains the
/// keys that the reader does not use. Keys in `harmless`, and keys whose values disable their feature, are skipped. The
/// message names the key with the prefix `path`, such as `rope_parameters.`.
pub(super) fn check(path: &str, keys: &Map<String, Value>, harmless: &[&str]) -> Result<(), String> {
    for (key, value) in keys {
        if harmless.contains(&key.as_str()) || is_disabled(value) {
            continue;
        }
        let shown: String = value.to_string().chars().take(80).collect();
        match only_value(key) {
            Some(only) if *value == only || value.as_f64().is_some_and(|number| Some(number) == only.as_f64()) => {}
            Some(only) => return Err(format!("{path}{key} is {shown}; only {only} is supported")),
            None => {
                return Err(format!(
                    "{path}{key} is {shown}; this program does not know this key, which may change what the model \
                     computes. If it does not, remove the key from config.json"
                ));
            }
        }
    }
    Ok(())
}

/// Returns the value of `key` with which a model computes the same as without the key. No other value of the key is
/// supported. Returns `None` if the key has no such value.
fn only_value(key: &str) -> Option<Value> {
    match key {
        // another spelling of hidden_act
        "hidden_activation" => Some(ACTIVATION.into()),
        "attention_factor" | "factor" | "partial_rotary_factor" | "pretraining_tp" => Some(1.into()),
        _ => None,
    }
}

/// Returns whether an entry of `modules_to_not_convert`, the list of modules that are not quantized, names the linear
/// layer with the path `linear`, such as `model.layers.0.mlp.up_proj`. The versions of `transformers` have different
/// rules; the function returns true if the entry names the layer by the rules of any version. The entry can be the end
/// of the path, such as `up_proj`, or the part of the path before one of its dots, such as `model.layers.0`. In older
/// versions, it can also be any piece of the path that is followed by a dot, such as `mlp`.
///
/// An entry may also be a regular expression, which this function does not evaluate. If an entry contains a special
/// character other than the dot, the function assumes that it names every layer.
pub(super) fn names_linear(entry: &str, linear: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let (next, last) = (linear.as_bytes().get(entry.len()), entry.as_bytes().last());
    let is_prefix = entry.bytes().zip(linear.bytes()).all(|(a, b)| a == b || a == b'.')
        && (linear.len() == entry.len() || next == Some(&b'.') || (next.is_some() && last == Some(&b'.')));
    !entry.chars().all(plain) || linear.ends_with(entry) || linear.contains(&format!("{entry}.")) || is_prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_name_a_linear_layer_are_found() {
        let linear = "model.layers.1.self_attn.q_proj";
        for entry in
            ["q_proj", "proj", linear, "model.layers.1", "model.layers.1.", "model", "self_attn", "model.layers.*", ""]
        {
            assert!(names_linear(entry, linear), "{entry}");
        }
        for entry in ["lm_head", "model.layers.11", "k_proj", "model.layers.2", "model.embed_tokens", "model.norm"] {
            assert!(!names_linear(entry, linear), "{entry}");
        }
        assert!(!names_linear("model.layers.1", "model.layers.11.self_attn.q_proj"));
    }
}
