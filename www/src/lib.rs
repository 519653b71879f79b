//! The browser face of r3mes-wgpu: so far it says which arithmetic it was built with, and nothing more.

use wasm_bindgen::prelude::wasm_bindgen;

/// The version of docs/ARITHMETIC.md that this build computes by.
#[wasm_bindgen]
pub fn arithmetic_version() -> u32 {
    r3mes_wgpu::ARITHMETIC_VERSION
}
