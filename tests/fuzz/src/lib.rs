//! Fuzz targets: functions of arbitrary bytes, one for each parser of bytes from outside. A target panics if the parser
//! panics, if a value that was read is written differently, or if an invariant of the ledger is violated.
//!
//! `cargo test` runs the targets on seeds and mutations of them; `scripts/fuzz TARGET` gives a target to libFuzzer.

mod answers;
mod blocks;
mod files;
mod wire;

/// A fuzz target and its seeds.
pub struct Target {
    /// Name of the target.
    pub name: &'static str,
    /// Runs the target on bytes, and panics if it finds a fault.
    pub run: fn(&[u8]),
    /// Returns valid inputs, from which mutations start.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All fuzz targets, which `scripts/fuzz` and the tests run by name.
pub const TARGETS: &[Target] = &[
    Target { name: "transaction", run: wire::transaction, seeds: wire::transactions },
    Target { name: "ledger", run: wire::ledger, seeds: wire::bodies },
    Target { name: "query", run: wire::query, seeds: wire::queries },
    Target { name: "text", run: wire::text, seeds: wire::texts },
    Target { name: "move", run: blocks::dispute_move, seeds: blocks::dispute_moves },
    Target { name: "block", run: blocks::block, seeds: blocks::manifests },
    Target { name: "car", run: blocks::car, seeds: blocks::cars },
    Target { name: "incoming", run: answers::incoming, seeds: blocks::cars },
    Target { name: "artifact", run: blocks::artifact, seeds: blocks::artifacts },
    Target { name: "adapter", run: blocks::adapter, seeds: blocks::adapters },
    Target { name: "chunk", run: blocks::chunk, seeds: blocks::chunks },
    Target { name: "unixfs", run: blocks::unixfs, seeds: blocks::unixfs_nodes },
    Target { name: "safetensors", run: files::safetensors, seeds: files::safetensors_files },
    Target { name: "gguf", run: files::gguf, seeds: files::gguf_files },
    Target { name: "answer", run: answers::answer, seeds: answers::answers },
];

/// Returns the target with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
