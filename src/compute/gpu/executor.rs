//! A executor: a recording laid out in one GPU's memory, ready to run.

use super::{
    Gpu,
    fault::QueueSubmission,
    memory::GpuMemory,
    pipeline::{PARAMS_BYTES, Pipeline},
    slice::{Cut, GROUPS, Pace, Work},
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

/// Which lowering each kernel runs by; the plain one unless said otherwise.
#[derive(Clone, Default)]
pub struct Choice(HashMap<&'static str, &'static Lowering>);

impl Choice {
    /// With `lowering` for `kernel`.
    pub fn with(mut self, kernel: &'static Kernel, lowering: &'static Lowering) -> Self {
        self.0.insert(kernel.name, lowering);
        self
    }

    /// The lowering of `kernel`; `None` if it has no WGSL.
    pub fn of(&self, kernel: &'static Kernel) -> Option<&'static Lowering> {
        self.0.get(kernel.name).copied().or_else(|| kernel.lowerings.first())
    }
}

/// Plays one recording on one GPU.
pub struct GpuExecutor {
    gpu: Gpu,
    recording: Recording,
    memory: GpuMemory,
    launches: Vec<Launch>,
    work: Vec<Work>,
    pace: Pace,
    pub(in crate::compute) rest: Option<YieldHook>,
}

/// A slice that the GPU has and is not known to be done.
struct Held {
    cuts: Vec<Cut>,
    submission: QueueSubmission,
    /// When it was submitted.
    since: f64,
}

/// A dispatch as the GPU knows it.
struct Launch {
    pipeline: Arc<Pipeline>,
    bound: wgpu::BindGroup,
    groups_x: u32,
    units_per_group: u32,
}

impl GpuExecutor {
    /// Compiles, allocates and uploads all that `recording` needs.
    pub async fn new(gpu: &Gpu, recording: &Recording, choice: &Choice) -> Result<Self, Error> {
        let memory = GpuMemory::new(gpu, recording).await?;
        let (mut launches, mut work) = (Vec::new(), Vec::new());
        let mut shapes = HashMap::new();
        for dispatch in recording.dispatches() {
            let Dispatch { kernel, params, label, .. } = dispatch;
            let Some(lowering) = choice.of(kernel) else {
                let reason = format!("kernel {} has no WGSL", kernel.name);
                return Err(Error::GpuRefused { what: label.clone(), reason });
            };
            let groups_x = (lowering.groups_x)(params);
            limited(label, "maxComputeWorkgroupsPerDimension", groups_x.into(), GROUPS.into())?;
            limited(label, "params bytes", 4 * params.len() as u64, PARAMS_BYTES)?;
            let rows = (kernel.units)(params).div_ceil(lowering.units_per_group as usize);
            limited(label, "workgroups along y", rows as u64, u32::MAX.into())?;
            let pipeline = gpu.pipeline(kernel, lowering, params).await?;
            let bound = gpu.guarded(label, || bind(gpu, &memory, &pipeline, dispatch)).await?;
            let count = shapes.len();
            let shape = *shapes.entry((kernel.name, &params[1..])).or_insert(count);
            work.push(Work { shape, rows: 0..if groups_x == 0 { 0 } else { rows as u32 } });
            launches.push(Launch { pipeline, bound, groups_x, units_per_group: lowering.units_per_group });
        }
        let pace = Pace::new(gpu.0.options.slice_ms, gpu.0.answer_ms, shapes.len());
        Ok(Self { gpu: gpu.clone(), recording: recording.clone(), memory, launches, work, pace, rest: None })
    }

    /// Copies words into a buffer, all of it.
    pub async fn write(&self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        self.write_all(&[(id, words)]).await
    }

    /// Copies words into buffers, all of each.
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

    /// Copies a buffer out.
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        Ok(self.read_all(&[id]).await?.swap_remove(0))
    }

    /// Copies buffers out.
    pub async fn read_all(&self, ids: &[BufferId]) -> Result<Vec<Vec<u32>>, Error> {
        let buffers = ids.iter().map(|id| (self.recording.get(*id), self.memory.of(*id)));
        let wanted: Vec<_> = buffers.map(|(buffer, memory)| (buffer.name.as_str(), memory, buffer.words)).collect();
        GpuMemory::read(&self.gpu, &wanted).await
    }

    /// Plays dispatches `range`; says whether one of them saturated.
    pub async fn run(&mut self, range: Range<usize>) -> Result<Saturated, Error> {
        self.run_units(range, 0..usize::MAX).await
    }

    /// As [`Executor::grain`](crate::compute::Executor::grain): units of the largest workgroup.
    pub fn grain(&self) -> usize {
        self.launches.iter().map(|launch| launch.units_per_group).max().unwrap_or(1) as usize
    }

    /// As [`Self::play`], but of each dispatch only the workgroups that compute these units.
    pub async fn run_units(&mut self, range: Range<usize>, units: Range<usize>) -> Result<Saturated, Error> {
        let end = range.end.min(self.work.len());
        let part = |(work, launch): (&Work, &Launch)| {
            let each = launch.units_per_group as usize;
            let row = |unit: usize| u32::try_from(unit).unwrap_or(u32::MAX).min(work.rows.end);
            Work { shape: work.shape, rows: row(units.start / each)..row(units.end.div_ceil(each)) }
        };
        let work: Vec<_> = self.work.iter().zip(&self.launches).map(part).collect();
        let mut at = Cut { dispatch: range.start, first: 0, rows: 0 };
        let clock = self.gpu.0.options.clock;
        let mut held: VecDeque<Held> = VecDeque::new();
        let mut free_since = clock();
        self.gpu.0.queue.write_buffer(&self.memory.flag, 0, &[0; 4]);
        loop {
            while held.is_empty() || self.held_ms(&work, &held) < self.ahead_ms() {
                let cuts = self.pace.slice(&work, &mut at, end);
                let Some(first) = cuts.first() else { break };
                let label = &self.recording.dispatches()[first.dispatch].label;
                let submission = self.gpu.guarded(label, || self.submit(&cuts)).await?;
                held.push_back(Held { cuts, submission, since: clock() });
            }
            let Some(Held { mut cuts, submission, since }) = held.pop_front() else { break };
            let label = &self.recording.dispatches()[cuts[0].dispatch].label;
            self.gpu.finished(label, submission).await?;
            // who rests wants the GPU idle meanwhile
            while let Some(next) = held.pop_front_if(|next| self.rest.is_some() || next.submission.is_done()) {
                self.gpu.finished(label, next.submission).await?;
                cuts.extend(next.cuts);
            }
            let worked_ms = self.pace.learn(&work, &cuts, clock() - since.max(free_since));
            if let Some(rest) = self.rest
                && !(rest.after)(Slice { worked_ms, played: played(&work, range.start..end, &cuts) }).await
            {
                return Err(Error::Stopped);
            }
            free_since = clock();
        }
        let flag = GpuMemory::read(&self.gpu, &[("saturation flag", &self.memory.flag, 1)]).await?;
        Ok(flag[0][0] != 0)
    }

    /// Milliseconds of work that the GPU should hold. Who rests waits for all of it: one slice, where answers come at once.
    fn ahead_ms(&self) -> f64 {
        self.pace.ahead_ms() * if self.rest.is_some() { 0.5 } else { 1.0 }
    }

    fn held_ms(&self, work: &[Work], held: &VecDeque<Held>) -> f64 {
        self.pace.expected_ms(work, held.iter().flat_map(|held| &held.cuts))
    }

    /// Submits one slice.
    fn submit(&self, cuts: &[Cut]) -> QueueSubmission {
        let mut params = vec![0u32; cuts.len() * PARAMS_BYTES as usize / 4];
        for (block, cut) in params.chunks_exact_mut(PARAMS_BYTES as usize / 4).zip(cuts) {
            let words = &self.recording.dispatches()[cut.dispatch].params;
            block[..words.len()].copy_from_slice(words);
            block[0] = cut.first;
        }
        self.gpu.0.queue.write_buffer(&self.memory.params, 0, bytemuck::cast_slice(&params));
        let mut encoder = self.gpu.0.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (cut, offset) in cuts.iter().zip((0u32..).step_by(PARAMS_BYTES as usize)) {
            let launch = &self.launches[cut.dispatch];
            pass.set_pipeline(&launch.pipeline.compute);
            pass.set_bind_group(0, &launch.bound, &[offset]);
            pass.dispatch_workgroups(launch.groups_x, cut.rows, 1);
        }
        drop(pass);
        self.gpu.submit(encoder.finish())
    }
}

/// Dispatches of `range` that are done after these cuts, and all of them.
fn played(work: &[Work], range: Range<usize>, cuts: &[Cut]) -> [usize; 2] {
    let whole = |cut: &Cut| usize::from(cut.first + cut.rows == work[cut.dispatch].rows.end);
    let done = cuts.last().map_or(range.start, |cut| cut.dispatch + whole(cut));
    [done - range.start, range.len()]
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
