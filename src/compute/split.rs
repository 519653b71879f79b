//! Two backends for one recording: a prefix of its dispatches on the first, the rest on the second. Where the bits
//! are wrong for one prefix and right for the prefix shorter by one, the dispatch between them is the culprit.

use super::{Executor, YieldHook};
use crate::{
    compute::recording::{BufferId, Content, Dispatch, Recording},
    error::Error,
    kernels::Saturated,
};
use std::ops::Range;

/// Two executors of one recording that act as one.
pub struct SplitExecutor {
    first: Executor,
    second: Executor,
    /// Dispatches of the prefix.
    prefix: usize,
    /// What the prefix leaves for the rest.
    forward: Vec<BufferId>,
    /// What one play leaves for the prefix of the next.
    back: Vec<BufferId>,
    /// Whether the rest has the last word on a buffer.
    in_second: Vec<bool>,
}

impl SplitExecutor {
    /// Takes executors of `recording`, the first for its first `prefix` dispatches.
    pub fn new(recording: &Recording, first: Executor, second: Executor, prefix: usize) -> Self {
        let (before, after) = recording.dispatches().split_at(prefix.min(recording.dispatches().len()));
        let used = |id, part: &[Dispatch]| part.iter().any(|dispatch| dispatch.buffers.contains(&id));
        let written = |id, part: &[Dispatch]| part.iter().flat_map(Dispatch::written).any(|written| written.id == id);
        let ids = || recording.ids();
        let forward = ids().filter(|id| written(*id, before) && used(*id, after)).collect();
        let kept = |id: &BufferId| matches!(recording.get(*id).content, Content::Persistent);
        let back = ids().filter(kept).filter(|id| written(*id, after) && used(*id, before)).collect();
        let in_second = ids().map(|id| used(id, after)).collect();
        Self { first, second, prefix, forward, back, in_second }
    }

    /// As [`Executor::write`].
    pub async fn write(&mut self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        self.first.write(id, words).await?;
        self.second.write(id, words).await
    }

    /// As [`Executor::read`].
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        if self.in_second[id.0] { self.second.read(id).await } else { self.first.read(id).await }
    }

    /// As [`Executor::set_yield_hook`].
    pub fn set_yield_hook(&mut self, rest: YieldHook) {
        self.first.set_yield_hook(rest);
        self.second.set_yield_hook(rest);
    }

    /// As [`Executor::grain`]: the coarser one.
    pub fn grain(&self) -> usize {
        self.first.grain().max(self.second.grain())
    }

    /// As [`Executor::run_units`].
    pub async fn run_units(&mut self, dispatches: Range<usize>, units: Range<usize>) -> Result<Saturated, Error> {
        let cut = self.prefix.clamp(dispatches.start, dispatches.end);
        for id in &self.back {
            self.first.write(*id, &self.second.read(*id).await?).await?;
        }
        let before = self.first.run_units(dispatches.start..cut, units.clone()).await?;
        for id in &self.forward {
            self.second.write(*id, &self.first.read(*id).await?).await?;
        }
        Ok(self.second.run_units(cut..dispatches.end, units).await? | before)
    }
}
