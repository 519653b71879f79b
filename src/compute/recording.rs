//! A recording is a training step as data: a list of dispatches (launches of kernels) that read and write named
//! buffers.
//!
//! The model code builds a recording once for each batch size. A backend then runs the recording, either as a whole or
//! in several ranges of dispatches. No dispatch depends on words that the host program has read back from a buffer, so
//! the host need not do anything between two dispatches.

use crate::kernels::{Access, Kernel, cases::Case};
use std::sync::Arc;

/// ID of a buffer: its index among the buffers of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// Where the words of a buffer come from and how long they are kept.
#[derive(Clone, Debug)]
pub enum BufferContent {
    /// The words are the same in every run. Examples are weights and tables.
    Constant(Arc<[u32]>),
    /// The words are initially zero and are kept between runs. The host reads and writes them.
    Persistent,
    /// Every run writes the words before it reads them, so the words need not be kept. Scratch buffers may share
    /// memory.
    Scratch,
}

/// A buffer of 32-bit words.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Name of the buffer, shown in traces and errors.
    pub name: String,
    /// Length of the buffer in words.
    pub words: usize,
    /// Where the words come from, and how long they are kept.
    pub content: BufferContent,
}

/// One launch of a kernel.
#[derive(Clone)]
pub struct Dispatch {
    /// The kernel that is launched.
    pub kernel: &'static Kernel,
    /// The parameters of the kernel, as 32-bit words.
    pub params: Vec<u32>,
    /// IDs of the buffers that the dispatch binds to the kernel, in binding order. The saturation flag is not among
    /// them.
    pub buffers: Vec<BufferId>,
    /// Name of the dispatch, shown in traces and errors, such as `layer 3 ffn.down`.
    pub label: String,
}

/// A buffer that a dispatch writes, and the number of words that the dispatch writes to it.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Name of the buffer in the kernel's WGSL.
    pub name: &'static str,
    /// ID of the buffer in the recording.
    pub id: BufferId,
    /// The number of words that the dispatch writes, starting with the first word of the buffer.
    pub words: usize,
}

impl Dispatch {
    /// Returns the buffers that the dispatch writes, in binding order.
    pub fn written(&self) -> impl Iterator<Item = Written> + '_ {
        let bound = self.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        bound.zip(&self.buffers).filter_map(|(binding, id)| match binding.access {
            Access::Write(words_per_unit) => {
                let words = words_per_unit(&self.params) * (self.kernel.units)(&self.params);
                Some(Written { name: binding.name, id: *id, words })
            }
            _ => None,
        })
    }
}

/// A training step as data: a list of kernel dispatches, and the buffers that they read and write.
#[derive(Clone, Default)]
pub struct Recording {
    buffers: Vec<Buffer>,
    dispatches: Vec<Dispatch>,
}

impl Recording {
    /// Adds a buffer of `words` words and returns its ID.
    pub fn buffer(&mut self, name: impl Into<String>, words: usize, content: BufferContent) -> BufferId {
        if let BufferContent::Constant(data) = &content {
            assert_eq!(data.len(), words);
        }
        self.buffers.push(Buffer { name: name.into(), words: words.max(1), content });
        BufferId(self.buffers.len() - 1)
    }

    /// Adds a constant buffer, which holds the words `data`, and returns its ID.
    pub fn constant(&mut self, name: impl Into<String>, data: impl Into<Arc<[u32]>>) -> BufferId {
        let data = data.into();
        self.buffer(name, data.len(), BufferContent::Constant(data))
    }

    /// Adds a scratch buffer of `words` words and returns its ID.
    pub fn scratch(&mut self, name: impl Into<String>, words: usize) -> BufferId {
        self.buffer(name, words, BufferContent::Scratch)
    }

    /// Adds a dispatch of `kernel`.
    ///
    /// # Panics
    /// Panics if the number of parameters or of buffers is not what the kernel requires, or if a buffer that the kernel
    /// writes is too short, constant or bound twice. Such a call is a mistake in the model's code; no input of the
    /// model leads to it.
    pub fn dispatch(
        &mut self,
        label: impl Into<String>,
        kernel: &'static Kernel,
        params: Vec<u32>,
        buffers: &[BufferId],
    ) {
        let label = label.into();
        assert_eq!(params.len(), kernel.params.len(), "{label}: number of parameters");
        let mut ids = buffers.iter();
        for binding in kernel.bindings {
            if let Access::Flag = binding.access {
                continue;
            }
            let id = ids.next().unwrap_or_else(|| panic!("{label}: no buffer for {}", binding.name));
            if let Access::Write(words_per_unit) = binding.access {
                let (words, owned) = (self.buffers[id.0].words, words_per_unit(&params) * (kernel.units)(&params));
                assert!(words >= owned, "{label}: {} has {words} words, needs {owned}", binding.name);
                assert!(!matches!(self.buffers[id.0].content, BufferContent::Constant(_)), "{label}: constant output");
                assert_eq!(buffers.iter().filter(|other| *other == id).count(), 1, "{label}: {} aliased", binding.name);
            }
        }
        assert!(ids.next().is_none(), "{label}: too many buffers");
        self.dispatches.push(Dispatch { kernel, params, buffers: buffers.to_vec(), label });
    }

