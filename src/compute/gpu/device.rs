//! The list of the machine's GPUs. Each entry, called a device, is one GPU accessed through one graphics API.

use super::architecture::{Architecture, Description, GpuKind, classify};
use crate::error::Error;
use std::fmt;

/// A GPU that can be used through one graphics API. The same GPU is listed once for each API that supports it.
#[derive(Clone)]
pub struct Device {
    /// Name of the GPU, as reported by its driver.
    pub name: String,
    /// The graphics API through which the GPU is used: `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub graphics_api: &'static str,
    /// Name and version of the graphics driver; empty if they are unknown.
    pub driver: String,
    /// Vendor ID as registered for PCI or assigned by Khronos; 0 if it is unknown.
    pub vendor_id: u32,
    /// Device ID, which the vendor assigns to each of its GPU models; 0 if it is unknown.
    pub device_id: u32,
    /// Vendor, architecture and kind of the GPU, recognized from what the driver reports.
    pub architecture: Architecture,
    /// Whether this is a software GPU, which runs shaders on the CPU.
    pub software: bool,
    /// The largest size that a GPU buffer can have, in bytes.
    pub buffer_bytes: u64,
    /// The size of the largest part of a buffer that can be bound to a shader, in bytes.
    pub binding_bytes: u64,
    pub(super) adapter: wgpu::Adapter,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.graphics_api)?;
        if !self.driver.is_empty() {
            write!(f, ", {}", self.driver)?;
        }
        f.write_str(if self.software { ", software)" } else { ")" })
    }
}

/// Returns the GPUs of this machine in the order in which wgpu reports them, but with software GPUs last. In a browser,
/// the list has at most one GPU. If the machine has two, the faster one is requested, but the browser can choose the
/// other one.
pub async fn devices() -> Vec<Device> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = if cfg!(target_arch = "wasm32") {
        let power_preference = wgpu::PowerPreference::HighPerformance;
        let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
        instance.request_adapter(&options).await.into_iter().collect()
    } else {
        instance.enumerate_adapters(wgpu::Backends::all()).await
    };
    let mut devices: Vec<_> = adapters.into_iter().map(Device::new).collect();
    devices.sort_by_key(|device| device.software);
    devices
}

/// Returns the device that `wanted` identifies. `wanted` is the index of a device in `devices`, or a part of its name,
/// driver or graphics API, in upper or lower case. If several devices match, the first one is returned. Returns
/// [`Error::NoGpu`] if none matches.
pub fn find<'a>(devices: &'a [Device], wanted: &str) -> Result<&'a Device, Error> {
    let by_number = wanted.parse().ok().and_then(|number: usize| devices.get(number));
    let part = wanted.to_lowercase();
    let by_name = || devices.iter().find(|device| device.to_string().to_lowercase().contains(&part));
    by_number.or_else(by_name).ok_or_else(|| {
        let listed: Vec<_> = devices.iter().map(Device::to_string).collect();
        let listed = if listed.is_empty() { "none".to_owned() } else { listed.join("; ") };
        Error::NoGpu { wanted: wanted.to_owned(), listed }
    })
}

impl Device {
    fn new(adapter: wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let architecture = classify(&Description {
            name: &info.name,
            vendor_id: info.vendor,
            device_id: info.device,
            device_type: &format!("{:?}", info.device_type),
            driver: &info.driver,
            driver_info: &info.driver_info,
            ..Default::default()
        });
        Self {
            graphics_api: match info.backend {
                wgpu::Backend::Vulkan => "vulkan",
                wgpu::Backend::Metal => "metal",
                wgpu::Backend::Dx12 => "dx12",
                wgpu::Backend::Gl => "gl",
                wgpu::Backend::BrowserWebGpu => "webgpu",
                wgpu::Backend::Noop => "none",
            },
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            name: info.name,
            vendor_id: info.vendor,
            device_id: info.device,
            software: architecture.kind == GpuKind::Software,
            architecture,
            buffer_bytes: limits.max_buffer_size,
            binding_bytes: limits.max_storage_buffer_binding_size,
            adapter,
        }
    }
}
