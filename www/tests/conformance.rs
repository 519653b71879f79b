//! Tests that the reference kernels in WebAssembly reproduce the digest of the golden step.
//!
//! `tests/browser/check.test.mjs` runs the page's own check in the same browser. That check tests the SIMD kernels in
//! WebAssembly and every lowering (WGSL implementation) on WebGPU against the known answers, and both against the
//! golden digests.

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
