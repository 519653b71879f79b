//! An architecture class: which family of hardware a GPU's own description names.
//!
//! Descriptions are unreliable, so the order of the questions matters. Software and virtual GPUs
//! first, since both may carry the ids and the name of the hardware below them; then the device
//! id, which is the only thing that tells rebranded products apart; then the name; last what a
//! browser says. Whatever none of them answers is `unknown`: never a guess.

mod devices;
mod names;
mod pattern;

use pattern::Words;

/// Vendor or architecture that the description does not give away.
pub const UNKNOWN: &str = "unknown";

/// What a graphics API or a browser says about a GPU; empty or 0 where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description<'a> {
    /// `Vulkan`, `Metal`, `Dx12`, `Gl` or `WebGPU`.
    pub api: &'a str,
    /// The GPU's name; in a browser `GPUAdapterInfo.device`.
    pub name: &'a str,
    /// PCI vendor, or an id that Khronos gave out.
    pub vendor_id: u32,
    /// The vendor's own numbering.
    pub device_id: u32,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub device_type: &'a str,
    /// The driver's name.
    pub driver: &'a str,
    /// The driver's version and the like; in a browser `GPUAdapterInfo.description`.
    pub driver_info: &'a str,
    /// `GPUAdapterInfo.vendor`.
    pub webgpu_vendor: &'a str,
    /// `GPUAdapterInfo.architecture`.
    pub webgpu_architecture: &'a str,
}

/// What executes the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuKind {
    /// A GPU; a translating driver such as Dozen, Zink or ANGLE may sit on top.
    Hardware,
    /// A GPU that a hypervisor, an emulator or a remote session presents.
    Virtual,
    /// The CPU.
    Software,
    /// The vendor is unknown, so it may be any of the three.
    Unknown,
}

/// The class that a GPU belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// `NVIDIA`, `AMD`, …, [`UNKNOWN`].
    pub vendor: &'static str,
    /// `Ampere`, `RDNA2`, …, [`UNKNOWN`].
    pub architecture: &'static str,
    /// What executes the shaders.
    pub kind: GpuKind,
}

/// Classifies a GPU by its description.
pub fn classify(description: &Description) -> Architecture {
    let texts = Texts::new(description);
    let software = || software(description, &texts);
    let virtual_gpu = || virtual_gpu(description, &texts);
    software().or_else(virtual_gpu).unwrap_or_else(|| hardware(description, &texts))
}

fn software(description: &Description, texts: &Texts) -> Option<Architecture> {
    let id = devices::architecture(devices::SOFTWARE, description.vendor_id, description.device_id);
    let named = || texts.first(names::SOFTWARE).or_else(|| names::first(names::SOFTWARE_NAMES, &texts.name));
    let cpu = || (description.device_type == "Cpu").then_some(UNKNOWN);
    let architecture = id.or_else(named).or_else(cpu)?;
    Some(Architecture { vendor: "Software", architecture, kind: GpuKind::Software })
}

fn virtual_gpu(description: &Description, texts: &Texts) -> Option<Architecture> {
    // The word before the id: Venus and virgl say more than their common virtio id.
    let named = texts.first(names::VIRTUAL);
    let id = || devices::architecture(devices::VIRTUAL, description.vendor_id, description.device_id);
    let other = || names::first(names::VIRTUAL_NAMES, &texts.name);
    if let Some(architecture) = named.or_else(id).or_else(other) {
        return Some(Architecture {
            vendor: names::vendor_of_virtual(architecture),
            architecture,
            kind: GpuKind::Virtual,
        });
    }
    // A slice of a real GPU: the architecture of the hardware, but not all of its cores.
    let slice = description.device_type == "VirtualGpu";
    slice.then(|| Architecture { kind: GpuKind::Virtual, ..hardware(description, texts) })
}

fn hardware(description: &Description, texts: &Texts) -> Architecture {
    let by_name = names::first(names::VENDORS, &texts.name);
    let by_id = devices::vendor(description.vendor_id);
    // Without a device id the vendor id is a guess from the name, and a worse one than ours.
    let (first, second) = if description.device_id == 0 { (by_name, by_id) } else { (by_id, by_name) };
    let Some(vendor) = first.or(second).or_else(|| names::first(names::VENDORS, &texts.browser)) else {
        return Architecture { vendor: UNKNOWN, architecture: UNKNOWN, kind: GpuKind::Unknown };
    };
    // Dawn may put the device id where others put the name.
    let device_id = Some(description.device_id).filter(|id| *id != 0).or_else(|| hexadecimal(description.name));
    let by_id = device_id.and_then(|id| devices::of_vendor(vendor, id));
    let by_text = || {
        let lines = names::architectures(vendor);
        [&texts.name, &texts.driver_info, &texts.browser].into_iter().find_map(|words| names::first(lines, words))
    };
    Architecture { vendor, architecture: by_id.or_else(by_text).unwrap_or(UNKNOWN), kind: GpuKind::Hardware }
}

/// A description's texts as words.
struct Texts {
    name: Words,
    driver: Words,
    driver_info: Words,
    browser: Words,
}

impl Texts {
    fn new(description: &Description) -> Self {
        Self {
            name: Words::new(description.name),
            driver: Words::new(description.driver),
            driver_info: Words::new(description.driver_info),
            browser: Words::new(&format!("{} {}", description.webgpu_vendor, description.webgpu_architecture)),
        }
    }

    fn first(&self, lines: &[names::Line]) -> Option<&'static str> {
        let texts = [&self.name, &self.driver, &self.driver_info, &self.browser];
        texts.into_iter().find_map(|words| names::first(lines, words))
    }
}

fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok().filter(|id| *id != 0)
}
