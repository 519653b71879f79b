//! The GPU backend, which runs recordings (recorded training steps) through wgpu. In a browser, wgpu uses WebGPU;
//! elsewhere it uses Vulkan, Metal, DX12 or GL.
//!
//! [`devices`] lists GPUs, [`Gpu::open`] opens one, and [`GpuExecutor`] runs a recording. Every operation that waits
//! for the GPU is an async function, because a browser cannot block. On native platforms, the function blocks its
//! thread until the GPU has finished, so it works with any async runtime. A GPU can be lost at any time; the operations
//! then return an error and do not panic.

pub mod architecture;
mod device;
mod executor;
mod fault;
mod memory;
mod pipeline;
mod signal;
mod slice;
mod tune;

pub use device::{Device, devices, find};
pub use executor::{GpuExecutor, LoweringChoice};
pub use tune::{TuneOutcome, Tuned, Tuning, tune};

use super::{Backend, known_answers};
use crate::{
    error::Error,
    kernels::{Lowering, cases::Case},
};
use fault::GpuFault;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// A function that returns the milliseconds since a fixed moment. The caller provides it, because the library has no
/// clock of its own.
pub type Clock = fn() -> f64;

/// Options for opening a GPU.
#[derive(Clone, Copy)]
pub struct Options {
    /// The clock that measures how long GPU submissions and kernels take to run.
    pub clock: Clock,
    /// Target duration of the GPU work in one submission, in milliseconds.
    pub slice_ms: f64,
    /// The runtime checks that wgpu compiles into kernels.
    pub checks: Checks,
    /// Whether workgroups that compute a row or an attention head have many lanes (invocations) on software GPUs too. A
    /// software GPU is slower with them; tests use this to run what hardware GPUs run.
    pub many_lanes: bool,
}

impl Options {
    /// Returns the default options: no runtime checks, and 50 ms of work in a submission, or 16 ms (one frame) in a
    /// browser.
    pub fn new(clock: Clock) -> Self {
        let slice_ms = if cfg!(target_arch = "wasm32") { 16.0 } else { 50.0 };
        Self { clock, slice_ms, checks: Checks::Trusted, many_lanes: false }
    }
}

/// Runtime checks that wgpu adds to a kernel. A browser always adds all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// No checks. They are not needed, because the kernels stay within their buffers and write workgroup memory before
    /// they read it.
    Trusted,
    /// Bounds checks, loop bounds and zeroed workgroup memory. Results are the same as without checks, but kernels are
    /// slower.
    Checked,
}

/// An open GPU. Clones refer to the same GPU.
#[derive(Clone)]
pub struct Gpu(Arc<OpenGpu>);

struct OpenGpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    listed: Device,
    options: Options,
    fault: GpuFault,
    /// The measured delay, in milliseconds, from the completion of work on the GPU to the notification of its
    /// completion.
    answer_ms: f64,
    pipelines: Mutex<HashMap<pipeline::PipelineKey, Arc<pipeline::Pipeline>>>,
}

impl Gpu {
    /// Returns whether tuning tries a lowering (WGSL implementation) on this GPU. A software GPU does not try those for
    /// hardware GPUs only.
    pub fn may_choose(&self, lowering: &Lowering) -> bool {
        !(lowering.hardware_only && self.device().software)
    }

    /// Opens a GPU. Returns [`Error::GpuLimit`] if the GPU offers less than WebGPU's default limits for compute
    /// shaders, and [`Error::GpuRefused`] if the driver does not open it.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(clippy::arc_with_non_send_sync, reason = "a browser uses its GPU from one thread")
    )]
    pub async fn open(listed: &Device, options: Options) -> Result<Self, Error> {
        let what = listed.to_string();
        let offered = listed.adapter.limits();
        let limits = required_limits(&what, &offered)?;
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let (device, queue) = (listed.adapter.request_device(&descriptor).await)
            .map_err(|error| Error::GpuRefused { what, reason: error.to_string() })?;
        let fault = GpuFault::watch(&device);
        let (pipelines, answer_ms) = (Mutex::default(), 0.0);
        let open = OpenGpu { device, queue, listed: listed.clone(), options, fault, answer_ms, pipelines };
        let mut gpu = Self(Arc::new(open));
        let answer_ms = gpu.time_empty_submissions().await?;
        if let Some(open) = Arc::get_mut(&mut gpu.0) {
            open.answer_ms = answer_ms;
        }
        Ok(gpu)
    }

    /// Returns the time from an empty submission to the notification of its completion, in milliseconds: the shortest
    /// of three measurements. The time is a few microseconds on native platforms, and up to 100 ms in browsers that
    /// poll the GPU only every 100 ms.
    async fn time_empty_submissions(&self) -> Result<f64, Error> {
        let (clock, mut shortest) = (self.0.options.clock, f64::INFINITY);
        for _ in 0..3 {
            let start = clock();
            let empty = self.0.device.create_command_encoder(&Default::default()).finish();
            self.finished("an empty submission", self.submit(empty)).await?;
            shortest = shortest.min(clock() - start);
        }
        Ok(shortest)
    }

    /// Returns the device that was opened, which states the GPU's name, driver and limits.
    pub fn device(&self) -> &Device {
        &self.0.listed
    }

    /// Closes the GPU. Operations on all clones then return [`Error::GpuLost`].
    pub fn close(&self) {
        self.0.device.destroy();
    }
}

/// Runs a test case with one lowering (WGSL implementation) of its kernel. Returns [`Error::WrongAnswer`] if the result
/// differs from that of the reference kernel.
pub async fn passes(gpu: &Gpu, lowering: &'static Lowering, case: &Case) -> Result<(), Error> {
    let choice = LoweringChoice::default().with(case.kernel, lowering);
    known_answers::passes(&Backend::Gpu { gpu: gpu.clone(), choice }, case).await
}

/// Returns the limits to request from a GPU: the largest buffer sizes that it offers, and WebGPU's default for every
/// other limit. If the GPU offers less than a default on which the kernels depend, returns [`Error::GpuLimit`]. If the
/// kernels do not depend on the default, requests what the GPU offers.
fn required_limits(what: &str, offered: &wgpu::Limits) -> Result<wgpu::Limits, Error> {
    let defaults = wgpu::Limits::defaults();
    macro_rules! at_least {
        ($($limit:ident),*) => {
            $(if offered.$limit < defaults.$limit {
                let (needed, offered) = (defaults.$limit.into(), offered.$limit.into());
                return Err(Error::GpuLimit { what: what.to_owned(), limit: stringify!($limit), needed, offered });
            })*
        };
    }
    at_least!(
        max_storage_buffers_per_shader_stage,
        max_uniform_buffer_binding_size,
        max_storage_buffer_binding_size,
        max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x,
        max_compute_workgroup_size_y,
        max_compute_workgroups_per_dimension
    );
    Ok(wgpu::Limits {
        max_buffer_size: offered.max_buffer_size,
        max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
        ..defaults.or_worse_values_from(offered)
    })
}
