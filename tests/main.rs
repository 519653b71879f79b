//! Integration tests of the library, in one binary so that linking happens once. The tests in `gpu` have a harness of
//! their own.

// a small model, an adapter and a text, shared by the tests below and those of `tests/reference`
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
mod shards;

// tests of files of other programs
mod import;
mod peft;

// tests of how GPUs are classified by what their drivers report
mod architecture;
