//! PEFT's tensor names of the LoRA factors, such as `base_model.model.model.layers.<i>.self_attn.q_proj.lora_A.weight`,
//! where `<i>` is the index of the decoder layer.

use crate::model::config::Linear;

const PREFIX: &str = "base_model.model.model.layers.";
const MAX_LAYERS: usize = 512;

/// Returns the name of a linear layer in PEFT's `target_modules`, such as `q_proj`.
pub fn module_name(linear: Linear) -> &'static str {
    linear.path().rsplit('.').next().unwrap_or_default()
}

/// One of the two LoRA factors of an adapted linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// The factor a, which PEFT stores as `lora_A [rank, in_features]`.
    A,
    /// The factor b, which PEFT stores as `lora_B [out_features, rank]`.
    B,
}

/// Parses the name `layers.<i>.<linear>.<a or b>` of a matrix into the index of the decoder layer, the linear layer and
/// the factor. Returns `None` for any other name.
pub fn parse_matrix_name(name: &str) -> Option<(usize, Linear, Factor)> {
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let (linear, factor) = rest.rsplit_once('.')?;
    let linear = Linear::ALL.into_iter().find(|known| known.name() == linear)?;
    let factor = match factor {
        "a" => Factor::A,
        "b" => Factor::B,
        _ => return None,
    };
    Some((layer_number(layer)?, linear, factor))
}

/// Returns PEFT's tensor name of the matrix `layers.<i>.<linear>.<a or b>`, or `None` if `matrix` is not such a name.
pub fn tensor_name(matrix: &str) -> Option<String> {
    let (layer, linear, factor) = parse_matrix_name(matrix)?;
    Some(format!("{PREFIX}{layer}.{}.lora_{factor:?}.weight", linear.path()))
}

/// Parses the index of a decoder layer. Returns `None` if the text has a sign or leading zeros, or if the index is too
/// large.
fn layer_number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| *number < MAX_LAYERS && number.to_string() == text)
}

/// Parses PEFT's name of a tensor into the index of the decoder layer, the linear layer, the factor, and the name of
/// the adapter. PEFT omits the name of the adapter when it saves files; other programs write it, as in
/// `….lora_A.default.weight`. Returns `None` if the name is not that of a LoRA factor.
pub(super) fn parse_tensor_name(name: &str) -> Option<(usize, Linear, Factor, &str)> {
    let (layer, rest) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let rest = rest.strip_suffix(".weight")?;
    let (at, factor) = [(".lora_A", Factor::A), (".lora_B", Factor::B)]
        .into_iter()
        .find_map(|(word, factor)| rest.rfind(word).map(|at| (at, factor)))?;
    let (module, adapter) = (&rest[..at], &rest[at + ".lora_A".len()..]);
    let adapter = if adapter.is_empty() { adapter } else { adapter.strip_prefix('.')? };
    let linear = Linear::ALL.into_iter().find(|linear| linear.path() == module)?;
    Some((layer_number(layer)?, linear, factor, adapter))
}
