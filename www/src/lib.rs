//! The engine of the web page: makes the library r3mes-wgpu available to JavaScript through a few functions and
//! classes.
//!
//! The crate is single-threaded. It is meant to run in a Web Worker (of the type `module`), because each slice of work
//! blocks the thread. It does not access the DOM.
//!
//! | Function, class or module | Purpose |
//! |---|---|
//! | [`devices`](devices::devices) | lists the GPUs that the browser offers |
//! | [`check`](check::check) | tests a backend against the known answers and the golden digests |
//! | [`Bench`](bench::Bench) | measures the speed of matrix products and training steps |
//! | [`Miner`](miner::Miner) | mines for a node |
//! | [`verify`](verify::verify) | verifies a receipt by recomputing its gradient |
//! | [`BitLinear`](bit_linear::BitLinear) | computes one adapted linear layer on typed arrays |
//! | [`wallet`] | builds the transactions and statements with which wallets open and close a session |
//! | [`arithmetic_version`] | returns the version of docs/ARITHMETIC.md that this build implements |

mod backend;
pub mod bench;
pub mod bit_linear;
pub mod check;
mod control;
pub mod devices;
mod event_sink;
mod events;
mod host;
pub mod miner;
mod model;
pub mod verify;
pub mod wallet;

use wasm_bindgen::prelude::wasm_bindgen;

/// Runs when JavaScript loads the module. Makes each panic appear in the console, with its source location.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Returns the version of the arithmetic (specified by docs/ARITHMETIC.md) that this build implements.
#[wasm_bindgen(js_name = arithmeticVersion)]
pub fn arithmetic_version() -> u32 {
    r3mes_wgpu::ARITHMETIC_VERSION
}
