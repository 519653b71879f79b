//! Tests of the page's engine in a Web Worker. `wasm-bindgen-test-runner` opens a browser for them, with the settings
//! in `scripts/test`.

#![cfg(target_arch = "wasm32")]

mod bit_linear;
mod conformance;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
