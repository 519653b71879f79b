//! A recording: a training step as data, a list of kernel dispatches over named buffers.
//!
//! The model builds it once per shape; a backend plays it, whole or any range of it. Nothing is
//! read back inside it.

use crate::kernels::{Access, Kernel, cases::Case};
use std::sync::Arc;

/// Names a buffer of one recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// Where a buffer's words come from and how long they live.
#[derive(Clone, Debug)]
pub enum Content {
    /// The same words at every play: weights, tables.
    Constant(Arc<[u32]>),
    /// Zero at first, then kept between plays; read and written from outside.
    Persistent,
    /// Written before it is read within one play; its memory is shared with other scratch buffers.
    Scratch,
}

/// A buffer of 32-bit words.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// For people: traces, errors.
    pub name: String,
    /// Length.
    pub words: usize,
    /// Where its words come from.
    pub content: Content,
}

/// One launch of a kernel.
#[derive(Clone)]
pub struct Dispatch {
    /// What runs.
    pub kernel: &'static Kernel,
    /// Its params, as words.
    pub params: Vec<u32>,
    /// Its buffers, in binding order, the flag left out.
    pub buffers: Vec<BufferId>,
    /// For people: `layer 3 ffn.down`.
    pub label: String,
}

/// A buffer that a dispatch writes.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Its name in the kernel.
    pub name: &'static str,
    /// Which one.
    pub id: BufferId,
    /// How many of its words, from the first.
    pub words: usize,
}

impl Dispatch {
    /// What it writes, in binding order.
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

/// Dispatches over buffers.
#[derive(Clone, Default)]
pub struct Recording {
    buffers: Vec<Buffer>,
    dispatches: Vec<Dispatch>,
}

impl Recording {
    /// Adds a buffer.
    pub fn buffer(&mut self, name: impl Into<String>, words: usize, content: Content) -> BufferId {
        if let Content::Constant(data) = &content {
            assert_eq!(data.len(), words);
        }
        self.buffers.push(Buffer { name: name.into(), words: words.max(1), content });
        BufferId(self.buffers.len() - 1)
    }

    /// Adds a constant buffer.
    pub fn constant(&mut self, name: impl Into<String>, data: impl Into<Arc<[u32]>>) -> BufferId {
        let data = data.into();
        self.buffer(name, data.len(), Content::Constant(data))
    }

    /// Adds a scratch buffer.
    pub fn scratch(&mut self, name: impl Into<String>, words: usize) -> BufferId {
        self.buffer(name, words, Content::Scratch)
    }

    /// Adds a dispatch. Panics where buffers and bindings disagree: a mistake in a model, not in its input.
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
                assert!(!matches!(self.buffers[id.0].content, Content::Constant(_)), "{label}: constant written");
                assert_eq!(buffers.iter().filter(|other| *other == id).count(), 1, "{label}: {} aliased", binding.name);
            }
        }
        assert!(ids.next().is_none(), "{label}: buffers left over");
        self.dispatches.push(Dispatch { kernel, params, buffers: buffers.to_vec(), label });
    }

    /// From now on a scratch buffer's words stay from one play to the next.
    pub fn keep(&mut self, id: BufferId) {
        self.buffers[id.0].content = Content::Persistent;
    }

    /// Changes the length of a buffer whose length was not known when it was added.
    pub fn resize(&mut self, id: BufferId, words: usize) {
        self.buffers[id.0].words = words;
    }

    /// One launch, over buffers that hold `case`'s inputs once they are written; returns their ids in
    /// the inputs' order.
    pub fn single(case: &Case) -> (Self, Vec<BufferId>) {
        let mut recording = Self::default();
        let bound = case.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
        let ids: Vec<_> = (bound.zip(&case.inputs))
            .map(|(binding, words)| recording.buffer(binding.name, words.len(), Content::Persistent))
            .collect();
        recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
        (recording, ids)
    }

    /// All buffers, indexed by id.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// All dispatches, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// The ids of all buffers.
    pub fn ids(&self) -> impl Iterator<Item = BufferId> + use<> {
        (0..self.buffers.len()).map(BufferId)
    }

    /// One buffer.
    pub fn get(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.0]
    }

    /// Assigns memory: scratch buffers whose lives do not overlap share a slot.
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
            if !matches!(buffer.content, Content::Scratch) {
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
                if matches!(self.buffers[id.0].content, Content::Scratch) {
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

/// Which memory slot each buffer lives in.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Slot of each buffer.
    pub slot_of: Vec<usize>,
    /// Length of each slot in words.
    pub slot_words: Vec<usize>,
}

impl Plan {
    fn new_slot(&mut self, words: usize) -> usize {
        self.slot_words.push(words);
        self.slot_words.len() - 1
    }

    /// The smallest free slot that fits, else the largest one grown, else a new one.
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
