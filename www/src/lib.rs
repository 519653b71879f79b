//! The browser face of r3mes-wgpu: the library's engine behind a few JavaScript functions.
//!
//! Single-threaded, for a module worker: it computes for as long as a slice takes, and draws nothing.
//!
//! | function | says |
//! |---|---|
//! | [`devices`](devices::devices) | which GPUs the browser offers |
//! | [`check`](check::check) | whether a backend computes the known answers and the golden digests |
//! | [`Bench`](bench::Bench) | how fast products and steps are here |
//! | [`Miner`](miner::Miner) | mines for a node |
//! | [`arithmetic_version`] | by which version of docs/ARITHMETIC.md |

pub mod bench;
pub mod check;
pub mod devices;
mod host;
pub mod miner;

use wasm_bindgen::prelude::wasm_bindgen;

/// Runs when the module is loaded: panics are told to the console with their place.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// The version of docs/ARITHMETIC.md that this build computes by.
#[wasm_bindgen(js_name = arithmeticVersion)]
pub fn arithmetic_version() -> u32 {
    r3mes_wgpu::ARITHMETIC_VERSION
}
