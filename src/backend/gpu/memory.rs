//! Memory of a player: one GPU buffer for each slot of a recording's plan, and ways in and out.

use super::{Gpu, pipeline::PARAMS_BYTES, slice::CUTS};
use crate::{
    error::Error,
    recording::{BufferId, Content, Plan, Recording},
};
use wgpu::BufferUsages as Usage;

/// Words that cross at once, so that staging memory stays small.
const PIECE: usize = 4 << 20;
/// Buffers are padded to this many bytes: whole vec4s, and room for GPUs that round offsets.
const ALIGN: u64 = 256;

pub(super) struct Memory {
    plan: Plan,
    slots: Vec<wgpu::Buffer>,
    /// One word: see [`crate::kernels::Access::Flag`].
    pub(super) flag: wgpu::Buffer,
    /// A params block for each cut of a slice.
    pub(super) params: wgpu::Buffer,
}

impl Memory {
    /// Buffers for all slots; constants uploaded, the rest zero.
    pub(super) async fn new(gpu: &Gpu, recording: &Recording) -> Result<Self, Error> {
        let plan = recording.plan();
        let storage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let mut slots = Vec::with_capacity(plan.slot_words.len());
        for (slot, &words) in plan.slot_words.iter().enumerate() {
            // The slot is named after its largest buffer.
            let held = recording.buffers().iter().zip(&plan.slot_of).filter(|(_, of)| **of == slot);
            let name = held.max_by_key(|(buffer, _)| buffer.words).map_or("", |(buffer, _)| &buffer.name);
            let bytes = (words as u64 * 4).next_multiple_of(ALIGN);
            gpu.within_limits(name, bytes)?;
            slots.push(gpu.buffer(name, bytes, storage).await?);
        }
        let flag = gpu.buffer("saturation flag", ALIGN, storage).await?;
        let params = gpu.buffer("params", CUTS as u64 * PARAMS_BYTES, Usage::UNIFORM | Usage::COPY_DST).await?;
        let memory = Self { plan, slots, flag, params };
        for (id, buffer) in recording.ids().zip(recording.buffers()) {
            if let Content::Constant(words) = &buffer.content {
                memory.write(gpu, id, &buffer.name, words).await?;
            }
        }
        Ok(memory)
    }

    pub(super) fn of(&self, id: BufferId) -> &wgpu::Buffer {
        &self.slots[self.plan.slot_of[id.0]]
    }

    /// Copies words into a buffer.
    pub(super) async fn write(&self, gpu: &Gpu, id: BufferId, name: &str, words: &[u32]) -> Result<(), Error> {
        for (piece, at) in words.chunks(PIECE).zip((0u64..).step_by(4 * PIECE)) {
            let bytes = bytemuck::cast_slice(piece);
            gpu.guarded(name, || gpu.0.queue.write_buffer(self.of(id), at, bytes)).await?;
            if words.len() > PIECE {
                let nothing = gpu.0.device.create_command_encoder(&Default::default()).finish();
                gpu.finished(name, gpu.submit(nothing)).await?;
            }
        }
        Ok(())
    }

    /// Copies words out of a buffer.
    pub(super) async fn read(gpu: &Gpu, name: &str, buffer: &wgpu::Buffer, words: usize) -> Result<Vec<u32>, Error> {
        let mut out = Vec::with_capacity(words);
        while out.len() < words {
            let (at, size) = (4 * out.len() as u64, 4 * PIECE.min(words - out.len()) as u64);
            let staging = gpu.buffer(name, size, Usage::MAP_READ | Usage::COPY_DST).await?;
            let copy = || {
                let mut encoder = gpu.0.device.create_command_encoder(&Default::default());
                encoder.copy_buffer_to_buffer(buffer, at, &staging, 0, size);
                gpu.submit(encoder.finish())
            };
            let submission = gpu.guarded(name, copy).await?;
            gpu.mapped(name, &staging, submission).await?;
            let refused =
                |error: wgpu::MapRangeError| Error::GpuRefused { what: name.into(), reason: error.to_string() };
            let view = staging.get_mapped_range(..).map_err(refused)?;
            out.extend(view.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
        }
        Ok(out)
    }
}

impl Gpu {
    async fn buffer(&self, label: &str, size: u64, usage: Usage) -> Result<wgpu::Buffer, Error> {
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        self.guarded(label, || self.0.device.create_buffer(&descriptor)).await
    }

    fn within_limits(&self, name: &str, bytes: u64) -> Result<(), Error> {
        let listed = self.device();
        let limits = [("maxStorageBufferBindingSize", listed.binding_bytes), ("maxBufferSize", listed.buffer_bytes)];
        match limits.into_iter().find(|(_, offered)| bytes > *offered) {
            Some((limit, offered)) => Err(Error::GpuLimit { what: name.to_owned(), limit, needed: bytes, offered }),
            None => Ok(()),
        }
    }
}
