//! Backends, which run a [`Recording`] (a recorded training step) on the CPU or on a GPU.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod known_answers;
pub mod recording;
pub mod split;
pub mod trace;

use crate::{
    compute::recording::{BufferId, Recording},
    error::Error,
    kernels::Saturated,
};
use cpu::executor::CpuExecutor;
use std::{ops::Range, pin::Pin, sync::Arc};

/// A callback that an executor calls after each slice of work: on a GPU one or more submissions, on the CPU one
/// dispatch (launch of a kernel). The callback can let other tasks use the processor, wait, or stop the run.
#[derive(Clone, Copy)]
pub struct YieldHook {
    /// A clock: returns the milliseconds since a fixed moment. The CPU backend uses it to measure how long each slice
    /// of work takes.
    pub clock: fn() -> f64,
    /// The function that is called after each slice of work. The run waits for the returned future. If the future
    /// yields false, the run stops and returns [`Error::Stopped`].
    pub after_slice: fn(Slice) -> Pin<Box<dyn Future<Output = bool>>>,
}

/// A completed part of a run: one or more submissions to a GPU, or one dispatch (launch of a kernel) on the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// The time that the slice took, in milliseconds.
    pub worked_ms: f64,
    /// The number of dispatches of the run that have completed so far, including those of this slice.
    pub dispatches_done: usize,
    /// The total number of dispatches in the run.
    pub dispatches: usize,
}

/// A recording that has been loaded into the memory of a backend and is ready to run. The methods are async because a
/// caller must await the results of a GPU. On the CPU they wait only for the yield hook, a callback after each slice of
/// work.
pub enum Executor {
    /// Runs the recording on CPU threads.
    Cpu(CpuExecutor),
    /// Runs the recording on a GPU.
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::GpuExecutor>),
    /// Runs a prefix of the recording's dispatches on one backend, and the rest on another.
    Split(Box<split::SplitExecutor>),
}

/// The hardware that runs recordings, and the implementation of each kernel on it.
#[derive(Clone)]
pub enum Backend {
    /// The threads of the CPU.
    Cpu {
        /// The number of threads; 0 means one per core.
        threads: usize,
        /// The function that chooses the CPU implementation of each kernel. It returns `None` to choose the reference
        /// kernel.
        kernels: cpu::executor::CpuKernels,
    },
    /// An open GPU.
    #[cfg(feature = "gpu")]
    Gpu {
        /// The GPU that runs the recordings.
        gpu: gpu::Gpu,
        /// The lowering (WGSL implementation) to use for each kernel.
        choice: gpu::LoweringChoice,
    },
    /// Two backends: the first runs a prefix of a recording's dispatches, and the second runs the rest. Runs with
    /// prefixes of different lengths show which dispatch one of the backends computes wrongly.
    Split {
        /// The backend that runs the prefix.
        first: Box<Backend>,
        /// The backend that runs the dispatches after the prefix.
        second: Box<Backend>,
        /// The number of dispatches in the prefix, which the first backend runs.
        prefix: usize,
    },
}

impl Backend {
    /// Returns how many sequences one run should compute. On a hardware GPU it is [`usize::MAX`] (no limit), because a
    /// run of only a few sequences would leave the GPU mostly idle. On any other backend it is `default`. The number
    /// affects memory use, not the result.
    pub fn sequences_per_run(&self, default: usize) -> usize {
        match self {
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, .. } if !gpu.device().software => usize::MAX,
            _ => default,
        }
    }

    /// Prepares a recording for execution, and returns its executor. The preparation allocates the buffers, loads the
    /// constants and, for a GPU, compiles the kernels. Returns an error if a GPU cannot hold the buffers, refuses the
    /// work, or is lost.
    pub async fn executor(&self, recording: &Arc<Recording>) -> Result<Executor, Error> {
        Ok(match self {
            Self::Cpu { threads, kernels } => Executor::Cpu(CpuExecutor::new(recording.clone(), *threads, *kernels)),
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, choice } => Executor::Gpu(Box::new(gpu::GpuExecutor::new(gpu, recording, choice).await?)),
            Self::Split { first, second, prefix } => {
                let (first, second) =
                    (Box::pin(first.executor(recording)).await?, Box::pin(second.executor(recording)).await?);
                Executor::Split(Box::new(split::SplitExecutor::new(recording, first, second, *prefix)))
            }
        })
    }
}

