//! Joins the parts of a GGUF file that llama.cpp's `gguf-split` has split. Each part is a GGUF file that states its
//! number, `split.no`, and the number of all parts, `split.count`. The first part has the number 0 and contains the
//! metadata of the model.

use super::{
    header::{self, GgufHeader, MetadataValue},
    stored_tensor::malformed,
};
use crate::error::Error;

/// Reads the headers of all parts of a file and joins them. Returns an error if a part is missing or belongs to another
/// file. A file that is not split is a single part.
pub(super) fn read<'a>(parts: &[&'a [u8]]) -> Result<GgufHeader<'a>, Error> {
    let mut headers = Vec::new();
    for part in parts {
        headers.push(header::read(part)?);
    }
    headers.sort_by_key(|header| number(header, "split.no"));
    let mut headers = headers.into_iter();
    let mut whole = headers.next().ok_or_else(|| malformed("there is no file"))?;
    let (first, count) = (number(&whole, "split.no"), number(&whole, "split.count").max(1));
    if parts.len() as i128 != count || first != 0 {
        return Err(malformed(format!(
            "the file is part {} of {count}; put all parts into one folder, with the names that gguf-split gave them \
             (NAME-00001-of-{count:05}.gguf and so on), and pass the first",
            first + 1
        )));
    }
    for (at, header) in headers.enumerate() {
        if (number(&header, "split.no"), number(&header, "split.count")) != (at as i128 + 1, count) {
            return Err(malformed("the files are not the parts of one file; download all of them again"));
        }
        for (key, value) in header.values {
            let is_split = key.starts_with("split.");
            if whole.values.insert(key, value).is_some_and(|other| !is_split && other != value) {
                return Err(malformed(format!(
                    "two parts of the file have different values of {key}; download all parts again"
                )));
            }
        }
        for (name, tensor) in header.tensors {
            if whole.tensors.insert(name, tensor).is_some() {
                return Err(malformed(format!(
                    "the tensor {name} occurs in two parts of the file; download all parts again"
                )));
            }
        }
    }
    Ok(whole)
}

/// Returns the integer that the metadata has under this key, or 0 if there is none.
fn number(header: &GgufHeader<'_>, key: &str) -> i128 {
    if let Some(MetadataValue::Integer(value)) = header.values.get(key) { *value } else { 0 }
}
