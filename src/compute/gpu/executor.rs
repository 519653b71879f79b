//! Runs a recording (a list of kernel launches, called dispatches) on a GPU. The memory of the GPU holds the buffers of
//! the recording.

use super::{
    Gpu,
    fault::QueueSubmission,
    memory::GpuMemory,
    pipeline::{PARAMS_BYTES, Pipeline},
    slice::{DispatchRows, MAX_GROUPS, SlicePart, SlicePlanner},
};
use crate::{
    compute::{
        Slice, YieldHook,
        recording::{BufferId, Dispatch, Recording},
    },
    error::Error,
    kernels::{Access, Kernel, Lowering, Saturated},
};
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};

/// The lowering (WGSL implementation) that is used for each kernel. The default is the kernel's lowering `plain`.
#[derive(Clone, Default)]
pub struct LoweringChoice(HashMap<&'static str, &'static Lowering>);

impl LoweringChoice {
    /// Returns this choice, changed so that `lowering` is used for `kernel`.
    pub fn with(mut self, kernel: &'static Kernel, lowering: &'static Lowering) -> Self {
        self.0.insert(kernel.name, lowering);
        self
    }

    /// Returns the lowering that is used for a kernel; `None` if the kernel has no WGSL implementation.
    pub fn of(&self, kernel: &'static Kernel) -> Option<&'static Lowering> {
        self.0.get(kernel.name).copied().or_else(|| kernel.lowerings.first())
    }
}

/// A recording prepared for a GPU: compiled kernels, GPU memory for the buffers, and the division of the work into
/// slices.
pub struct GpuExecutor {
    gpu: Gpu,
    recording: Recording,
    memory: GpuMemory,
    launches: Vec<Launch>,
    rows: Vec<DispatchRows>,
    planner: SlicePlanner,
    pub(in crate::compute) yield_hook: Option<YieldHook>,
}

/// A slice of work that was submitted to the GPU and whose completion has not been handled yet.
struct SubmittedSlice {
    parts: Vec<SlicePart>,
    submission: QueueSubmission,
    /// Time of the submission in milliseconds, as shown by the clock in the options with which the GPU was opened.
    since: f64,
}

/// A dispatch prepared for the GPU: its pipeline, its bound buffers, and how its workgroups cover the work units.
struct Launch {
    pipeline: Arc<Pipeline>,
    bound: wgpu::BindGroup,
    groups_x: u32,
    units_per_group: u32,
}

impl GpuExecutor {
    /// Prepares a recording for a GPU: compiles its kernels, allocates its buffers, and uploads its constants. Returns
    /// an error if the recording exceeds a limit of the GPU, if the driver refuses it, or if a kernel has no WGSL
    /// implementation.
    pub async fn new(gpu: &Gpu, recording: &Recording, choice: &LoweringChoice) -> Result<Self, Error> {
        let memory = GpuMemory::new(gpu, recording).await?;
        let (mut launches, mut all_rows) = (Vec::new(), Vec::new());
        let mut shapes = HashMap::new();
        for dispatch in recording.dispatches() {
            let Dispatch { kernel, params, label, .. } = dispatch;
            let Some(lowering) = choice.of(kernel) else {
                let reason = format!("kernel {} has no WGSL", kernel.name);
                return Err(Error::GpuRefused { what: label.clone(), reason });
            };
            let groups_x = (lowering.groups_x)(params);
            limited(label, "maxComputeWorkgroupsPerDimension", groups_x.into(), MAX_GROUPS.into())?;
            limited(label, "params bytes", 4 * params.len() as u64, PARAMS_BYTES)?;
            let rows = (kernel.units)(params).div_ceil(lowering.units_per_group as usize);
            limited(label, "workgroups along y", rows as u64, u32::MAX.into())?;
            let pipeline = gpu.pipeline(kernel, lowering, params).await?;
            let bound = gpu.guarded(label, || bind(gpu, &memory, &pipeline, dispatch)).await?;
            let count = shapes.len();
            let shape = *shapes.entry((kernel.name, &params[1..])).or_insert(count);
            all_rows.push(DispatchRows { shape, rows: 0..if groups_x == 0 { 0 } else { rows as u32 } });
            launches.push(Launch { pipeline, bound, groups_x, units_per_group: lowering.units_per_group });
        }
        let planner = SlicePlanner::new(gpu.0.options.slice_ms, gpu.0.answer_ms, shapes.len());
        let (gpu, recording) = (gpu.clone(), recording.clone());
        Ok(Self { gpu, recording, memory, launches, rows: all_rows, planner, yield_hook: None })
    }

