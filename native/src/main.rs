//! The R3MES miner.

#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the commands that drive the node come next"))]
mod node;

fn main() {}
