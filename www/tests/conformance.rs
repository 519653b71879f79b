//! Tests that the reference kernels in WebAssembly reproduce the golden digest (expected hash) of one training step.
//!
//! `tests/browser/check.test.mjs` runs the page's own check in the same browser. That check compares the results of
//! the SIMD kernels in WebAssembly, and of every lowering (WGSL implementation of a kernel) on WebGPU, with the known
//! answers (expected outputs). It also compares the results of training on each of the two with the golden digests.

use r3mes_wgpu::{
    compute::{Backend, cpu::scalar},
    training::conformance::{GOLDEN, step_digest},
};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
async fn golden_step_by_reference_kernels() {
    let backend = Backend::Cpu { threads: 1, kernels: scalar };
    assert_eq!(step_digest(&backend, 1).await.expect("a digest"), GOLDEN.step);
}
