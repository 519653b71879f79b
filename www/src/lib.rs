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
//! | [`verify`](verify::verify) | whether anybody's receipt holds, by recomputing it |
//! | [`BitLinear`](bit_linear::BitLinear) | one adapted linear by itself, on typed arrays |
//! | [`wallet`] | what wallets sign to open and close a session |
//! | [`arithmetic_version`] | by which version of docs/ARITHMETIC.md |

mod backend;
pub mod bench;
pub mod bit_linear;
pub mod check;
mod control;
pub mod devices;
mod events;
mod host;
pub mod miner;
mod model;
mod tell;
pub mod verify;
pub mod wallet;

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
