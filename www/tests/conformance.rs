//! Every kernel and the golden digests in a browser's worker: on WebGPU, and on the CPU through wasm.
//!
//! `wasm-bindgen-test-runner` opens the browser; `scripts/test` says how.

#![cfg(target_arch = "wasm32")]

use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{fastest, scalar},
        gpu::{self, Gpu, Options},
        known_answers,
    },
    kernels::{self, cases::cases},
    training::conformance::{GOLDEN, digests, step_digest},
};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const SEED: u64 = 1;

async fn open() -> Gpu {
    let devices = gpu::devices().await;
    let device = devices.first().expect("WebGPU lists a GPU");
    console_log!("{device}");
    Gpu::open(device, Options::new(js_sys::Date::now)).await.expect("the GPU opens")
}

#[wasm_bindgen_test]
async fn every_lowering_equals_its_twin_on_webgpu() {
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
async fn every_fast_twin_equals_its_twin() {
    let backend = Backend::Cpu { threads: 1, kernels: fastest };
    for case in kernels::ALL.iter().flat_map(|kernel| cases(kernel, SEED)) {
        answers::passes(&backend, &case).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[wasm_bindgen_test]
async fn golden_digests_on_webgpu() {
    let gpu = open().await;
    let tuning = gpu::tune(&gpu, kernels::ALL, SEED).await.expect("every kernel has a lowering that passes");
    tuning.kernels.iter().filter(|tuned| tuned.tried.len() > 1).for_each(|tuned| console_log!("{tuned}"));
    let backend = Backend::Gpu { gpu, choice: tuning.choice };
    assert_eq!(digests(&backend, 3).await.expect("digests"), GOLDEN);
}

#[wasm_bindgen_test]
async fn golden_digests_on_the_cpu() {
    let backend = Backend::Cpu { threads: 1, kernels: fastest };
    assert_eq!(digests(&backend, 3).await.expect("digests"), GOLDEN);
    let backend = Backend::Cpu { threads: 1, kernels: scalar };
    assert_eq!(step_digest(&backend, 1).await.expect("a digest"), GOLDEN.step);
}
