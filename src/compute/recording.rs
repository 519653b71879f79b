//! A recording is a training step as data: a list of kernel dispatches over named buffers.
//!
//! The model builds a recording once for each shape, and a backend runs it, whole or in ranges. No dispatch depends on
//! words that the host has read back.

use crate::kernels::{Access, Kernel, cases::Case};
use std::sync::Arc;

/// ID of a buffer: its index in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// Where the words of a buffer come from and how long they are kept.
#[derive(Clone, Debug)]
pub enum BufferContent {
    /// The same words in every run, such as weights and tables.
    Constant(Arc<[u32]>),
    /// Initially zero, and kept between runs. The host reads and writes them.
    Persistent,
    /// Written before they are read in each run. The memory is shared with other scratch buffers.
    Scratch,
}

/// A buffer of 32-bit words.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Name of the buffer, shown in traces and errors.
    pub name: String,
    /// Length of the buffer in words.
    pub words: usize,
    /// Where the words come from and how long they are kept.
    pub content: BufferContent,
}

/// One launch of a kernel.
#[derive(Clone)]
pub struct Dispatch {
    /// The kernel that is launched.
    pub kernel: &'static Kernel,
    /// The parameters of the kernel, as words.
    pub params: Vec<u32>,
    /// The buffers that the kernel is bound to, in binding order, without the flag.
    pub buffers: Vec<BufferId>,
    /// Name of the dispatch, shown in traces and errors, such as `layer 3 ffn.down`.
    pub label: String,
}

/// A buffer that a dispatch writes.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Name of the binding in the kernel.
    pub name: &'static str,
    /// ID of the buffer.
    pub id: BufferId,
    /// The number of words that are written, starting with the first word of the buffer.
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

/// A list of dispatches over buffers.
#[derive(Clone, Default)]
pub struct Recording {
    buffers: Vec<Buffer>,
    dispatches: Vec<Dispatch>,
}

impl Recording {
    /// Adds a buffer and returns its id.
    pub fn buffer(&mut self, name: impl Into<String>, words: usize, content: BufferContent) -> BufferId {
        if let BufferContent::Constant(data) = &content {
            assert_eq!(data.len(), words);
        }
        self.buffers.push(Buffer { name: name.into(), words: words.max(1), content });
        BufferId(self.buffers.len() - 1)
    }

    /// Adds a constant buffer, which holds `data`, and returns its id.
    pub fn constant(&mut self, name: impl Into<String>, data: impl Into<Arc<[u32]>>) -> BufferId {
        let data = data.into();
        self.buffer(name, data.len(), BufferContent::Constant(data))
    }

    /// Adds a scratch buffer and returns its id.
    pub fn scratch(&mut self, name: impl Into<String>, words: usize) -> BufferId {
        self.buffer(name, words, BufferContent::Scratch)
    }

    /// Adds a dispatch.
    ///
    /// # Panics
    /// If the buffers do not match the kernel's bindings. That is a mistake in the model's code, not in its input.
    pub fn dispatch(
        &mut self,
        label: impl Into<String>,
        kernel: &'static Kernel,
        params: Vec<u32>,
        buffers: &[BufferId],
    ) {
        let label = label.into();
        assert_eq!(params.len(), kernel.params.len(), "{label}: params");
        let mut ids = buffers.iter();
        for binding in kernel.bindings {
            if let Access::Flag = binding.access {
                continue;
            }
            let id = ids.next().unwrap_or_else(|| panic!("{label}: no buffer for {}", binding.name));
            if let Access::Write(words_per_unit) = binding.access {
                let (words, owned) = (self.buffers[id.0].words, words_per_unit(&params) * (kernel.units)(&params));
                assert!(words >= owned, "{label}: {} holds {words} words of {owned}", binding.name);
                assert!(!matches!(self.buffers[id.0].content, BufferContent::Constant(_)), "{label}: constant written");
                assert_eq!(buffers.iter().filter(|other| *other == id).count(), 1, "{label}: {} aliased", binding.name);
            }
        }
        assert!(ids.next().is_none(), "{label}: buffers left over");
        self.dispatches.push(Dispatch { kernel, params, buffers: buffers.to_vec(), label });
    }

    /// Makes a scratch buffer persistent, so that its words are kept from one run to the next.
    pub fn persist(&mut self, id: BufferId) {
        self.buffers[id.0].content = BufferContent::Persistent;
    }

    /// Sets the length of a buffer that was added before its length was known.
    pub fn resize(&mut self, id: BufferId, words: usize) {
        self.buffers[id.0].words = words;
    }

    /// Returns a recording of one dispatch, which runs a case, and the ids of the recording's buffers in the order of
    /// the case's inputs. The caller writes the inputs to these buffers.
    pub fn single(case: &Case) -> (Self, Vec<BufferId>) {
        let mut recording = Self::default();
        let bound = case.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        let ids: Vec<_> = (bound.zip(&case.inputs))
            .map(|(binding, words)| recording.buffer(binding.name, words.len(), BufferContent::Persistent))
            .collect();
        recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
        (recording, ids)
    }

    /// Returns all buffers, indexed by id.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Returns all dispatches, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Returns the ids of all buffers.
    pub fn ids(&self) -> impl Iterator<Item = BufferId> + use<> {
        (0..self.buffers.len()).map(BufferId)
    }

    /// Returns the buffer with this id.
    pub fn get(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0]
    }

    /// Assigns memory to the buffers. Scratch buffers whose uses do not overlap share a slot.
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

/// The assignment of buffers to memory slots.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Slot of each buffer, indexed by id.
    pub slot_of: Vec<usize>,
    /// Length of each slot in words.
    pub slot_words: Vec<usize>,
}

impl Plan {
    fn new_slot(&mut self, words: usize) -> usize {
        self.slot_words.push(words);
        self.slot_words.len() - 1
    }

    /// Takes the smallest free slot that is large enough; if there is none, enlarges the largest free slot; if none is
    /// free, adds a slot.
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
