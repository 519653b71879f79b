//! Reads `tokenizer.json`. The file's settings for truncation, padding and random choice of tokens are not applied, so
//! a text always gives the same tokens. A file with a key that the crate `tokenizers` does not read is refused, because
//! the key could be meant to change the tokens.

use anyhow::{Result, anyhow, bail};
use r3mes_wgpu::model::file::{is_disabled, recognize, without_bom};
use serde::Serialize;
use serde_json::Value;
use tokenizers::{ModelWrapper, Tokenizer};

/// The keys that are accepted at the top level of `tokenizer.json`.
const FILE_KEYS: [&str; 9] = [
    "added_tokens",
    "decoder",
    "model",
    "normalizer",
    "padding",
    "post_processor",
    "pre_tokenizer",
    "truncation",
    "version",
];

/// The keys that are accepted in an entry of the list `added_tokens` of `tokenizer.json`.
const ADDED_TOKEN_KEYS: [&str; 7] = ["content", "id", "lstrip", "normalized", "rstrip", "single_word", "special"];

/// The keys that are accepted in the object `model` of `tokenizer.json`. They are the keys of all types of models
/// together: BPE, Unigram, WordLevel and WordPiece.
const MODEL_KEYS: [&str; 12] = [
    "byte_fallback",
    "continuing_subword_prefix",
    "dropout",
    "end_of_word_suffix",
    "fuse_unk",
    "ignore_merges",
    "max_input_chars_per_word",
    "merges",
    "type",
    "unk_id",
    "unk_token",
    "vocab",
];

/// The keys with which the object `model` of `tokenizer.json` asks a Unigram model to choose tokens at random. This
/// program accepts these keys, but never chooses at random.
const SAMPLING_KEYS: [&str; 2] = ["alpha", "nbest_size"];

/// Old keys of a component of the type Metaspace. The crate `tokenizers` reads these keys, but when it writes the
/// component as JSON, it writes newer keys with the same meaning. Usually, a key that is missing in the written JSON
/// is refused, because the crate has ignored it. These keys are accepted nevertheless.
const OLDER_KEYS: [&str; 2] = ["add_prefix_space", "str_rep"];

/// Parses a `tokenizer.json`.
///
/// The returned tokenizer never truncates or pads a text, even if the file asks for it. (The Python library
/// `transformers` truncates or pads only if its caller asks for it.) A BPE model with the key `dropout` would skip
/// random merges. The returned tokenizer skips none, so that two runs give the same tokens.
///
/// Returns an error if the file is not a tokenizer, or if it contains a key that the crate `tokenizers` ignores.
pub(super) fn parse(bytes: &[u8]) -> Result<Tokenizer> {
    let json = without_bom(bytes);
    let parsed = serde_json::from_slice::<Value>(json).map_err(anyhow::Error::new);
    let mut file = parsed.map_err(|error| recognize(bytes).map_or(error, |found| anyhow!(found)))?;
    check_keys(&file)?;
    let known = |key: &String| FILE_KEYS.contains(&key.as_str());
    let tokenizer = match file.as_object_mut() {
        // the crate refuses an unknown key even if the key's value disables its feature
        Some(keys) if !keys.keys().all(known) => {
            keys.retain(|key, _| known(key));
            Tokenizer::from_bytes(file.to_string())
        }
        _ => Tokenizer::from_bytes(json),
    };
    let mut tokenizer = tokenizer.map_err(|error| anyhow!("{error}"))?;
    check_components(&file, &tokenizer)?;
    tokenizer.with_truncation(None).map_err(|error| anyhow!("{error}"))?.with_padding(None);
    if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
        && bpe.dropout.is_some()
    {
        let mut bpe = bpe.clone();
        bpe.dropout = None;
        tokenizer.with_model(bpe);
    }
    Ok(tokenizer)
}

/// Checks the keys of the whole file, of its model and of its added tokens. Returns an error if the crate `tokenizers`
/// does not read one of them. The error names the first such key.
fn check_keys(file: &Value) -> Result<()> {
    check_object("", file, &FILE_KEYS)?;
    check_object("model.", &file["model"], &[&MODEL_KEYS[..], &SAMPLING_KEYS].concat())?;
    for token in file["added_tokens"].as_array().into_iter().flatten() {
        check_object("added_tokens.", token, &ADDED_TOKEN_KEYS)?;
    }
    Ok(())
}

/// Checks the keys of the normalizer, the pre-tokenizer, the post-processor and the decoder. Returns an error if the
/// crate `tokenizers` has not read one of them. The error names the first such key.
fn check_components(file: &Value, tokenizer: &Tokenizer) -> Result<()> {
    check_component("normalizer", &file["normalizer"], tokenizer.get_normalizer())?;
    check_component("pre_tokenizer", &file["pre_tokenizer"], tokenizer.get_pre_tokenizer())?;
    check_component("post_processor", &file["post_processor"], tokenizer.get_post_processor())?;
    check_component("decoder", &file["decoder"], tokenizer.get_decoder())
}

/// Returns an error if `object` has a key that is not in `known`. A key whose value turns its feature off, such as
/// `null` or `false`, is accepted. The error states the full name of the key: `path` followed by the key, such as
/// `model.vocab`.
fn check_object(path: &str, object: &Value, known: &[&str]) -> Result<()> {
    for (key, value) in object.as_object().into_iter().flatten() {
        if !known.contains(&key.as_str()) && !is_disabled(value) {
            return unknown(path, key, value);
        }
    }
    Ok(())
}

