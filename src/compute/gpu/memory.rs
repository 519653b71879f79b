//! The GPU memory of an executor, which runs a recording (a recorded training step). A [`Plan`] assigns each buffer of
//! the recording to a memory slot, and each slot is one GPU buffer. This module allocates the GPU buffers and copies
//! words to and from them.

use super::{
    Gpu,
    fault::{Mapped, QueueSubmission},
    pipeline::PARAMS_BYTES,
    slice::MAX_PARTS,
};
use crate::{
    compute::recording::{Buffer, BufferContent, BufferId, Plan, Recording},
    error::Error,
};
use wgpu::BufferUsages as Usage;

/// The largest number of 32-bit words that are copied to or from the GPU before the copies are awaited. These words
/// take 16 MiB. The limit keeps staging memory small.
const PIECE: usize = 4 << 20;
/// The size of each GPU buffer is rounded up to a multiple of this number of bytes. A kernel can therefore read a whole
/// buffer as WGSL `vec4`s of 16 bytes. The number is 256 because no GPU requires a larger alignment.
const ALIGN: u64 = 256;

pub(super) struct GpuMemory {
    plan: Plan,
    slots: Vec<wgpu::Buffer>,
    /// A buffer whose first word is the saturation flag, which kernels set to 1 when a value leaves its range; see
    /// [`crate::kernels::Access::Flag`].
    pub(super) flag: wgpu::Buffer,
    /// The uniform buffer of kernel parameters. Each launch in a submission reads its own block of [`PARAMS_BYTES`]
    /// bytes.
    pub(super) params: wgpu::Buffer,
}

impl GpuMemory {
    /// Allocates one GPU buffer for each memory slot of the recording, and uploads the constants. All other words are
    /// zero.
    pub(super) async fn new(gpu: &Gpu, recording: &Recording) -> Result<Self, Error> {
        let plan = recording.plan();
        let storage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let mut slots = Vec::with_capacity(plan.slot_words.len());
        for (slot, &words) in plan.slot_words.iter().enumerate() {
            // The GPU buffer of a slot gets the name of the largest recorded buffer in that slot.
            let held = recording.buffers().iter().zip(&plan.slot_of).filter(|(_, of)| **of == slot);
            let name = held.max_by_key(|(buffer, _)| buffer.words).map_or("", |(buffer, _)| &buffer.name);
            let bytes = (words as u64 * 4).next_multiple_of(ALIGN);
            gpu.within_limits(name, bytes)?;
            slots.push(gpu.buffer(name, bytes, storage).await?);
        }
        let flag = gpu.buffer("saturation flag", ALIGN, storage).await?;
        let params = gpu.buffer("params", MAX_PARTS as u64 * PARAMS_BYTES, Usage::UNIFORM | Usage::COPY_DST).await?;
        let memory = Self { plan, slots, flag, params };
        let constant = |(id, buffer)| match buffer {
            &Buffer { ref name, content: BufferContent::Constant(ref words), .. } => {
                Some((id, name.as_str(), &words[..]))
            }
            _ => None,
        };
        let constants: Vec<_> = recording.ids().zip(recording.buffers()).filter_map(constant).collect();
        memory.write(gpu, &constants).await?;
        Ok(memory)
    }

    pub(super) fn of(&self, id: BufferId) -> &wgpu::Buffer {
        &self.slots[self.plan.slot_of[id.0]]
    }

    /// Writes words to GPU buffers in groups of at most [`PIECE`] words, and waits for the GPU after each group. A
    /// group can contain several small writes, because a browser may take long to report that a group has been written.
    /// Each element of `writes` consists of the ID of a recorded buffer, the buffer's name for error messages, and the
    /// words to write.
    pub(super) async fn write(&self, gpu: &Gpu, writes: &[(BufferId, &str, &[u32])]) -> Result<(), Error> {
        let pieces = writes.iter().flat_map(|&(id, name, words)| {
            let at = (0u64..).step_by(4 * PIECE);
            words.chunks(PIECE).zip(at).map(move |(piece, at)| (id, name, piece, at))
        });
        let mut pieces = pieces.peekable();
        while let Some(&(_, name, ..)) = pieces.peek() {
            let mut left = PIECE;
            let write = || {
                while let Some((id, _, piece, at)) = pieces.next_if(|(_, _, piece, _)| piece.len() <= left) {
                    left -= piece.len();
                    gpu.0.queue.write_buffer(self.of(id), at, bytemuck::cast_slice(piece));
                }
            };
            gpu.guarded(name, write).await?;
            if pieces.peek().is_some() {
                let nothing = gpu.0.device.create_command_encoder(&Default::default()).finish();
                gpu.finished(name, gpu.submit(nothing)).await?;
            }
        }
        Ok(())
    }

    /// Reads words from GPU buffers, at most [`PIECE`] words at a time. Small reads share one staging buffer and one
    /// wait for the GPU. Each element of `wanted` consists of a buffer's name for error messages, the buffer, and the
    /// number of words to read. Returns the words of each buffer, in the order of `wanted`.
    pub(super) async fn read(gpu: &Gpu, wanted: &[(&str, &wgpu::Buffer, usize)]) -> Result<Vec<Vec<u32>>, Error> {
        let mut out: Vec<_> = wanted.iter().map(|(.., words)| Vec::with_capacity(*words)).collect();
        let parts = wanted.iter().enumerate().flat_map(|(of, &(.., words))| {
            (0..words).step_by(PIECE).map(move |first| (of, first, PIECE.min(words - first)))
        });
        let mut parts = parts.peekable();
        while let Some(&(of, ..)) = parts.peek() {
            let name = wanted[of].0;
            let (mut together, mut held) = (Vec::new(), 0);
            while let Some(part) = parts.next_if(|(.., words)| held + words <= PIECE) {
                held += part.2;
                together.push(part);
            }
            let (staging, submission, mapped) = gpu.guarded(name, || copy_out(gpu, wanted, &together, held)).await?;
            gpu.mapped(name, mapped, submission).await?;
            let refused =
                |error: wgpu::MapRangeError| Error::GpuRefused { what: name.into(), reason: error.to_string() };
            let view = staging.get_mapped_range(..).map_err(refused)?;
            let mut words = view.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            for (of, _, count) in together {
                out[of].extend(words.by_ref().take(count));
            }
        }
        Ok(out)
    }
}

/// Copies `parts` of the `wanted` buffers, one after another, into a new staging buffer of `held` words, and requests
/// that the staging buffer be mapped. Each part is stated as the index of a wanted buffer, the index of the first word
/// to copy, and the number of words to copy. Returns the staging buffer, the submission that contains the copies, and
/// the pending result of the mapping.
fn copy_out(
    gpu: &Gpu,
    wanted: &[(&str, &wgpu::Buffer, usize)],
    parts: &[(usize, usize, usize)],
    held: usize,
) -> (wgpu::Buffer, QueueSubmission, Mapped) {
    let usage = Usage::MAP_READ | Usage::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size: 4 * held as u64, usage, mapped_at_creation: false };
    let staging = gpu.0.device.create_buffer(&descriptor);
    let mut encoder = gpu.0.device.create_command_encoder(&Default::default());
    let mut at = 0;
    for &(of, first, words) in parts {
        encoder.copy_buffer_to_buffer(wanted[of].1, 4 * first as u64, &staging, at, 4 * words as u64);
        at += 4 * words as u64;
    }
    let submission = gpu.submit(encoder.finish());
    let mapped = gpu.map(&staging);
    (staging, submission, mapped)
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
