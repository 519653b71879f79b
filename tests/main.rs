//! Integration tests of the library. One binary, so that it is linked once; `gpu` has a harness of its own.

// a small model, an adapter and a text, for the tests below and those of `tests/reference`
mod cases;

// the sources
mod layers;
mod page;
mod shaders;

// kernels
mod cpu;
mod simd;

// training steps
mod bit_linear;
mod conformance;
mod decoder;
mod exactness;
mod faults;
mod optimizer;
mod shards;

// files of other programs
mod import;
mod peft;

// GPUs, as they describe themselves
mod architecture;