    /// Replaces all words of a buffer. Returns an error if `words` does not have the buffer's length.
    pub async fn write(&self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        self.write_all(&[(id, words)]).await
    }

    /// Replaces all words of several buffers, which are uploaded together. Returns an error if a length is wrong.
    pub async fn write_all(&self, writes: &[(BufferId, &[u32])]) -> Result<(), Error> {
        let named = |&(id, words): &(BufferId, _)| (id, self.recording.get(id).name.as_str(), words);
        let writes: Vec<(_, _, &[u32])> = writes.iter().map(named).collect();
        for (id, _, words) in &writes {
            let expected = self.recording.get(*id).words;
            if words.len() != expected {
                return Err(Error::Shape { what: "buffer to write", expected, found: words.len() });
            }
        }
        self.memory.write(&self.gpu, &writes).await
    }

    /// Downloads all words of a buffer from the GPU.
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        Ok(self.read_all(&[id]).await?.swap_remove(0))
    }

    /// Downloads all words of several buffers from the GPU, and returns them in the order of `ids`.
    pub async fn read_all(&self, ids: &[BufferId]) -> Result<Vec<Vec<u32>>, Error> {
        let buffers = ids.iter().map(|id| (self.recording.get(*id), self.memory.of(*id)));
        let wanted: Vec<_> = buffers.map(|(buffer, memory)| (buffer.name.as_str(), memory, buffer.words)).collect();
        GpuMemory::read(&self.gpu, &wanted).await
    }

    /// Runs a range of dispatches in order. Returns whether any of them computed a value outside the range of its
    /// number format.
    pub async fn run(&mut self, range: Range<usize>) -> Result<Saturated, Error> {
        self.run_units(range, 0..usize::MAX).await
    }

    /// Returns a number of work units, at least 1. If both bounds of a range of units are multiples of this number,
    /// [`Self::run_units`] computes exactly the units in the range. Otherwise, it may also compute neighboring units,
    /// because the workgroups of a dispatch that have the same y index always compute a fixed number of units together.
    /// The returned number is the largest of these fixed numbers.
    pub fn unit_alignment(&self) -> usize {
        self.launches.iter().map(|launch| launch.units_per_group).max().unwrap_or(1) as usize
    }

    /// Runs a range of dispatches in order, but only those workgroups that compute the given work units. Returns
    /// whether any of them computed a value outside the range of its number format.
    pub async fn run_units(&mut self, range: Range<usize>, units: Range<usize>) -> Result<Saturated, Error> {
        let end = range.end.min(self.rows.len());
        let of_units = |(all, launch): (&DispatchRows, &Launch)| {
            let each = launch.units_per_group as usize;
            let row = |unit: usize| u32::try_from(unit).unwrap_or(u32::MAX).min(all.rows.end);
            DispatchRows { shape: all.shape, rows: row(units.start / each)..row(units.end.div_ceil(each)) }
        };
        let rows: Vec<_> = self.rows.iter().zip(&self.launches).map(of_units).collect();
        let mut at = SlicePart { dispatch: range.start, first: 0, rows: 0 };
        let clock = self.gpu.0.options.clock;
        let mut submitted: VecDeque<SubmittedSlice> = VecDeque::new();
        let mut idle_since = clock();
        self.gpu.0.queue.write_buffer(&self.memory.flag, 0, &[0; 4]);
        loop {
            while submitted.is_empty() || self.submitted_ms(&rows, &submitted) < self.ahead_ms() {
                let parts = self.planner.slice(&rows, &mut at, end);
                let Some(first) = parts.first() else { break };
                let label = &self.recording.dispatches()[first.dispatch].label;
                let submission = self.gpu.guarded(label, || self.submit(&parts)).await?;
                submitted.push_back(SubmittedSlice { parts, submission, since: clock() });
            }
            let Some(SubmittedSlice { mut parts, submission, since }) = submitted.pop_front() else { break };
            let label = &self.recording.dispatches()[parts[0].dispatch].label;
            self.gpu.finished(label, submission).await?;
            // The GPU must be idle while the yield hook runs.
            let is_next = |next: &mut SubmittedSlice| self.yield_hook.is_some() || next.submission.is_done();
            while let Some(next) = submitted.pop_front_if(is_next) {
                self.gpu.finished(label, next.submission).await?;
                parts.extend(next.parts);
            }
            let worked_ms = self.planner.learn(&rows, &parts, clock() - since.max(idle_since));
            if let Some(hook) = self.yield_hook {
                let dispatches_done = dispatches_done(&rows, range.start, &parts);
                let slice = Slice { worked_ms, dispatches_done, dispatches: end - range.start };
                if !(hook.after_slice)(slice).await {
                    return Err(Error::Stopped);
                }
            }
            idle_since = clock();
        }
        let flag = GpuMemory::read(&self.gpu, &[("saturation flag", &self.memory.flag, 1)]).await?;
        Ok(flag[0][0] != 0)
    }

