//! Device ids: each vendor numbers its chips in runs, and a run belongs to one architecture.
//!
//! Sources: the public PCI id list, Mesa's and Linux's device tables, Dawn's masks for chips that
//! are not on PCI. Of overlapping runs the first one counts.

use super::names::{ADRENO, AMPERE, BIFROST, FIFTH_GEN, MIDGARD, ROGUE, V3D, VALHALL};

/// First id, last id, architecture.
type Run = (u32, u32, &'static str);

/// The vendor's name for its id.
pub(super) fn vendor(vendor_id: u32) -> Option<&'static str> {
    VENDORS.iter().find(|(id, ..)| *id == vendor_id).map(|(_, vendor, _)| *vendor)
}

/// The architecture of a vendor's device.
pub(super) fn of_vendor(vendor: &str, device_id: u32) -> Option<&'static str> {
    VENDORS.iter().filter(|(_, name, _)| *name == vendor).find_map(|(.., runs)| find(runs, device_id))
}

/// The class of a device in a table that is keyed by vendor id.
pub(super) fn architecture(table: &[(u32, &[Run])], vendor_id: u32, device_id: u32) -> Option<&'static str> {
    table.iter().filter(|(id, _)| *id == vendor_id).find_map(|(_, runs)| find(runs, device_id))
}

fn find(runs: &[Run], device_id: u32) -> Option<&'static str> {
    runs.iter().find(|(first, last, _)| (*first..=*last).contains(&device_id)).map(|(.., architecture)| *architecture)
}

/// Rasterizers with an id of their own. Mesa's 0x10005 is not one: its hardware drivers use it too.
pub(super) const SOFTWARE: &[(u32, &[Run])] =
    &[(0x1414, &[(0x8c, 0x8c, "WARP")]), (0x1ae0, &[(0xc0de, 0xc0de, "SwiftShader")])];

/// GPUs that exist only as a hypervisor's device.
pub(super) const VIRTUAL: &[(u32, &[Run])] = &[
    (0x15ad, &[(0, u32::MAX, "Virtual (VMware SVGA)")]),
    (0x1af4, &[(0, u32::MAX, "Virtual (virtio-gpu)")]),
    (0x1414, &[(0x8e, 0x8e, "Virtual (Hyper-V)"), (0x5353, 0x5353, "Virtual (Hyper-V)")]),
    (0x1ab8, &[(0, u32::MAX, "Virtual (Parallels)")]),
    (0x80ee, &[(0, u32::MAX, "Virtual (VirtualBox)")]),
    (0x1b36, &[(0, u32::MAX, "Virtual (QEMU)")]),
    (0x1234, &[(0x1111, 0x1111, "Virtual (QEMU)")]),
    (0x5853, &[(0, u32::MAX, "Virtual (Xen)")]),
];

/// Vendor id, vendor, runs. A vendor may have several ids.
const VENDORS: &[(u32, &str, &[Run])] = &[
    (0x10de, "NVIDIA", NVIDIA),
    (0x1002, "AMD", AMD),
    (0x8086, "Intel", INTEL),
    (0x106b, "Apple", &[]),
    (0x5143, "Qualcomm", QUALCOMM),
    (0x4d4f_4351, "Qualcomm", QUALCOMM_ACPI),
    (0x13b5, "ARM", ARM),
    (0x1010, "Imagination", IMAGINATION),
    (0x14e4, "Broadcom", &[(0, u32::MAX, V3D)]),
    (0x144d, "Samsung", SAMSUNG),
    (0x19e5, "Huawei", &[]),
    (0x10001, "VeriSilicon", &[]),
    (0x10002, "VeriSilicon", &[]),
    (0x1ed5, "Moore Threads", &[]),
];

