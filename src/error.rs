//! What can go wrong, with the thing and the limit named.

/// Every error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two things that belong together disagree.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// The thing.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Bytes that are not what they should be.
    #[error("{what}: {reason}")]
    Malformed {
        /// What the bytes should be.
        what: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// A name that is not there.
    #[error("{name} is missing")]
    Missing {
        /// The name.
        name: String,
    },
    /// A length differs from what the shape demands.
    #[error("{what}: expected {expected} elements, found {found}")]
    Shape {
        /// The thing measured.
        what: &'static str,
        /// Elements demanded.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A value outside its range.
    #[error("{what} {value} is out of range")]
    Value {
        /// The thing.
        what: &'static str,
        /// Its value.
        value: i64,
    },
    /// A value left the range of its format.
    #[error("{what}: a value left the range of its format")]
    Saturated {
        /// Where.
        what: &'static str,
    },
    /// Somebody who was asked between two slices said so.
    #[error("stopped")]
    Stopped,
    /// A NaN or an infinity where a number must be.
    #[error("{what} holds a value that is not finite")]
    NotFinite {
        /// The thing.
        what: &'static str,
    },
    /// No GPU answers to the name or number asked for.
    #[error("no GPU {wanted:?}; this machine lists: {listed}")]
    NoGpu {
        /// What was asked for.
        wanted: String,
        /// What there is.
        listed: String,
    },
    /// The GPU offers less than the work needs.
    #[error("{what} needs {limit} of {needed}, the GPU offers {offered}")]
    GpuLimit {
        /// The thing that needs it.
        what: String,
        /// WebGPU's name of the limit.
        limit: &'static str,
        /// How much.
        needed: u64,
        /// How much there is.
        offered: u64,
    },
    /// The GPU has no memory left.
    #[error("{what}: out of GPU memory")]
    GpuMemory {
        /// What wanted memory.
        what: String,
    },
    /// The GPU is gone: unplugged, reset, hung, or its driver crashed.
    #[error("GPU lost: {reason}")]
    GpuLost {
        /// The driver's word.
        reason: String,
    },
    /// The GPU or its driver refuses what it was given.
    #[error("{what}: refused by the GPU: {reason}")]
    GpuRefused {
        /// What was given.
        what: String,
        /// The driver's word.
        reason: String,
    },
    /// A GPU computes other bits than the twin.
    #[error("{kernel}.{lowering}, case {case}: {buffer}[{word}] is {found:#010x}, must be {expected:#010x}")]
    WrongAnswer {
        /// The kernel.
        kernel: &'static str,
        /// Its WGSL.
        lowering: &'static str,
        /// The case's label.
        case: String,
        /// The binding that differs first.
        buffer: &'static str,
        /// Where in it.
        word: usize,
        /// The twin's word.
        expected: u32,
        /// The GPU's word.
        found: u32,
    },
    /// A GPU that may not be used: a kernel has no lowering that computes the right bits there.
    #[error("{gpu} cannot run kernel {kernel}: {reasons}")]
    GpuUnfit {
        /// The GPU.
        gpu: String,
        /// The kernel.
        kernel: &'static str,
        /// Why each lowering failed.
        reasons: String,
    },
}
