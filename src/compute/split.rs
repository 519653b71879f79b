//! Runs a recording on two backends: a prefix of the dispatches on the first, the rest on the second.
//!
//! This serves to find a dispatch that the first backend computes wrongly. If the result is wrong with one prefix, and
//! correct with a prefix that is one dispatch shorter, then the first backend computes the last dispatch of the longer
//! prefix wrongly.

use super::{Executor, YieldHook};
use crate::{
    compute::recording::{BufferContent, BufferId, Dispatch, Recording},
    error::Error,
    kernels::Saturated,
};
use std::ops::Range;

/// Two executors of one recording that act as one. The first runs a prefix of the dispatches, and the second runs the
/// rest.
pub struct SplitExecutor {
    first: Executor,
    second: Executor,
    /// The number of dispatches in the prefix, which the first executor runs.
    prefix: usize,
    /// The buffers that a dispatch of the first executor writes and a dispatch of the second uses. Each run copies them
    /// from the first executor to the second when the first has run its dispatches.
    forward: Vec<BufferId>,
    /// The persistent buffers that a dispatch of the first executor uses and a dispatch of the second writes. Each run
    /// begins by copying them from the second executor to the first.
    back: Vec<BufferId>,
    /// For each buffer, whether a dispatch of the second executor uses it. If so, the words of the buffer after a run
    /// are in the second executor, otherwise in the first.
    in_second: Vec<bool>,
}

impl SplitExecutor {
    /// Combines two executors of `recording`. `first` runs the first `prefix` dispatches, and `second` runs the rest.
    pub fn new(recording: &Recording, first: Executor, second: Executor, prefix: usize) -> Self {
        let (before, after) = recording.dispatches().split_at(prefix.min(recording.dispatches().len()));
        let used = |id, part: &[Dispatch]| part.iter().any(|dispatch| dispatch.buffers.contains(&id));
        let written = |id, part: &[Dispatch]| part.iter().flat_map(Dispatch::written).any(|written| written.id == id);
        let ids = || recording.ids();
        let forward = ids().filter(|id| written(*id, before) && used(*id, after)).collect();
        let persistent = |id: &BufferId| matches!(recording.get(*id).content, BufferContent::Persistent);
        let back = ids().filter(persistent).filter(|id| written(*id, after) && used(*id, before)).collect();
        let in_second = ids().map(|id| used(id, after)).collect();
        Self { first, second, prefix, forward, back, in_second }
    }

    /// Overwrites all words of a persistent buffer (a buffer that keeps its words between runs) in both executors.
    pub async fn write(&mut self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        self.first.write(id, words).await?;
        self.second.write(id, words).await
    }

    /// Returns the words of a buffer. They are read from the second executor if one of its dispatches uses the buffer,
    /// and otherwise from the first.
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        if self.in_second[id.0] { self.second.read(id).await } else { self.first.read(id).await }
    }

    /// Sets the yield hook, a callback that both executors call after every slice of work.
    pub fn set_yield_hook(&mut self, hook: YieldHook) {
        self.first.set_yield_hook(hook);
        self.second.set_yield_hook(hook);
    }

    /// Returns the power of two to which ranges of work units (independent parts of a dispatch) should be aligned. It
    /// is the larger of the alignments that the two executors need.
    pub fn unit_alignment(&self) -> usize {
        self.first.unit_alignment().max(self.second.unit_alignment())
    }

    /// Runs a range of dispatches, but computes only the work units (independent parts) of each dispatch whose indexes
    /// are in `units`. If the bounds of `units` are not multiples of [`Self::unit_alignment`], some neighboring units
    /// may be computed too. Returns whether any dispatch computed a value outside the range of its number format.
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