    /// Returns how many milliseconds of work should be in flight, that is, submitted to the GPU but not complete. The
    /// time grows with the delay with which the GPU reports that work is complete. If there is a yield hook (a callback
    /// after each slice of work), the time is halved, because all submitted work must complete before the hook runs. On
    /// a GPU without delay, half of the time is shorter than a slice, so slices are then submitted one at a time.
    fn ahead_ms(&self) -> f64 {
        self.planner.ahead_ms() * if self.yield_hook.is_some() { 0.5 } else { 1.0 }
    }

    fn submitted_ms(&self, rows: &[DispatchRows], submitted: &VecDeque<SubmittedSlice>) -> f64 {
        self.planner.expected_ms(rows, submitted.iter().flat_map(|slice| &slice.parts))
    }

    /// Submits a slice of work to the GPU, with one launch for each of its parts. The returned value reports when the
    /// work is complete.
    fn submit(&self, parts: &[SlicePart]) -> QueueSubmission {
        let mut params = vec![0u32; parts.len() * PARAMS_BYTES as usize / 4];
        for (block, part) in params.chunks_exact_mut(PARAMS_BYTES as usize / 4).zip(parts) {
            let words = &self.recording.dispatches()[part.dispatch].params;
            block[..words.len()].copy_from_slice(words);
            block[0] = part.first;
        }
        self.gpu.0.queue.write_buffer(&self.memory.params, 0, bytemuck::cast_slice(&params));
        let mut encoder = self.gpu.0.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (part, offset) in parts.iter().zip((0u32..).step_by(PARAMS_BYTES as usize)) {
            let launch = &self.launches[part.dispatch];
            pass.set_pipeline(&launch.pipeline.compute);
            pass.set_bind_group(0, &launch.bound, &[offset]);
            pass.dispatch_workgroups(launch.groups_x, part.rows, 1);
        }
        drop(pass);
        self.gpu.submit(encoder.finish())
    }
}

/// Returns how many dispatches, counted from the dispatch with index `start`, are complete after the GPU has run
/// `parts`. `parts` is a slice of work, which consists of dispatches or parts of them.
fn dispatches_done(rows: &[DispatchRows], start: usize, parts: &[SlicePart]) -> usize {
    let whole = |part: &SlicePart| usize::from(part.first + part.rows == rows[part.dispatch].rows.end);
    parts.last().map_or(start, |part| part.dispatch + whole(part)) - start
}

fn limited(what: &str, limit: &'static str, needed: u64, offered: u64) -> Result<(), Error> {
    let error = || Error::GpuLimit { what: what.to_owned(), limit, needed, offered };
    if needed <= offered { Ok(()) } else { Err(error()) }
}

fn bind(gpu: &Gpu, memory: &GpuMemory, pipeline: &Pipeline, dispatch: &Dispatch) -> wgpu::BindGroup {
    let params =
        wgpu::BufferBinding { buffer: &memory.params, offset: 0, size: std::num::NonZeroU64::new(PARAMS_BYTES) };
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(params) }];
    let mut ids = dispatch.buffers.iter();
    for (binding, at) in dispatch.kernel.bindings.iter().zip(1..) {
        let buffer = match binding.access {
            Access::Flag => Some(&memory.flag),
            _ => ids.next().map(|id| memory.of(*id)),
        };
        entries.extend(buffer.map(|buffer| wgpu::BindGroupEntry { binding: at, resource: buffer.as_entire_binding() }));
    }
    let layout = &pipeline.bindings;
    let label = Some(dispatch.label.as_str());
    gpu.0.device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &entries })
}
