//! Every form is read back as written, and every alteration of it is refused with a reason.

mod alteration;
mod exactness;
pub(crate) mod samples;
