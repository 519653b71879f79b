//! Tests of the page crate in a browser's worker. `wasm-bindgen-test-runner` opens the browser, with the
//! settings in `scripts/test`.

#![cfg(target_arch = "wasm32")]

mod bit_linear;
mod conformance;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
