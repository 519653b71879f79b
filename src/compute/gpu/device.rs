//! A device is one GPU that is reached through one graphics API, as the machine lists it.

use super::architecture::{Architecture, Description, GpuKind, classify};
use crate::error::Error;
use std::fmt;

/// A GPU that can be opened. The same hardware is listed once for each graphics API that supports it.
#[derive(Clone)]
pub struct Device {
    /// Name given by the driver.
    pub name: String,
    /// Graphics API: `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub graphics_api: &'static str,
    /// Name and version of the driver.
    pub driver: String,
    /// PCI vendor id.
    pub vendor_id: u32,
    /// PCI device id.
    pub device_id: u32,
    /// Vendor and architecture, recognized from the description.
    pub architecture: Architecture,
    /// Whether the device is a software GPU, which computes on the CPU.
    pub software: bool,
    /// Size of the largest buffer, in bytes.
    pub buffer_bytes: u64,
    /// Size of the largest part of a buffer that a kernel can access, in bytes.
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

/// Lists the GPUs of this machine: hardware before software GPUs, otherwise in the drivers' order. In a browser the
/// list has at most one GPU; if there are two, the faster one is requested, but the browser may choose the other.
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

/// Returns the device that `wanted` refers to: by its index in [`devices`], or by a part of its name, driver or
/// graphics API, ignoring case. Returns [`Error::NoGpu`] if no device matches.
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
