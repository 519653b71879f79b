//! Runs a recording (a list of kernel launches, called dispatches) on CPU threads. The work units of each dispatch are
//! divided into ranges, which threads compute in parallel. Each range writes a separate part of the output buffers.

use super::ranges_per_thread;
use crate::{
    compute::{
        YieldHook,
        recording::{BufferContent, BufferId, Dispatch, Plan, Recording},
    },
    error::Error,
    kernels::{Access, CpuKernel, Kernel, Saturated},
};
use rayon::prelude::*;
use std::{ops::Range, sync::Arc};

/// A function that chooses the CPU implementation of a kernel. It returns `None` to choose the reference kernel.
pub type CpuKernels = fn(&Kernel) -> Option<CpuKernel>;

/// A recording together with the memory of its buffers, ready to run on CPU threads.
pub struct CpuExecutor {
    recording: Arc<Recording>,
    plan: Plan,
    slots: Vec<Slot>,
    threads: usize,
    pool: Option<Arc<rayon::ThreadPool>>,
    kernels: CpuKernels,
    audited: Vec<usize>,
    /// A callback that can let other tasks use the processor, or stop the run. This struct only stores it. The method
    /// [`Executor::run_units`](crate::compute::Executor::run_units) calls it after each dispatch.
    pub(in crate::compute) yield_hook: Option<YieldHook>,
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

impl CpuExecutor {
    /// Creates an executor, and allocates the memory of the recording's buffers. `threads` is the number of threads; 0
    /// means one for each core. If no threads can be started, the executor computes on the caller's thread.
    pub fn new(recording: Arc<Recording>, threads: usize, kernels: CpuKernels) -> Self {
        let plan = recording.plan();
        let mut slots: Vec<_> = plan.slot_words.iter().map(|_| Slot::Words(Vec::new())).collect();
        for (buffer, &slot) in recording.buffers().iter().zip(&plan.slot_of) {
            if let BufferContent::Constant(words) = &buffer.content {
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
        Self { recording, plan, slots, threads, pool, kernels, audited: Vec::new(), yield_hook: None }
    }

    /// Returns the size of the memory that this executor has allocated for buffers, in bytes. Constants do not count,
    /// because their memory belongs to the recording.
    pub fn buffer_bytes(&self) -> usize {
        self.slots.iter().map(|slot| if let Slot::Words(words) = slot { 4 * words.len() } else { 0 }).sum()
    }

    /// Replaces all words of a persistent buffer (a buffer that keeps its words between runs). Returns an error if
    /// `words` does not have the length of the buffer.
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

    /// Returns the current words of a buffer. Scratch buffers share memory, so the words of a scratch buffer are valid
    /// only until a later dispatch overwrites them.
    pub fn read(&self, id: BufferId) -> &[u32] {
        &self.slots[self.plan.slot_of[id.0]].words()[..self.recording.get(id).words]
    }

    /// Sets which dispatches are audited. `dispatches` holds their indexes, and replaces any earlier list. Each audited
    /// dispatch is also computed by the reference kernel, and the two results must be the same.
    pub fn audit(&mut self, dispatches: Vec<usize>) {
        self.audited = dispatches;
    }

    /// Runs a range of dispatches in order, but computes only the work units `units` of each. Returns whether any
    /// dispatch computed a value outside the range of its number format. Returns [`Error::WrongAnswer`] if the result
    /// of an audited dispatch differs from that of the reference kernel.
    pub fn run(&mut self, dispatches: Range<usize>, units: Range<usize>) -> Result<Saturated, Error> {
        let (recording, pool) = (self.recording.clone(), self.pool.clone());
        let run_all = || {
            dispatches.into_iter().try_fold(false, |any, at| {
                let dispatch = &recording.dispatches()[at];
                let run = if self.audited.contains(&at) { Self::run_audited } else { Self::run_chosen };
                Ok(run(self, dispatch, units.clone())? | any)
            })
        };
        // All dispatches run inside the thread pool, so that its threads stay awake from one dispatch to the next.
        match pool {
            Some(pool) if pool.current_num_threads() > 1 => pool.install(run_all),
            _ => run_all(),
        }
    }

    fn run_chosen(&mut self, dispatch: &Dispatch, units: Range<usize>) -> Result<Saturated, Error> {
        let implementation = (self.kernels)(dispatch.kernel).unwrap_or(dispatch.kernel.reference);
        Ok(self.run_range(dispatch, units, implementation))
    }

    /// Runs the chosen implementation and then the reference kernel on the same input. Returns [`Error::WrongAnswer`]
    /// if their results differ, and otherwise whether a value left the range of its number format. The buffers keep the
    /// result of the reference kernel.
    fn run_audited(&mut self, dispatch: &Dispatch, units: Range<usize>) -> Result<Saturated, Error> {
        let written: Vec<_> = dispatch.written().collect();
        let before: Vec<_> = written.iter().map(|written| self.read(written.id).to_vec()).collect();
        let found_flag = self.run_chosen(dispatch, units.clone())?;
        let mut found = Vec::new();
        for (written, before) in written.iter().zip(&before) {
            found.push(self.read(written.id).to_vec());
            self.write(written.id, before)?;
        }
        let flag = self.run_range(dispatch, units, dispatch.kernel.reference);
        let wrong = |buffer, word, expected, found| Error::WrongAnswer {
            kernel: dispatch.kernel.name,
            lowering: "cpu",
            case: dispatch.label.clone(),
            buffer,
            word,
            expected,
            found,
        };
        for (written, found) in written.iter().zip(&found) {
            let expected = self.read(written.id);
            if let Some(word) = (0..written.words).find(|word| found[*word] != expected[*word]) {
                return Err(wrong(written.name, word, expected[word], found[word]));
            }
        }
        if flag == found_flag { Ok(flag) } else { Err(wrong("flag", 0, flag.into(), found_flag.into())) }
    }

    fn run_range(&mut self, dispatch: &Dispatch, units: Range<usize>, implementation: CpuKernel) -> Saturated {
        let Dispatch { kernel, params, buffers, .. } = dispatch;
        let all = (kernel.units)(params);
        let units = units.start.min(all)..units.end.min(all);
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
        let each = units.len().div_ceil(ranges).max(1);
        let part = |first: usize| (first..(first + each).min(units.end), Vec::new());
        let mut parts: Vec<(Range<usize>, Vec<&mut [u32]>)> = units.clone().step_by(each).map(part).collect();
        for (_, words, slot) in &mut writes {
            let Slot::Words(memory) = slot else { continue };
            let owned = memory.get_mut(units.start * *words..units.end * *words).unwrap_or_default();
            for (part, memory) in parts.iter_mut().zip(owned.chunks_mut((each * *words).max(1))) {
                part.1.push(memory);
            }
        }
        let run =
            |(units, mut writes): (Range<usize>, Vec<&mut [u32]>)| implementation(params, units, &reads, &mut writes);
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
