//! What reads bytes from elsewhere, as functions of bytes. A target fails by panicking: where the code does, where what
//! was read is not what is written again, or where a law of the ledger is broken.
//!
//! `cargo test` tries seeds and mutations of them; `scripts/fuzz TARGET` gives a target to libFuzzer.

mod answers;
mod blocks;
mod files;
mod wire;

/// A function that any bytes may be given to, and bytes to begin with.
pub struct Target {
    /// What is read.
    pub name: &'static str,
    /// Panics where something is wrong.
    pub run: fn(&[u8]),
    /// Bytes that reach far into it.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
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

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
