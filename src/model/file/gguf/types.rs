//! The numbers by which GGUF files identify the element types of tensors.

pub(super) const F32: u32 = 0;
pub(super) const F16: u32 = 1;
pub(super) const Q4_K: u32 = 12;
pub(super) const Q6_K: u32 = 14;
pub(super) const BF16: u32 = 30;
pub(super) const TQ1_0: u32 = 34;
pub(super) const TQ2_0: u32 = 35;
/// The type i2_s, which only bitnet.cpp defines. In ggml, the number 36 belonged to another type, which has been
/// removed.
pub(super) const I2_S: u32 = 36;

/// The names of the element types, for error messages.
const TYPES: [(u32, &str); 20] = [
    (F32, "F32"),
    (F16, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (Q4_K, "Q4_K"),
    (13, "Q5_K"),
    (Q6_K, "Q6_K"),
    (15, "Q8_K"),
    (20, "IQ4_NL"),
    (BF16, "BF16"),
    (TQ1_0, "TQ1_0"),
    (TQ2_0, "TQ2_0"),
    (I2_S, "i2_s"),
    (38, "TL1"),
    (39, "TL2"),
];

/// Returns the name of the element type with this number, or the number itself if the type is unknown.
pub(super) fn type_name(number: u32) -> String {
    TYPES.iter().find(|(known, _)| *known == number).map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