const NVIDIA: &[Run] = &[
    (0x06c0, 0x06df, "Fermi"),
    (0x0190, 0x0cff, "Tesla"),
    (0x0dc0, 0x0f1f, "Fermi"),
    (0x0fc0, 0x103f, "Kepler"),
    (0x1040, 0x10bf, "Fermi"),
    (0x10c0, 0x10df, "Tesla"),
    (0x1140, 0x117f, "Fermi"),
    (0x1180, 0x11ff, "Kepler"),
    (0x1200, 0x127f, "Fermi"),
    (0x1280, 0x133f, "Kepler"),
    (0x1340, 0x15bf, "Maxwell"),
    (0x15c0, 0x15ff, "Pascal"),
    (0x1600, 0x171f, "Maxwell"),
    (0x1720, 0x173f, "Pascal"),
    (0x1740, 0x17ff, "Maxwell"),
    (0x1b00, 0x1d7f, "Pascal"),
    (0x1d80, 0x1dff, "Volta"),
    (0x1e00, 0x1fff, "Turing"),
    (0x2000, 0x20ff, AMPERE),
    (0x2100, 0x21ff, "Turing"),
    (0x2200, 0x22ff, AMPERE),
    (0x2300, 0x23ff, "Hopper"),
    (0x2400, 0x25ff, AMPERE),
    (0x2600, 0x28ff, "Ada Lovelace"),
    (0x2900, 0x33ff, "Blackwell"),
    // Tegra, by the top byte.
    (0x1e00_0000, 0x1eff_ffff, "Kepler"),
    (0x9200_0000, 0x92ff_ffff, "Maxwell"),
    (0x9300_0000, 0x93ff_ffff, "Pascal"),
    (0x9700_0000, 0x97ff_ffff, AMPERE),
    (0xa500_0000, 0xa5ff_ffff, "Volta"),
];

const AMD: &[Run] = &[
    // Processors with graphics.
    (0x1114, 0x1114, "RDNA3.5"),
    (0x1300, 0x131f, "GCN2"),
    (0x13c0, 0x13c0, "RDNA2"),
    (0x13fe, 0x13fe, "RDNA1"),
    (0x1435, 0x1435, "RDNA2"),
    (0x1506, 0x1506, "RDNA2"),
    (0x150e, 0x150e, "RDNA3.5"),
    (0x1586, 0x1586, "RDNA3.5"),
    (0x15bf, 0x15c8, "RDNA3"),
    (0x15d8, 0x15df, "GCN5"),
    (0x15e7, 0x15e7, "GCN5"),
    (0x15ff, 0x15ff, "GCN5"),
    (0x1636, 0x1638, "GCN5"),
    (0x163f, 0x163f, "RDNA2"),
    (0x164c, 0x164c, "GCN5"),
    (0x164d, 0x164e, "RDNA2"),
    (0x164f, 0x164f, "RDNA3"),
    (0x1681, 0x1681, "RDNA2"),
    (0x1900, 0x1901, "RDNA3"),
    (0x1902, 0x1902, "RDNA3.5"),
    (0x9640, 0x964f, "TeraScale2"),
    (0x9800, 0x980f, "TeraScale2"),
    (0x9830, 0x985f, "GCN2"),
    (0x9870, 0x987f, "GCN3"),
    (0x98e0, 0x98ef, "GCN3"),
    (0x9900, 0x991f, "TeraScale3"),
    (0x9920, 0x992f, "GCN2"),
    (0x9990, 0x99af, "TeraScale3"),
    // Cards.
    (0x6600, 0x663f, "GCN1"),
    (0x6640, 0x665f, "GCN2"),
    (0x6660, 0x666f, "GCN1"),
    (0x66a0, 0x66af, "GCN5"),
    (0x6700, 0x671f, "TeraScale3"),
    (0x6720, 0x677f, "TeraScale2"),
    (0x6780, 0x679f, "GCN1"),
    (0x67a0, 0x67bf, "GCN2"),
    (0x67c0, 0x67ff, "GCN4"),
    (0x6800, 0x683f, "GCN1"),
    (0x6840, 0x685f, "TeraScale2"),
    (0x6860, 0x687f, "GCN5"),
    (0x6880, 0x68ff, "TeraScale2"),
    (0x6900, 0x693f, "GCN3"),
    (0x6940, 0x699f, "GCN4"),
    (0x69a0, 0x69af, "GCN5"),
    (0x6fdf, 0x6fdf, "GCN4"),
    (0x7300, 0x730f, "GCN3"),
    (0x7310, 0x737f, "RDNA1"),
    (0x7380, 0x739f, "CDNA1"),
    (0x73f0, 0x73f0, "RDNA3"),
    (0x73a0, 0x73ff, "RDNA2"),
    (0x7400, 0x741f, "CDNA2"),
    (0x7420, 0x743f, "RDNA2"),
    (0x7440, 0x749f, "RDNA3"),
    (0x74a0, 0x74bf, "CDNA3"),
    (0x7540, 0x759f, "RDNA4"),
    (0x75a0, 0x75bf, "CDNA4"),
    (0x9400, 0x95ff, "TeraScale1"),
    (0x9600, 0x97ff, "TeraScale1"),
];

