//! Fuzz targets: functions that take arbitrary bytes. There is one target for each parser of bytes that come from
//! outside the program. A target panics if the parser panics, if decoding an input and encoding the decoded value again
//! yields different bytes, or if an invariant of the ledger is violated.
//!
//! `cargo test` runs all targets on their seeds and on mutations of the seeds. `scripts/fuzz TARGET` runs one target
//! with libFuzzer.

mod answers;
mod blocks;
mod files;
mod wire;

/// A fuzz target: a function to be tested with arbitrary bytes, and the seeds from which a fuzzer starts.
pub struct Target {
    /// Name of the target, as given to `scripts/fuzz`.
    pub name: &'static str,
    /// Runs the target on one input. Panics if the input reveals a fault.
    pub run: fn(&[u8]),
    /// Returns the seeds: mostly valid inputs, which the fuzzer mutates.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All fuzz targets. The tests run all of them, and `scripts/fuzz` runs one by its name.
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

/// Returns the target with this name, or `None` if there is none.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
