//! Tests that every format is read back as written, and that every altered encoding is refused with a reason.

mod alteration;
mod exactness;
pub(crate) mod samples;
