//! Recognizes files whose content is not of the kind that their names suggest, such as a Git LFS pointer instead of a
//! model. Errors then say what the file is and what to do about it.

use crate::error::Error;
use safetensors::{SafeTensorError, SafeTensors};
use serde_json::Value;

/// Returns a part of an error message about a file that cannot be parsed: what the file contains, and what to do next.
/// Returns `None` if the first bytes of the file do not show what it contains.
///
/// Call this only after parsing has failed, because a valid safetensors file could be mistaken for a file of another
/// format: it starts with the length of its header, and this length can contain the magic number of that format.
pub fn recognize(bytes: &[u8]) -> Option<&'static str> {
    let text = without_bom(bytes).trim_ascii_start();
    let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    Some(match bytes {
        [] => "the file is empty; download it again",
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => {
            "the file is a pickle of PyTorch, which can execute code and is therefore not read; convert it to \
             safetensors with save_pretrained of transformers or PEFT"
        }
        [b'G', b'G', b'U', b'F', ..] => {
            "the file is a GGUF file; a model in this format is imported with `model import`"
        }
        _ if begins("version https://git-lfs") => {
            "the file is a Git LFS pointer, which only names the data; run `git lfs pull` in its folder, or download \
             the file itself"
        }
        _ if begins("<!doctype") || begins("<html") || begins("<?xml") => {
            "the file is a web page, probably an error message that was saved under this name; download the file again"
        }
        _ => return None,
    })
}

/// Returns the bytes of a text file without the byte order mark (BOM) at its start. Returns all bytes if the file has
/// no BOM. The BOM of UTF-8 is the three bytes EF BB BF, which some editors add; JSON does not permit it.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Returns whether the value of a key in a JSON file disables the feature of that key, because the value is `null`,
/// `false`, or an empty text, list or map. A key with such a value is harmless even if it is unknown.
pub fn is_disabled(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Parses the header of a safetensors file. Returns an error if the bytes are not a complete safetensors file. `what`
/// is the name of the file in errors.
pub fn parse_safetensors<'a>(what: &'static str, bytes: &'a [u8]) -> Result<SafeTensors<'a>, Error> {
    use SafeTensorError::{HeaderTooSmall, InvalidHeaderLength, MetadataIncompleteBuffer};
    SafeTensors::deserialize(bytes).map_err(|error| {
        let reason = match (recognize(bytes), &error) {
            (Some(found), _) => found.to_owned(),
            (None, HeaderTooSmall | InvalidHeaderLength | MetadataIncompleteBuffer) => format!(
                "the file has {} bytes, which is not the size that its header states: it is truncated or damaged; \
                 download it again",
                bytes.len()
            ),
            (None, error) => format!("the file is not a safetensors file or is damaged: {error}"),
        };
        Error::Malformed { what, reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_recognized() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
            (b"PK\x03\x04\x14\0", "pickle"),
            (b"\x80\x02}q\0", "pickle"),
            (b"\n<!DOCTYPE html>\n<html>", "web page"),
            (b"\xef\xbb\xbf<HTML lang=en>", "web page"),
            (b"GGUF\x03\0\0\0", "GGUF"),
        ] {
            assert!(recognize(bytes).unwrap().contains(word), "{word}");
            assert!(parse_safetensors("x", bytes).unwrap_err().to_string().contains(word), "{word}");
        }
        assert_eq!(recognize(b"\x40\0\0\0\0\0\0\0{"), None);
        assert_eq!(recognize(b"{\"model_type\": 3}"), None);
    }

    #[test]
    fn truncated_safetensors_are_reported_as_such() {
        let none: [(&str, safetensors::tensor::TensorView<'_>); 0] = [];
        let whole = safetensors::serialize(none, None).unwrap();
        assert!(parse_safetensors("x", &whole).is_ok());
        for bytes in [&whole[..5], &whole[..whole.len() - 1]] {
            assert!(parse_safetensors("x", bytes).unwrap_err().to_string().contains("truncated"));
        }
    }

    #[test]
    fn only_a_byte_order_mark_is_removed() {
        assert_eq!(without_bom(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(without_bom(b"\xef\xbb{}"), b"\xef\xbb{}");
    }
}
