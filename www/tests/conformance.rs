//! Tests that every lowering of every kernel reproduces the known answers on the browser's WebGPU, and that the
//! reference kernels in WebAssembly reproduce the digest of the golden step.
//!
//! `tests/browser/check.test.mjs` runs the page's own check in the same browser. That check tests the SIMD kernels and
//! the golden digests in WebAssembly, and the chosen lowerings and the golden digests on WebGPU.

use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::scalar,
        gpu::{self, Gpu, Options},
    },
    kernels::{self, cases::cases},
    training::conformance::{GOLDEN, step_digest},
};
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

const SEED: u64 = 1;

async fn open() -> Gpu {
    let devices = gpu::devices().await;
    let device = devices.first().expect("WebGPU lists a GPU");
    console_log!("{device}");
    Gpu::open(device, Options::new(js_sys::Date::now)).await.expect("the GPU opens")
}

#[wasm_bindgen_test]
async fn every_lowering_equals_its_reference_on_webgpu() {
    let gpu = open().await;
    for kernel in kernels::ALL {
        for lowering in kernel.lowerings {
            let cases = cases(kernel, SEED);
            for case in &cases {
                gpu::passes(&gpu, lowering, case).await.unwrap_or_else(|error| panic!("{error}"));
            }
            console_log!("{}.{}: {} cases", kernel.name, lowering.name, cases.len());
        }
    }
}

#[wasm_bindgen_test]
async fn golden_step_by_reference_kernels() {
    let backend = Backend::Cpu { threads: 1, kernels: scalar };
    assert_eq!(step_digest(&backend, 1).await.expect("a digest"), GOLDEN.step);
}
