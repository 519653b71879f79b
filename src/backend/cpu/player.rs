//! Plays a recording on CPU threads: each dispatch's units are cut into ranges, and every range gets
//! its own part of each written buffer.

use super::ranges_per_thread;
use crate::{
    error::Error,
    kernels::{Access, Kernel, Saturated, Twin},
    recording::{BufferId, Content, Dispatch, Plan, Recording},
};
use rayon::prelude::*;
use std::{ops::Range, sync::Arc};

/// Chooses what runs a kernel; `None` is its scalar twin.
pub type Choose = fn(&Kernel) -> Option<Twin>;

/// A recording with its memory.
pub struct CpuPlayer {
    recording: Arc<Recording>,
    plan: Plan,
    slots: Vec<Slot>,
    threads: usize,
    pool: Option<Arc<rayon::ThreadPool>>,
    choose: Choose,
}

enum Slot {
    Constant(Arc<[u32]>),
    Words(Vec<u32>),
}

impl Slot {
    fn words(&self) -> &[u32] {
        match self {
            Self::Constant(words) => words,
            Self::Words(words) => words,
        }
    }
}

impl CpuPlayer {
    /// Allocates memory. `threads` of 0 means one per core; where threads cannot be had, it plays on
    /// the caller's.
    pub fn new(recording: Arc<Recording>, threads: usize, choose: Choose) -> Self {
        let plan = recording.plan();
        let mut slots: Vec<_> = plan.slot_words.iter().map(|_| Slot::Words(Vec::new())).collect();
        for (buffer, &slot) in recording.buffers().iter().zip(&plan.slot_of) {
            if let Content::Constant(words) = &buffer.content {
                slots[slot] = Slot::Constant(words.clone());
            }
        }
        for (slot, &words) in slots.iter_mut().zip(&plan.slot_words) {
            if let Slot::Words(memory) = slot {
                memory.resize(words, 0);
            }
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok().map(Arc::new);
        let threads = pool.as_ref().map_or(1, |pool| pool.current_num_threads());
        Self { recording, plan, slots, threads, pool, choose }
    }

    /// Bytes of memory besides constants.
    pub fn buffer_bytes(&self) -> usize {
        self.slots.iter().map(|slot| if let Slot::Words(words) = slot { 4 * words.len() } else { 0 }).sum()
    }

    /// Sets all words of a kept buffer.
    pub fn write(&mut self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        let expected = self.recording.get(id).words;
        if words.len() != expected {
            return Err(Error::Shape { what: "buffer to write", expected, found: words.len() });
        }
        if let Slot::Words(memory) = &mut self.slots[self.plan.slot_of[id.0]] {
            memory[..expected].copy_from_slice(words);
        }
        Ok(())
    }

    /// A buffer's words; of a scratch buffer, whatever its memory holds now.
    pub fn read(&self, id: BufferId) -> &[u32] {
        &self.slots[self.plan.slot_of[id.0]].words()[..self.recording.get(id).words]
    }

    /// Plays a range of dispatches in order.
    pub fn play(&mut self, dispatches: Range<usize>) -> Saturated {
        let recording = self.recording.clone();
        let pool = self.pool.clone();
        let play = || recording.dispatches()[dispatches].iter().fold(false, |any, dispatch| self.run(dispatch) | any);
        // Inside the pool for the whole range: its threads stay awake from one dispatch to the next.
        match pool {
            Some(pool) if pool.current_num_threads() > 1 => pool.install(play),
            _ => play(),
        }
    }

    fn run(&mut self, dispatch: &Dispatch) -> Saturated {
        let Dispatch { kernel, params, buffers, .. } = dispatch;
        let units = (kernel.units)(params);
        let mut writes = Vec::new();
        let bound = kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag)).zip(buffers);
        for (binding, id) in bound.clone() {
            if let Access::Write(words) = binding.access {
                let slot = &mut self.slots[self.plan.slot_of[id.0]];
                writes.push((id, words(params), std::mem::replace(slot, Slot::Words(Vec::new()))));
            }
        }
        let reads: Vec<&[u32]> = bound
            .filter(|(binding, _)| matches!(binding.access, Access::Read))
            .map(|(_, id)| &self.slots[self.plan.slot_of[id.0]].words()[..self.recording.get(*id).words])
            .collect();

        let ranges = if self.threads == 1 { 1 } else { self.threads * ranges_per_thread(kernel) };
        let each = units.div_ceil(ranges).max(1);
        let mut parts: Vec<(Range<usize>, Vec<&mut [u32]>)> =
            (0..units).step_by(each).map(|first| (first..(first + each).min(units), Vec::new())).collect();
        for (_, words, slot) in &mut writes {
            let Slot::Words(memory) = slot else { continue };
            let owned = memory.get_mut(..units * *words).unwrap_or_default();
            for (part, memory) in parts.iter_mut().zip(owned.chunks_mut((each * *words).max(1))) {
                part.1.push(memory);
            }
        }
        let twin = (self.choose)(kernel).unwrap_or(kernel.twin);
        let run = |(units, mut writes): (Range<usize>, Vec<&mut [u32]>)| twin(params, units, &reads, &mut writes);
        let saturated = match parts.len() {
            0 | 1 => parts.into_iter().fold(false, |any, part| run(part) | any),
            _ => parts.into_par_iter().map(run).reduce(|| false, |a, b| a | b),
        };
        for (id, _, slot) in writes {
            self.slots[self.plan.slot_of[id.0]] = slot;
        }
        saturated
    }
}
