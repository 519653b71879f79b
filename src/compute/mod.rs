//! Backends: what plays a [`Recording`].

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

/// What a player does between two slices of work: let others have the processor, wait, or stop.
#[derive(Clone, Copy)]
pub struct YieldHook {
    /// Milliseconds since some moment.
    pub clock: fn() -> f64,
    /// Told of each slice that is done; false stops the play with [`Error::Stopped`].
    pub after: fn(Slice) -> Pin<Box<dyn Future<Output = bool>>>,
}

/// A slice that is done: a GPU's submission, or a dispatch on the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// Milliseconds that it took.
    pub worked_ms: f64,
    /// Dispatches of this play that are done with it, and all of them.
    pub played: [usize; 2],
}

/// A recording in a backend's memory. Methods are async for the GPU's sake; on the CPU they never wait.
pub enum Executor {
    /// On CPU threads.
    Cpu(CpuExecutor),
    /// On a GPU.
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::GpuExecutor>),
    /// On two backends, one after the other.
    Split(Box<split::SplitExecutor>),
}

/// Where to play.
#[derive(Clone)]
pub enum Backend {
    /// On this many threads (0: one per core), by these references.
    Cpu {
        /// Threads.
        threads: usize,
        /// SIMD or scalar.
        choose: cpu::executor::Choose,
    },
    /// On an opened GPU, by these lowerings.
    #[cfg(feature = "gpu")]
    Gpu {
        /// The GPU.
        gpu: gpu::Gpu,
        /// The lowering of each kernel.
        choice: gpu::Choice,
    },
    /// A prefix of the dispatches on one backend, the rest on another: to find which of them goes wrong.
    Split {
        /// Plays the prefix.
        first: Box<Backend>,
        /// Plays the rest.
        second: Box<Backend>,
        /// Dispatches of the prefix.
        prefix: usize,
    },
}

impl Backend {
    /// How many sequences to play at a time: these few, or as many as there are on a GPU in hardware, most of which
    /// would be idle else. The bits are the same for any number; memory is not.
    pub fn sequences(&self, few: usize) -> usize {
        match self {
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, .. } if !gpu.device().software => usize::MAX,
            _ => few,
        }
    }

    /// Allocates and uploads what the recording needs.
    pub async fn executor(&self, recording: &Arc<Recording>) -> Result<Executor, Error> {
        Ok(match self {
            Self::Cpu { threads, choose } => Executor::Cpu(CpuExecutor::new(recording.clone(), *threads, *choose)),
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
    /// Sets all words of a kept buffer.
    pub async fn write(&mut self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        match self {
            Self::Cpu(executor) => executor.write(id, words),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.write(id, words).await,
            Self::Split(executor) => Box::pin(executor.write(id, words)).await,
        }
    }

    /// As [`Self::write`], several buffers: a GPU takes them all in one go.
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

    /// A buffer's words; of a scratch buffer, whatever its memory holds now.
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        match self {
            Self::Cpu(executor) => Ok(executor.read(id).to_vec()),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.read(id).await,
            Self::Split(executor) => Box::pin(executor.read(id)).await,
        }
    }

    /// As [`Self::read`], several buffers: a GPU hands them over in one go.
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

    /// From now on rests after every slice.
    pub fn set_yield_hook(&mut self, rest: YieldHook) {
        match self {
            Self::Cpu(executor) => executor.rest = Some(rest),
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.rest = Some(rest),
            Self::Split(executor) => executor.set_yield_hook(rest),
        }
    }

    /// Plays a range of dispatches in order; says whether one of them saturated.
    pub async fn run(&mut self, dispatches: Range<usize>) -> Result<Saturated, Error> {
        self.run_units(dispatches, 0..usize::MAX).await
    }

    /// As [`Self::play`], but of each dispatch only these of its units, and a few more where [`Self::grain`] is not 1.
    pub async fn run_units(&mut self, dispatches: Range<usize>, units: Range<usize>) -> Result<Saturated, Error> {
        match self {
            Self::Cpu(executor) => match executor.rest {
                None => executor.run(dispatches, units),
                Some(rest) => {
                    let mut saturated = false;
                    let Range { start: first, end } = dispatches;
                    for at in first..end {
                        let start = (rest.clock)();
                        saturated |= executor.run(at..at + 1, units.clone())?;
                        let worked_ms = (rest.clock)() - start;
                        if !(rest.after)(Slice { worked_ms, played: [at + 1 - first, end - first] }).await {
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

    /// Units are played in groups of so many, a power of two, from a multiple of it on.
    pub fn grain(&self) -> usize {
        match self {
            Self::Cpu(_) => 1,
            #[cfg(feature = "gpu")]
            Self::Gpu(executor) => executor.grain(),
            Self::Split(executor) => executor.grain(),
        }
    }

    /// On the CPU these dispatches, by number, also run by their scalar references from now on, and playing fails with
    /// [`Error::WrongAnswer`] where they differ. Other backends have no second opinion at hand and go on as before.
    pub fn audit(&mut self, dispatches: Vec<usize>) {
        if let Self::Cpu(executor) = self {
            executor.audit(dispatches);
        }
    }
}
