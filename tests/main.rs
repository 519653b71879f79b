//! Integration tests of the library. They are in a single binary, so that they are linked only once. Only the tests in
//! `gpu` have a binary and a harness of their own.

// inputs for the tests below and those of `tests/reference`: a small model, an adapter and a text
mod cases;

// tests of the sources: layering, page files, shaders
mod layers;
mod page;
mod shaders;

// tests of kernels on the CPU
mod cpu;
mod simd;

// tests of training steps
mod bit_linear;
mod conformance;
mod decoder;
mod exactness;
mod faults;
mod optimizer;
mod saturation;
mod shards;

// tests of model and adapter files that other programs wrote
mod import;
mod peft;

// tests of how GPUs are classified by the descriptions that their drivers report
#[cfg(feature = "gpu")]
mod architecture;
