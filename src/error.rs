//! The error type of the library. Each error states what is wrong. If a limit is exceeded, the error also states the
//! limit.

/// An error of a model, an adapter, a training step or a compute backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value differs from the required value.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// Name of the value that is wrong, such as `matrix of the adapter`.
        what: &'static str,
        /// The required value, as text.
        expected: String,
        /// The value that was found instead, as text.
        found: String,
    },
    /// A file or another sequence of bytes does not have the required format.
    #[error("{what}: {reason}")]
    Malformed {
        /// Name of the file or the format, such as `config.json` or `GGUF`.
        what: &'static str,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// A required item, such as a tensor or a metadata key, is missing from a file.
    #[error("{name} is missing")]
    Missing {
        /// Name of the missing item.
        name: String,
    },
    /// The number of elements in an array or a list is not the required one.
    #[error("{what}: expected {expected} elements, found {found}")]
    Shape {
        /// Name of the array or the list.
        what: &'static str,
        /// The number of elements that is required.
        expected: usize,
        /// The number of elements that was found.
        found: usize,
    },
    /// A number is outside its valid range.
    #[error("{what}: {value} is out of range")]
    Value {
        /// Name of the number, such as `LoRA rank`.
        what: &'static str,
        /// The number that is out of range.
        value: i64,
    },
    /// A value left the range of its number format during a computation, so there is no result.
    #[error("{what}: a value left the range of its number format")]
    Saturated {
        /// Name of the computation that failed, such as `linear` or `head logits`.
        what: String,
    },
    /// The run was stopped by the yield hook, a callback that the executor calls after each slice of work.
    #[error("the run was stopped")]
    Stopped,
    /// A NaN or an infinity was found where all numbers must be finite.
    #[error("{what}: a value is NaN or infinite")]
    NotFinite {
        /// Name of the array that contains the NaN or the infinity.
        what: &'static str,
    },
    /// No GPU of this machine is the requested one.
    #[error("no GPU matches {wanted:?}; GPUs of this machine: {listed}")]
    NoGpu {
        /// What was requested: the index of a GPU among all GPUs of this machine, or a part of its name.
        wanted: String,
        /// Names of all GPUs of this machine; `none` if there are none.
        listed: String,
    },
    /// A limit of the GPU, such as the largest permitted size of a buffer, is too low for the computation.
    #[error("{what}: the GPU's {limit} must be at least {needed}, but is only {offered}")]
    GpuLimit {
        /// Name of the buffer or the dispatch that exceeds the limit. If the limit is too low for any computation, this
        /// is the name of the GPU.
        what: String,
        /// Name of the limit, such as WebGPU's `maxBufferSize`.
        limit: &'static str,
        /// The lowest limit that would be sufficient.
        needed: u64,
        /// The limit of this GPU.
        offered: u64,
    },
    /// The GPU does not have enough free memory.
    #[error("{what}: the GPU has too little free memory")]
    GpuMemory {
        /// What the memory was needed for, such as the name of a buffer.
        what: String,
    },
    /// The GPU can no longer be used. It was unplugged, reset or closed, it does not respond, or its driver crashed.
    #[error("GPU lost: {reason}")]
    GpuLost {
        /// The reason that the driver reports, or the operation during which the GPU stopped responding.
        reason: String,
    },
    /// The GPU or its driver rejects an operation, for example because it is invalid.
    #[error("{what}: rejected by the GPU or its driver: {reason}")]
    GpuRefused {
        /// Name of the operation, the buffer or the kernel that was rejected.
        what: String,
        /// Why it was rejected, in most cases as reported by the driver.
        reason: String,
    },
    /// A backend has computed a result that differs from that of the reference kernel, in at least one bit.
    #[error(
        "{kernel}.{lowering} computed {found:#010x} instead of {expected:#010x} as word {word} of {buffer} ({case})"
    )]
    WrongAnswer {
        /// Name of the kernel whose result is wrong.
        kernel: &'static str,
        /// The implementation that computed the result: the name of a lowering (a WGSL implementation of the kernel),
        /// `cpu`, or `split` if two backends share the dispatches of a training step.
        lowering: &'static str,
        /// Label of the test case, or of the dispatch in a training step.
        case: String,
        /// Name of the first buffer that differs, or `flag` if only the saturation flag differs.
        buffer: &'static str,
        /// Index, in this buffer, of the first word that differs.
        word: usize,
        /// The word that the reference kernel has computed.
        expected: u32,
        /// The word that the backend has computed.
        found: u32,
    },
    /// The GPU must not be used, because it cannot compute one of the kernels: no lowering (WGSL implementation) of
    /// this kernel returns the same bits as the reference kernel.
    #[error("{gpu} cannot run kernel {kernel}: {reasons}")]
    GpuUnfit {
        /// Name of the GPU, with its driver and graphics API.
        gpu: String,
        /// Name of the kernel that the GPU cannot compute.
        kernel: &'static str,
        /// For each lowering of the kernel, the reason why it failed.
        reasons: String,
    },
}
