//! The error type of the library. Each error names the item concerned and the limit that it exceeds.

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value differs from the required value.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// Name of the value.
        what: &'static str,
        /// The required value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// Bytes do not have the required form.
    #[error("{what}: {reason}")]
    Malformed {
        /// What the bytes should represent.
        what: &'static str,
        /// Why the bytes do not have that form.
        reason: String,
    },
    /// A required item is missing.
    #[error("{name} is missing")]
    Missing {
        /// Name of the item.
        name: String,
    },
    /// The number of elements differs from the one that the shape requires.
    #[error("{what}: expected {expected} elements, found {found}")]
    Shape {
        /// Name of the item.
        what: &'static str,
        /// The required number of elements.
        expected: usize,
        /// The actual number of elements.
        found: usize,
    },
    /// A value is outside its range.
    #[error("{what} {value} is out of range")]
    Value {
        /// Name of the value.
        what: &'static str,
        /// The value that is out of range.
        value: i64,
    },
    /// A computed value left the range of its format.
    #[error("{what}: a value left the range of its format")]
    Saturated {
        /// Name of the computation.
        what: &'static str,
    },
    /// The yield hook stopped the run between two slices.
    #[error("the run was stopped")]
    Stopped,
    /// A NaN or an infinity was found where a finite number is required.
    #[error("{what} contains a value that is not finite")]
    NotFinite {
        /// Name of the item.
        what: &'static str,
    },
    /// No GPU has the requested number or name.
    #[error("no GPU matches {wanted:?}; GPUs of this machine: {listed}")]
    NoGpu {
        /// The requested number or part of a name.
        wanted: String,
        /// The GPUs of this machine.
        listed: String,
    },
    /// The GPU offers less than the computation needs.
    #[error("{what} needs {limit} of at least {needed}, but the GPU offers {offered}")]
    GpuLimit {
        /// Name of the buffer, dispatch or device that exceeds the limit.
        what: String,
        /// WebGPU's name of the limit.
        limit: &'static str,
        /// The required value.
        needed: u64,
        /// The value that the GPU offers.
        offered: u64,
    },
    /// The GPU is out of memory.
    #[error("{what}: out of GPU memory")]
    GpuMemory {
        /// What the memory was for.
        what: String,
    },
    /// The GPU was lost: it was unplugged, reset or closed, it hangs, or its driver crashed.
    #[error("GPU lost: {reason}")]
    GpuLost {
        /// The reason that the driver reports.
        reason: String,
    },
    /// The GPU or its driver refuses an operation.
    #[error("{what}: the GPU or its driver refused it: {reason}")]
    GpuRefused {
        /// Name of the operation or object that was refused.
        what: String,
        /// The reason that the driver reports.
        reason: String,
    },
    /// A backend computes other bits than the reference kernel.
    #[error("{kernel}.{lowering}, case {case}: {buffer}[{word}] is {found:#010x}, but must be {expected:#010x}")]
    WrongAnswer {
        /// Name of the kernel.
        kernel: &'static str,
        /// Name of the lowering, or `cpu`.
        lowering: &'static str,
        /// Label of the case or dispatch.
        case: String,
        /// Name of the first binding that differs.
        buffer: &'static str,
        /// Index of the first word that differs.
        word: usize,
        /// The reference kernel's word.
        expected: u32,
        /// The backend's word.
        found: u32,
    },
    /// The GPU must not be used, because no lowering of a kernel computes the right bits on it.
    #[error("{gpu} cannot run kernel {kernel}: {reasons}")]
    GpuUnfit {
        /// Name of the GPU.
        gpu: String,
        /// Name of the kernel.
        kernel: &'static str,
        /// Why each lowering failed.
        reasons: String,
    },
}
