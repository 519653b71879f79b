//! Checks the metadata of a GGUF file. A key is used, known to be harmless, or refused, so that no feature of a model
//! is silently ignored.

use super::{
    header::MetadataValue::{self, Bool, Float, Integer, String},
    stored_tensor::malformed,
};
use crate::error::Error;
use std::collections::BTreeMap;

/// The keys that the reader uses. In a file, the name of the architecture and a dot precede each of them.
pub(super) const USED: [&str; 11] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
];

/// The keys that do not change what a BitNet model computes. In a file, the name of the architecture and a dot precede
/// each of them. `vocab_size` is harmless because the size of the vocabulary is also the number of rows of the
/// embedding, from which it is read.
pub(super) const HARMLESS: [&str; 5] = [
    "attention.layer_norm_epsilon",
    "decoder_start_token_id",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "vocab_size",
];

/// Pairs of a key and a value that has no effect: with this value, a model computes the same as without the key. The
/// value 0 of the key has no effect either. A file in which a key of this list has any other value is refused. In a
/// file, the name of the architecture and a dot precede each key.
pub(super) const ONE_VALUE: [(&str, MetadataValue<'_>); 13] = [
    ("attention.causal", Bool(true)),
    ("attention.output_scale", Integer(1)),
    ("embedding_scale", Integer(1)),
    ("hidden_act", String("relu2")),
    ("hidden_activation", String("relu2")),
    ("logit_scale", Integer(1)),
    ("residual_scale", Integer(1)),
    ("rope.scale_linear", Integer(1)),
    ("rope.scaling.alpha", Integer(1)),
    ("rope.scaling.attn_factor", Integer(1)),
    ("rope.scaling.factor", Integer(1)),
    ("rope.scaling.type", String("none")),
    ("rope.scaling.yarn_attn_factor", Integer(1)),
];

/// The keys that do not begin with the name of the architecture and do not change what a model computes. A key that
/// ends with a dot stands for all keys that begin with it.
pub(super) const GENERAL: [&str; 31] = [
    "general.alignment",
    "general.architecture",
    "general.author",
    "general.base_model.",
    "general.basename",
    "general.dataset.",
    "general.datasets",
    "general.description",
    "general.doi",
    "general.file_type",
    "general.finetune",
    "general.languages",
    "general.license",
    "general.license.",
    "general.name",
    "general.organization",
    "general.quantization_version",
    "general.quantized_by",
    "general.repo_url",
    "general.sampling.",
    "general.size_label",
    "general.source.",
    "general.tags",
    "general.type",
    "general.url",
    "general.uuid",
    "general.version",
    "mradermacher.",
    "quantize.",
    "split.",
    "tokenizer.",
];

/// Returns an error if a key is neither used nor harmless and could therefore change what the model computes. The error
/// names the first such key. `architecture` is the value of `general.architecture`.
pub(super) fn check(values: &BTreeMap<&str, MetadataValue<'_>>, architecture: &str) -> Result<(), Error> {
    for (key, value) in values {
        let of_architecture = key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.'));
        let known = match of_architecture {
            Some(key) => USED.contains(&key) || HARMLESS.contains(&key),
            None => GENERAL.iter().any(|known| key == known || known.ends_with('.') && key.starts_with(known)),
        };
        let only = ONE_VALUE.iter().find(|(known, _)| of_architecture == Some(known)).map(|(_, only)| only);
        match only {
            _ if known => {}
            Some(only) if value.equals(only) || value.equals(&Integer(0)) => {}
            Some(only) => return Err(malformed(format!("{key} is {value}; only {only} is supported"))),
            None if is_disabled(value) => {}
            None => {
                return Err(malformed(format!(
                    "{key} is {value}; this program does not know this key, which may change what the model computes. \
                     If it does not, remove it: gguf-new-metadata --remove-metadata {key}"
                )));
            }
        }
    }
    Ok(())
}

/// Returns whether a value disables the feature of its key, because it is 0, false, or an empty text or array.
fn is_disabled(value: &MetadataValue<'_>) -> bool {
    match value {
        Integer(0) | Bool(false) | String("") | MetadataValue::Array(0) => true,
        Float(value) => *value == 0.0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(key: &str, value: MetadataValue<'_>) -> Option<std::string::String> {
        check(&BTreeMap::from([(key, value)]), "bitnet").err().map(|error| error.to_string())
    }

    /// The keys of the classes `General`, `LLM`, `Attention` and `Rope` of `gguf.Keys`, in the Python package gguf
    /// 0.19.0. `{arch}` stands for the name of the architecture, and other names in braces for any text.
    const KEYS_OF_GGUF: &str = include_str!("../../../../tests/data/formats/gguf_keys.txt");

    #[test]
    fn each_key_of_the_format_is_used_harmless_or_refused_by_name() {
        let mut counts = [0; 2];
        for key in KEYS_OF_GGUF.lines() {
            let key = key.replace("{arch}", "bitnet").replace(['{', '}'], "");
            match error(&key, Integer(7)) {
                None => counts[0] += 1,
                Some(error) => {
                    assert!(error.contains(&key), "{error}");
                    counts[1] += 1;
                }
            }
            let unset = if key.ends_with("causal") { Bool(true) } else { Integer(0) };
            assert_eq!(error(&key, unset), None);
        }
        println!(
            "of the metadata keys of GGUF, {} are accepted with the value 7, and {} are refused",
            counts[0], counts[1]
        );
        let listed = |key: &&&str| !KEYS_OF_GGUF.lines().any(|known| known == format!("{{arch}}.{key}"));
        let (used, harmless) = (USED.iter().filter(listed), HARMLESS.iter().filter(listed));
        assert_eq!(used.chain(harmless).count(), 0);
    }

    #[test]
    fn a_key_with_only_one_value_is_accepted_with_that_value() {
        assert_eq!(error("bitnet.rope.scaling.factor", Float(1.0)), None);
        assert_eq!(error("bitnet.rope.scaling.type", String("none")), None);
        for (key, value) in [
            ("bitnet.rope.scaling.factor", Float(2.0)),
            ("bitnet.rope.scale_linear", Float(4.0)),
            ("bitnet.rope.scaling.type", String("yarn")),
            ("bitnet.attention.causal", Bool(false)),
            ("bitnet.hidden_activation", String("silu")),
        ] {
            assert!(error(key, value).unwrap().contains("only"), "{key}");
        }
        assert!(error("bitnet.final_logit_softcapping", Float(30.0)).unwrap().contains("--remove-metadata"));
        assert!(error("vendor.note", String("x")).unwrap().contains("vendor.note is \"x\""));
        assert_eq!(error("vendor.note", String("")), None);
        assert_eq!(error("tokenizer.ggml.tokens", MetadataValue::Array(9)), None);
    }
}
