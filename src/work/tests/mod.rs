//! Every form is read back as written, and every alteration of it is refused with a reason.

mod alteration;
mod exactness;
mod gradient_package;
mod samples;
