//! A pipeline is one lowering (WGSL implementation) of a kernel, compiled for one GPU.

use super::{Checks, Gpu};
use crate::{
    error::Error,
    kernels::{Access, Kernel, Lowering},
};
use std::sync::{Arc, PoisonError};

/// The number of bytes that are reserved for the parameters of one kernel launch. It is a multiple of every alignment
/// that a GPU may require for the offset of a uniform buffer.
pub(super) const PARAMS_BYTES: u64 = 256;

/// The number of lanes (invocations) of a workgroup that computes a row or an attention head on a software GPU. It is the
/// smallest number that the WGSL allows. On a hardware GPU, the defaults in `shaders/shared/lanes.wgsl` apply.
const SOFTWARE_LANES: f64 = 8.0;

/// The key of the pipeline cache: the name of the kernel, the name of the lowering (WGSL implementation), and the value
/// of the WGSL override `keys_held`. This override sets the length of an array in workgroup memory. The value is `None`
/// if the lowering has no such override.
pub(super) type PipelineKey = (&'static str, &'static str, Option<u32>);

/// A compiled lowering (WGSL implementation of a kernel), and the layout of its bindings.
pub(super) struct Pipeline {
    pub(super) compute: wgpu::ComputePipeline,
    pub(super) bindings: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Returns the compiled pipeline of a lowering (WGSL implementation) of a kernel. The first call compiles it, and
    /// later calls return it from a cache. `params` are the parameters of a launch. They determine the value of the
    /// WGSL override `keys_held`, which sets the length of an array in workgroup memory.
    pub(super) async fn pipeline(
        &self,
        kernel: &'static Kernel,
        lowering: &'static Lowering,
        params: &[u32],
    ) -> Result<Arc<Pipeline>, Error> {
        let keys_held = lowering.keys_held.map(|keys_held| keys_held(params));
        let key = (kernel.name, lowering.name, keys_held);
        let cached = self.0.pipelines.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(pipeline) = cached {
            return Ok(pipeline);
        }
        let what = [kernel.name, lowering.name].join(".");
        let pipeline = Arc::new(self.guarded(&what, || self.compile(kernel, lowering, keys_held, &what)).await?);
        self.0.pipelines.lock().unwrap_or_else(PoisonError::into_inner).insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, kernel: &Kernel, lowering: &Lowering, keys_held: Option<u32>, label: &str) -> Pipeline {
        let keys_held = keys_held.map(|keys_held| ("keys_held", f64::from(keys_held)));
        let lanes = [("row_lanes", SOFTWARE_LANES), ("head_lanes", SOFTWARE_LANES)];
        let constants: Vec<_> = keys_held
            .into_iter()
            .chain(lanes.into_iter().filter(|_| self.device().software && !self.0.options.many_lanes))
            .collect();
        let device = &self.0.device;
        let label = Some(label);
        let module = self
            .module(wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(lowering.wgsl().into()) });
        let entries: Vec<_> = std::iter::once(PARAMS)
            .chain(kernel.bindings.iter().zip(1..).map(|(binding, at)| {
                let read_only = matches!(binding.access, Access::Read);
                storage(at, wgpu::BufferBindingType::Storage { read_only })
            }))
            .collect();
        let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        let compute = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: self.0.options.checks == Checks::Checked,
                constants: &constants,
            },
            cache: None,
        });
        Pipeline { compute, bindings }
    }

    #[allow(unsafe_code)]
    fn module(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        match self.0.options.checks {
            // SAFETY: the WGSL is part of this crate and never comes from outside. Its loops end, and it accesses only
            // the words that its parameters imply. `Recording::dispatch` has checked that the buffers are long enough.
            Checks::Trusted => unsafe {
                self.0.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
            Checks::Checked => self.0.device.create_shader_module(descriptor),
        }
    }
}

/// The layout of binding 0, the kernel's parameters. One uniform buffer contains the parameters of all launches of a
/// submission. Each launch binds its own block of the buffer at a dynamic offset.
const PARAMS: wgpu::BindGroupLayoutEntry = wgpu::BindGroupLayoutEntry {
    binding: 0,
    visibility: wgpu::ShaderStages::COMPUTE,
    ty: wgpu::BindingType::Buffer {
        ty: wgpu::BufferBindingType::Uniform,
        has_dynamic_offset: true,
        min_binding_size: std::num::NonZeroU64::new(PARAMS_BYTES),
    },
    count: None,
};

const fn storage(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
