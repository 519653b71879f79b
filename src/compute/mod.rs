//! Backends, which run a [`Recording`] on the CPU or on a GPU.

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

/// A callback between two slices of work, which may let other tasks have the processor, wait, or stop the run.
#[derive(Clone, Copy)]
pub struct YieldHook {
    /// Returns the milliseconds since a fixed moment.
    pub clock: fn() -> f64,
    /// Called after each slice. If it returns false, the run stops with [`Error::Stopped`].
    pub after_slice: fn(Slice) -> Pin<Box<dyn Future<Output = bool>>>,
}

/// A completed part of a run: one submission to a GPU, or one dispatch on the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// Milliseconds that the slice took.
    pub worked_ms: f64,
    /// The number of dispatches of the run that are complete after this slice.
    pub dispatches_done: usize,
    /// The number of all dispatches of the run.
    pub dispatches: usize,
}

/// A recording in the memory of a backend, ready to run. The methods are async because a GPU's results must be awaited;
/// on the CPU they complete immediately.
pub enum Executor {
    /// Runs on CPU threads.
    Cpu(CpuExecutor),
    /// Runs on a GPU.
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::GpuExecutor>),
    /// Runs on two backends, one after the other.
    Split(Box<split::SplitExecutor>),
}

/// The hardware that runs recordings.
#[derive(Clone)]
pub enum Backend {
    /// CPU threads.
    Cpu {
        /// The number of threads; 0 means one per core.
        threads: usize,
        /// Returns the implementation of each kernel.
        kernels: cpu::executor::CpuKernels,
    },
    /// An open GPU.
    #[cfg(feature = "gpu")]
    Gpu {
        /// The GPU that runs the recordings.
        gpu: gpu::Gpu,
        /// The lowering of each kernel.
        choice: gpu::LoweringChoice,
    },
    /// Two backends: one for a prefix of the dispatches, the other for the rest. It serves to find the dispatch that a
    /// backend computes wrongly.
    Split {
        /// Backend that runs the prefix.
        first: Box<Backend>,
        /// Backend that runs the rest.
        second: Box<Backend>,
        /// The number of dispatches in the prefix.
        prefix: usize,
    },
}

impl Backend {
    /// Returns the number of sequences to compute in one run: `default`, or [`usize::MAX`] on a hardware GPU, which
    /// would be mostly idle with few sequences. The number affects memory, not the result.
    pub fn sequences_per_run(&self, default: usize) -> usize {
        match self {
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, .. } if !gpu.device().software => usize::MAX,
            _ => default,
        }
    }

    /// Allocates and uploads all that a recording needs.
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
    /// Sets all words of a persistent buffer.
    pub async fn write(&mut self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        match self {
            Self::Cpu(executor) => executor.write(id, words),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.write(id, words).await,
            Self::Split(executor) => Box::pin(executor.write(id, words)).await,
        }
    }

    /// Sets all words of several persistent buffers; a GPU receives them together.
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

    /// Returns the words of a buffer. The memory of a scratch buffer may hold another buffer's words.
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        match self {
            Self::Cpu(executor) => Ok(executor.read(id).to_vec()),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.read(id).await,
            Self::Split(executor) => Box::pin(executor.read(id)).await,
        }
    }

    /// Returns the words of several buffers, as [`Self::read`] does; a GPU delivers them together.
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

    /// Sets the hook that is called after every slice.
    pub fn set_yield_hook(&mut self, hook: YieldHook) {
        match self {
            Self::Cpu(executor) => executor.yield_hook = Some(hook),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.yield_hook = Some(hook),
            Self::Split(executor) => executor.set_yield_hook(hook),
        }
    }

    /// Runs a range of dispatches in order. Returns whether one of them saturated.
    pub async fn run(&mut self, dispatches: Range<usize>) -> Result<Saturated, Error> {
        self.run_units(dispatches, 0..usize::MAX).await
    }

    /// Runs a range of dispatches in order, but only the given work units of each, widened to multiples of
    /// [`Self::unit_alignment`]. Returns whether one of them saturated.
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

    /// Returns the number of work units that always run together, a power of two. [`Self::run_units`] begins and ends
    /// at multiples of it.
    pub fn unit_alignment(&self) -> usize {
        match self {
            Self::Cpu(_) => 1,
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.unit_alignment(),
            Self::Split(executor) => executor.unit_alignment(),
        }
    }

    /// Audits the dispatches with these indices: on the CPU, from now on, each of them also runs with its reference
    /// kernel, and the run fails with [`Error::WrongAnswer`] if a word differs. On other backends this has no effect.
    pub fn audit(&mut self, dispatches: Vec<usize>) {
        if let Self::Cpu(executor) = self {
            executor.audit(dispatches);
        }
    }
}