/// Checks the keys of one component of the tokenizer, such as the decoder. `file` is the component's JSON in the file,
/// and `component` is what the crate `tokenizers` has read from this JSON. Writes `component` as JSON again. Returns an
/// error if a key of `file` is missing in the written JSON, because the crate has then ignored this key.
fn check_component(path: &str, file: &Value, component: Option<&impl Serialize>) -> Result<()> {
    check_written(path, file, &serde_json::to_value(component)?)
}

fn check_written(path: &str, file: &Value, written: &Value) -> Result<()> {
    match (file, written) {
        (Value::Object(file), Value::Object(written)) => {
            for (key, value) in file {
                match written.get(key) {
                    Some(again) => check_written(&format!("{path}.{key}"), value, again)?,
                    None if is_disabled(value) => {}
                    None if written["type"] == "Metaspace" && OLDER_KEYS.contains(&key.as_str()) => {}
                    None => return unknown(&format!("{path}."), key, value),
                }
            }
            Ok(())
        }
        (Value::Array(file), Value::Array(written)) => {
            file.iter().zip(written).try_for_each(|(value, again)| check_written(path, value, again))
        }
        _ => Ok(()),
    }
}

fn unknown(path: &str, key: &str, value: &Value) -> Result<()> {
    let value: String = value.to_string().chars().take(80).collect();
    bail!(
        "{path}{key} is {value}; this program does not know this key, which may change the tokens. If it does not, \
         remove the key from the file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;
    use tokenizers::models::{bpe::BPE, unigram::Unigram, wordlevel::WordLevel, wordpiece::WordPiece};

    /// The tokenizer of the bundled model, which is a byte-level BPE.
    const BUNDLED: &str = include_str!("../../model/tokenizer.json");

    /// Returns the bundled tokenizer file after `change` has changed it.
    fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut file = serde_json::from_str(BUNDLED).unwrap();
        change(&mut file);
        serde_json::to_vec(&file).unwrap()
    }

    fn ids(bytes: &[u8], text: &str) -> Vec<u32> {
        parse(bytes).unwrap().encode_fast(text, true).unwrap().get_ids().to_vec()
    }

    #[test]
    fn truncation_padding_and_dropout_are_not_applied() {
        let text = &include_str!("../../data/moby-dick.txt")[..20_000];
        let expected = ids(BUNDLED.as_bytes(), text);
        assert!(expected.len() > 4096);
        let truncation = json!({"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0});
        let padding = json!({
            "strategy": {"Fixed": 16_384}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]",
        });
        assert_eq!(ids(&changed(|file| file["truncation"] = truncation), text), expected);
        assert_eq!(ids(&changed(|file| file["padding"] = padding), text), expected);
        assert_eq!(ids(&changed(|file| file["model"]["dropout"] = json!(0.5)), text), expected);
        assert_eq!(ids(&["\u{feff}", BUNDLED].concat().into_bytes(), text), expected);
    }

    #[test]
    fn a_key_that_is_not_read_is_named() {
        let error = |change: fn(&mut Value)| parse(&changed(change)).unwrap_err().to_string();
        assert!(error(|file| file["sampling"] = json!({"p": 0.1})).contains("sampling is {\"p\":0.1}"));
        assert!(error(|file| file["model"]["subword_p"] = json!(0.1)).contains("model.subword_p"));
        assert!(error(|file| file["pre_tokenizer"]["drop"] = json!(3)).contains("pre_tokenizer.drop is 3"));
        assert!(
            error(|file| {
                file["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "NFC", "form": "D"}]});
            })
            .contains("normalizer.normalizers.form")
        );
        let disabled = changed(|file| {
            file["sampling"] = json!(null);
            file["model"]["subword_p"] = json!(false);
            file["model"]["alpha"] = json!(0.1);
            file["decoder"]["list"] = json!([]);
        });
        parse(&disabled).unwrap();
        let older = json!({"type": "Metaspace", "replacement": "_", "str_rep": "_", "add_prefix_space": true});
        parse(&changed(|file| file["pre_tokenizer"] = older)).unwrap();
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
        assert!(parse(lfs).unwrap_err().to_string().contains("Git LFS"));
    }

    #[test]
    fn the_lists_are_those_of_the_crate() {
        let models: [ModelWrapper; 4] = [
            BPE::default().into(),
            WordPiece::default().into(),
            WordLevel::default().into(),
            Unigram::default().into(),
        ];
        let written: BTreeSet<String> = models
            .iter()
            .flat_map(|model| serde_json::to_value(model).unwrap().as_object().unwrap().clone())
            .map(|(key, _)| key)
            .collect();
        assert_eq!(written.iter().collect::<Vec<_>>(), MODEL_KEYS.iter().collect::<Vec<_>>());
        let mut tokenizer = Tokenizer::new(BPE::default());
        tokenizer.add_tokens([tokenizers::AddedToken::from("x", true)]).unwrap();
        let file = serde_json::to_value(&tokenizer).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&file), FILE_KEYS);
        assert_eq!(keys(&file["added_tokens"][0]), ADDED_TOKEN_KEYS);
    }
}
