// The version of the page and of the npm package. A test compares it with that of the Rust crates.

export const VERSION = "0.1.0";