impl Executor {
    /// Overwrites all words of a persistent buffer (a buffer that keeps its words between runs). Returns an error if
    /// `words` does not have the length of the buffer.
    pub async fn write(&mut self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        match self {
            Self::Cpu(executor) => executor.write(id, words),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.write(id, words).await,
            Self::Split(executor) => Box::pin(executor.write(id, words)).await,
        }
    }

    /// Overwrites all words of several persistent buffers (buffers that keep their words between runs). Returns an
    /// error if the number of words for a buffer is not its length. On a GPU, the buffers are uploaded together.
    pub async fn write_all(&mut self, writes: &[(BufferId, Vec<u32>)]) -> Result<(), Error> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(executor) = self {
            let writes: Vec<_> = writes.iter().map(|(id, words)| (*id, &words[..])).collect();
            return executor.write_all(&writes).await;
        }
        for (id, words) in writes {
            self.write(*id, words).await?;
        }
        Ok(())
    }

    /// Returns the words of a buffer. For a scratch buffer (a buffer for intermediate values of one run), they may be
    /// the words of another buffer that shares its memory.
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        match self {
            Self::Cpu(executor) => Ok(executor.read(id).to_vec()),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.read(id).await,
            Self::Split(executor) => Box::pin(executor.read(id)).await,
        }
    }

    /// Returns the words of several buffers. For a scratch buffer (a buffer for intermediate values of one run), they
    /// may be the words of another buffer that shares its memory. On a GPU, the buffers are downloaded together.
    pub async fn read_all(&self, ids: &[BufferId]) -> Result<Vec<Vec<u32>>, Error> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(executor) = self {
            return executor.read_all(ids).await;
        }
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push(self.read(*id).await?);
        }
        Ok(all)
    }

    /// Sets the hook that is called after every slice of work (on a GPU one or more submissions, on the CPU one
    /// dispatch). It replaces any earlier hook.
    pub fn set_yield_hook(&mut self, hook: YieldHook) {
        match self {
            Self::Cpu(executor) => executor.yield_hook = Some(hook),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.yield_hook = Some(hook),
            Self::Split(executor) => executor.set_yield_hook(hook),
        }
    }

    /// Runs a range of dispatches in order. Returns whether any of them computed a value outside the range of its
    /// number format.
    pub async fn run(&mut self, dispatches: Range<usize>) -> Result<Saturated, Error> {
        self.run_units(dispatches, 0..usize::MAX).await
    }

    /// Runs a range of dispatches in order, but computes only the work units (independent parts) of each dispatch whose
    /// indexes are in `units`. If the bounds of `units` are not multiples of [`Self::unit_alignment`], some neighboring
    /// units may be computed too. Returns whether any dispatch computed a value outside the range of its number format.
    pub async fn run_units(&mut self, dispatches: Range<usize>, units: Range<usize>) -> Result<Saturated, Error> {
        match self {
            Self::Cpu(executor) => match executor.yield_hook {
                None => executor.run(dispatches, units),
                Some(hook) => {
                    let mut saturated = false;
                    let Range { start: first, end } = dispatches;
                    for at in first..end {
                        let start = (hook.clock)();
                        saturated |= executor.run(at..at + 1, units.clone())?;
                        let worked_ms = (hook.clock)() - start;
                        let slice = Slice { worked_ms, dispatches_done: at + 1 - first, dispatches: end - first };
                        if !(hook.after_slice)(slice).await {
                            return Err(Error::Stopped);
                        }
                    }
                    Ok(saturated)
                }
            },
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.run_units(dispatches, units).await,
            Self::Split(executor) => Box::pin(executor.run_units(dispatches, units)).await,
        }
    }

    /// Returns a power of two to which ranges of work units (independent parts of a dispatch) should be aligned. If
    /// both bounds of a range are multiples of it, [`Self::run_units`] computes exactly the work units in the range.
    pub fn unit_alignment(&self) -> usize {
        match self {
            Self::Cpu(_) => 1,
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.unit_alignment(),
            Self::Split(executor) => executor.unit_alignment(),
        }
    }

    /// Sets which dispatches are audited. `dispatches` holds their indexes, and replaces any earlier list. On the CPU,
    /// each audited dispatch also runs with its reference kernel, and the run fails with [`Error::WrongAnswer`] if a
    /// word differs. On other backends this has no effect.
    pub fn audit(&mut self, dispatches: Vec<usize>) {
        if let Self::Cpu(executor) = self {
            executor.audit(dispatches);
        }
    }
}