    /// Makes a scratch buffer persistent: from now on, its words are kept from one run to the next.
    pub fn persist(&mut self, id: BufferId) {
        self.buffers[id.0].content = BufferContent::Persistent;
    }

    /// Sets the length of a buffer to `words` words. A buffer may be added before its length is known.
    pub fn resize(&mut self, id: BufferId, words: usize) {
        self.buffers[id.0].words = words;
    }

    /// Returns a recording whose only dispatch runs a test case, and the IDs of its buffers in the order of
    /// [`Case::inputs`]. The caller must write the inputs to these buffers before the run.
    pub fn single(case: &Case) -> (Self, Vec<BufferId>) {
        let mut recording = Self::default();
        let bound = case.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        let ids: Vec<_> = (bound.zip(&case.inputs))
            .map(|(binding, words)| recording.buffer(binding.name, words.len(), BufferContent::Persistent))
            .collect();
        recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
        (recording, ids)
    }

    /// Returns all buffers. A buffer's ID is its index in the slice.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Returns all dispatches in the order of execution.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Returns the IDs of all buffers, in ascending order.
    pub fn ids(&self) -> impl Iterator<Item = BufferId> + use<> {
        (0..self.buffers.len()).map(BufferId)
    }

    /// Returns the buffer with this ID.
    pub fn get(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0]
    }

    /// Assigns a memory slot to each buffer, and returns the assignment. A memory slot is a piece of memory. Two
    /// scratch buffers may get the same slot if the last dispatch that uses one of them runs before the first dispatch
    /// that uses the other.
    pub fn plan(&self) -> Plan {
        let mut last_use = vec![None; self.buffers.len()];
        for (at, dispatch) in self.dispatches.iter().enumerate() {
            for id in &dispatch.buffers {
                last_use[id.0] = Some(at);
            }
        }
        let mut plan = Plan { slot_of: vec![usize::MAX; self.buffers.len()], slot_words: Vec::new() };
        let mut free: Vec<usize> = Vec::new();
        for (id, buffer) in self.buffers.iter().enumerate() {
            if !matches!(buffer.content, BufferContent::Scratch) {
                plan.slot_of[id] = plan.new_slot(buffer.words);
            }
        }
        for (at, dispatch) in self.dispatches.iter().enumerate() {
            for id in &dispatch.buffers {
                if plan.slot_of[id.0] == usize::MAX {
                    plan.slot_of[id.0] = plan.take(&mut free, self.buffers[id.0].words);
                }
            }
            let mut ended: Vec<_> = dispatch.buffers.iter().filter(|id| last_use[id.0] == Some(at)).collect();
            ended.sort_unstable();
            ended.dedup();
            for id in ended {
                if matches!(self.buffers[id.0].content, BufferContent::Scratch) {
                    free.push(plan.slot_of[id.0]);
                }
            }
        }
        for (id, buffer) in self.buffers.iter().enumerate() {
            if plan.slot_of[id] == usize::MAX {
                plan.slot_of[id] = plan.new_slot(buffer.words);
            }
        }
        plan
    }
}

/// The assignment of buffers to memory slots. A memory slot is a piece of memory that holds one buffer, or several
/// scratch buffers at different times in a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Index of the memory slot of each buffer, in the order of the buffers' IDs.
    pub slot_of: Vec<usize>,
    /// Length of each memory slot in words. It is the length of the longest buffer in the slot.
    pub slot_words: Vec<usize>,
}

impl Plan {
    fn new_slot(&mut self, words: usize) -> usize {
        self.slot_words.push(words);
        self.slot_words.len() - 1
    }

    /// Chooses a memory slot for a buffer of `words` words, removes the slot from `free` (the list of slots that no
    /// buffer uses), and returns its index. The smallest free slot that is large enough is chosen. If all free slots
    /// are too small, the largest of them is enlarged. If there is no free slot, a new slot is added.
    fn take(&mut self, free: &mut Vec<usize>, words: usize) -> usize {
        let fits = free.iter().enumerate().filter(|(_, slot)| self.slot_words[**slot] >= words);
        let best = fits.min_by_key(|(_, slot)| self.slot_words[**slot]).map(|(at, _)| at);
        let largest = || free.iter().enumerate().max_by_key(|(_, slot)| self.slot_words[**slot]).map(|(at, _)| at);
        match best.or_else(largest) {
            Some(at) => {
                let slot = free.swap_remove(at);
                self.slot_words[slot] = self.slot_words[slot].max(words);
                slot
            }
            None => self.new_slot(words),
        }
    }
}