const INTEL: &[Run] = &[
    (0x0100, 0x0126, "Gen6"),
    (0x0150, 0x017f, "Gen7"),
    (0x0400, 0x04ff, "Gen7"),
    (0x0a80, 0x0a8f, "Gen9"),
    (0x0a00, 0x0aff, "Gen7"),
    (0x0b60, 0x0bdf, "Xe-HPC"),
    (0x0c00, 0x0dff, "Gen7"),
    (0x0f30, 0x0f3f, "Gen7"),
    (0x1600, 0x163f, "Gen8"),
    (0x1900, 0x193f, "Gen9"),
    (0x1a80, 0x1a8f, "Gen9"),
    (0x22b0, 0x22bf, "Gen8"),
    (0x3180, 0x318f, "Gen9"),
    (0x3e90, 0x3eff, "Gen9"),
    (0x4500, 0x457f, "Gen11"),
    (0x4600, 0x46ff, "Gen12LP"),
    (0x4900, 0x49ff, "Gen12LP"),
    (0x4c80, 0x4c9f, "Gen12LP"),
    (0x4e00, 0x4eff, "Gen11"),
    (0x4f80, 0x4f8f, "Xe-HPG"),
    (0x5690, 0x56cf, "Xe-HPG"),
    (0x5900, 0x593f, "Gen9"),
    (0x5a40, 0x5a5f, "Gen10"),
    (0x5a80, 0x5a8f, "Gen9"),
    (0x6400, 0x64ff, "Xe2"),
    (0x7d00, 0x7dff, "Xe-LPG"),
    (0x87c0, 0x87cf, "Gen9"),
    (0x8a00, 0x8aff, "Gen11"),
    (0x9840, 0x984f, "Gen11"),
    (0x9a00, 0x9aff, "Gen12LP"),
    (0x9b20, 0x9bff, "Gen9"),
    (0xa700, 0xa7ff, "Gen12LP"),
    (0xb080, 0xb0bf, "Xe3"),
    (0xb640, 0xb64f, "Xe-LPG"),
    (0xd740, 0xd75f, "Xe3"),
    (0xe200, 0xe22f, "Xe2"),
    (0xfd80, 0xfd8f, "Xe3"),
];

const QUALCOMM: &[Run] = &[
    (0x0200_0000, 0x02ff_ffff, ADRENO[0]),
    (0x0300_0000, 0x03ff_ffff, ADRENO[1]),
    (0x0400_0000, 0x04ff_ffff, ADRENO[2]),
    (0x0500_0000, 0x05ff_ffff, ADRENO[3]),
    (0x0600_0000, 0x06ff_ffff, ADRENO[4]),
    (0x0700_0000, 0x07ff_ffff, ADRENO[5]),
    (0x4300_0000, 0x43ff_ffff, ADRENO[5]),
    (0x4400_0000, 0x44ff_ffff, ADRENO[6]),
];

/// Windows on ARM: four characters of the ACPI id, `0A36`, `0C36`, last one first.
const QUALCOMM_ACPI: &[Run] = &[(0x3633_4100, 0x3633_41ff, ADRENO[4]), (0x3633_4300, 0x3633_43ff, ADRENO[5])];

/// The top nibble is the major version of the architecture; Midgard's ids are shorter.
const ARM: &[Run] = &[
    (0x0000_0001, 0x0fff_ffff, MIDGARD),
    (0x6000_0000, 0x7fff_ffff, BIFROST),
    (0x9000_0000, 0xbfff_ffff, VALHALL),
    (0xc000_0000, 0xffff_ffff, FIFTH_GEN),
];

/// The top byte is the branch of the design, in decimal digits.
const IMAGINATION: &[Run] = &[
    (0x1b00_0000, 0x1bff_ffff, "PowerVR Furian"),
    (0x2200_0000, 0x24ff_ffff, ROGUE),
    (0x3300_0000, 0x33ff_ffff, "PowerVR A-Series"),
    (0x3500_0000, 0x36ff_ffff, "PowerVR B-Series"),
];

const SAMSUNG: &[Run] = &[
    (0x73a0, 0x73a0, "RDNA2"),
    (0x0130_0000, 0x0130_ffff, "RDNA2"),
    (0x0260_0000, 0x0260_ffff, "RDNA3"),
    (0x0360_0000, 0x0360_ffff, "RDNA3"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// An earlier run that swallows a later one would make the later line dead.
    #[test]
    fn no_run_is_hidden_or_reversed() {
        for (_, vendor, runs) in VENDORS {
            for (at, (first, last, name)) in runs.iter().enumerate() {
                assert!(first <= last, "{vendor} {name}");
                let hidden = runs[..at].iter().any(|(from, to, _)| from <= first && last <= to);
                assert!(!hidden, "{vendor} {name} {first:#x}");
            }
        }
    }
}
