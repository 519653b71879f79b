//! Tests that, in every format, decoding returns the value that was encoded, and that altered encodings are refused
//! with a reason.

mod alteration;
mod exactness;
pub(crate) mod samples;
