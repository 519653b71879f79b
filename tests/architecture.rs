//! Tests that GPUs are recognized from the names and IDs that real drivers and browsers report for them
//! (`tests/data/gpu_adapters.tsv`).
//!
//! The expected architectures were assigned by hand, from the public code names of the chips. The column `kind` states
//! the source of each row: `observed` means a log or the output of vulkaninfo, `renderer` means a WebGL or OpenGL
//! renderer string, and `table` means public tables of device IDs and of the names that browsers report. `-` means that
//! a field was not recorded.

use r3mes_wgpu::compute::gpu::architecture::{Architecture, Description, GpuKind, UNKNOWN, classify};
use std::collections::BTreeMap;

struct Row<'a> {
    kind: &'a str,
    description: Description<'a>,
    vendor: &'a str,
    architecture: &'a str,
    software: bool,
}

fn rows() -> Vec<Row<'static>> {
    let said = |field: &'static str| if field == "-" { "" } else { field };
    let id = |field| u32::from_str_radix(said(field).trim_start_matches("0x"), 16).unwrap_or(0);
    let row = |line: &'static str| {
        let field: Vec<&str> = line.split('\t').collect();
        assert_eq!(field.len(), 14, "{line}");
        Row {
            kind: field[0],
            description: Description {
                name: said(field[2]),
                vendor_id: id(field[3]),
                device_id: id(field[4]),
                device_type: said(field[5]),
                driver: said(field[6]),
                driver_info: said(field[7]),
                webgpu_vendor: said(field[8]),
                webgpu_architecture: said(field[9]),
            },
            vendor: field[10],
            architecture: field[11],
            software: field[12] == "true",
        }
    };
    include_str!("data/gpu_adapters.tsv").lines().skip(1).map(row).collect()
}

#[test]
fn recorded_gpus_are_recognized() {
    let mut right = BTreeMap::<&str, (usize, usize)>::new();
    for row in rows() {
        let found = classify(&row.description);
        let count = right.entry(row.kind).or_default();
        count.1 += 1;
        if (found.vendor, found.architecture) == (row.vendor, row.architecture) {
            count.0 += 1;
        } else {
            println!("expected {} {}, found {found:?} for {:?}", row.vendor, row.architecture, row.description);
        }
    }
    for (kind, (right, all)) in &right {
        println!("{kind}: {right} of {all} rows are recognized");
    }
    for (kind, percent) in [("observed", 97), ("renderer", 97), ("table", 95)] {
        let (right, all) = right[kind];
        assert!(right * 100 >= all * percent, "{kind}: only {right} of {all} rows are recognized");
    }
}

#[test]
fn software_and_virtual_gpus_are_never_taken_for_hardware() {
    for row in rows() {
        let found = classify(&row.description);
        assert_eq!(found.kind == GpuKind::Software, row.software, "{found:?} {:?}", row.description);
        let is_virtual = row.architecture.starts_with("Virtual");
        assert_eq!(found.kind == GpuKind::Virtual, is_virtual, "{found:?} {:?}", row.description);
    }
}

fn named(name: &str) -> Architecture {
    classify(&Description { name, ..Description::default() })
}

fn with_id(vendor_id: u32, device_id: u32, name: &str) -> Architecture {
    classify(&Description { name, vendor_id, device_id, ..Description::default() })
}

/// Checks that GPUs which are not in `gpu_adapters.tsv` are recognized from the names that drivers report. Each
/// expected architecture follows from the code name of the chip.
#[test]
fn gpus_outside_the_recorded_ones_are_recognized() {
    let others = [
        ("NVIDIA GeForce RTX 5090", "NVIDIA", "Blackwell"),
        ("NVIDIA GeForce RTX 4060 Ti", "NVIDIA", "Ada Lovelace"),
        ("NVIDIA GeForce RTX 2050", "NVIDIA", "Ampere"),
        ("NVIDIA GeForce RTX 2060 (NVK TU106)", "NVIDIA", "Turing"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "NVIDIA", "Blackwell"),
        ("NVIDIA RTX 6000 Ada Generation", "NVIDIA", "Ada Lovelace"),
        ("NVIDIA RTX A6000", "NVIDIA", "Ampere"),
        ("Quadro RTX 6000/PCIe/SSE2", "NVIDIA", "Turing"),
        ("NVIDIA H100 PCIe", "NVIDIA", "Hopper"),
        ("NVIDIA H200", "NVIDIA", "Hopper"),
        ("Tesla V100-SXM2-16GB", "NVIDIA", "Volta"),
        ("Tesla T4", "NVIDIA", "Turing"),
        ("NVIDIA L40S", "NVIDIA", "Ada Lovelace"),
        ("NVIDIA GB10", "NVIDIA", "Blackwell"),
        ("NVIDIA GeForce GTX 1660 SUPER", "NVIDIA", "Turing"),
        ("NVIDIA Tegra Orin (nvgpu)", "NVIDIA", "Ampere"),
        ("AMD Radeon RX 6700 XT (RADV NAVI22)", "AMD", "RDNA2"),
        ("AMD Radeon RX 9060 XT", "AMD", "RDNA4"),
        ("AMD Radeon PRO W7900", "AMD", "RDNA3"),
        ("AMD Custom GPU 0405 (RADV VANGOGH)", "AMD", "RDNA2"),
        ("AMD Instinct MI250X", "AMD", "CDNA2"),
        ("AMD Instinct MI300X", "AMD", "CDNA3"),
        ("AMD Radeon R9 200 Series (RADV HAWAII)", "AMD", "GCN2"),
        ("AMD Radeon RX 5700 XT OpenGL Engine", "AMD", "RDNA1"),
        ("AMD Radeon R9 M290X OpenGL Engine", "AMD", "GCN1"),
        ("ANGLE (AMD, AMD Radeon RX 7600 (0x00007480) Direct3D11 vs_5_0 ps_5_0, D3D11)", "AMD", "RDNA3"),
        ("ANGLE (Apple, ANGLE Metal Renderer: Apple M3 Max, Unspecified Version)", "Apple", "M3"),
        ("ANGLE (Apple, ANGLE Metal Renderer: AMD Radeon Pro 5300M, Unspecified Version)", "AMD", "RDNA1"),
        ("zink Vulkan 1.3(NVIDIA GeForce GTX 1070 (NVIDIA_PROPRIETARY))", "NVIDIA", "Pascal"),
        ("Intel(R) Arc(TM) 140V GPU (16GB)", "Intel", "Xe2"),
        ("Intel(R) Arc(TM) A380 Graphics (DG2)", "Intel", "Xe-HPG"),
        ("Mesa Intel(R) UHD Graphics 770 (ADL-S GT1)", "Intel", "Gen12LP"),
        ("Intel(R) HD Graphics 5500 (BDW GT2)", "Intel", "Gen8"),
        ("Intel(R) UHD Graphics 600 (GLK 2)", "Intel", "Gen9"),
        ("Snapdragon(R) X Elite - X1E80100 - Qualcomm(R) Adreno(TM) GPU", "Qualcomm", "Adreno 7xx"),
        ("Adreno (TM) 750", "Qualcomm", "Adreno 7xx"),
        ("FD630", "unknown", "unknown"),
        ("Mali-G710", "ARM", "Valhall"),
        ("Mali-G52 (Panfrost)", "ARM", "Bifrost"),
        ("Immortalis-G720", "ARM", "5th gen"),
        ("Samsung Xclipse 940", "Samsung", "RDNA3"),
        ("PowerVR B-Series BXM-8-256", "Imagination", "PowerVR B-Series"),
        ("Apple M2 Ultra", "Apple", "M2"),
        ("Apple A17 Pro GPU", "Apple", "A17"),
    ];
    let found = others.map(|(name, ..)| (name, named(name).vendor, named(name).architecture));
    let misses: Vec<_> = found.iter().zip(&others).filter(|(found, expected)| found != expected).collect();
    assert!(misses.is_empty(), "found, expected: {misses:#?}");
}

#[test]
fn software_and_virtual_gpus_outside_the_recorded_ones_are_recognized() {
    for name in [
        "llvmpipe",
        "softpipe",
        "Mesa Software Rasterizer",
        "Apple Software Renderer",
        "GDI Generic",
        "D3D12 (Microsoft Basic Render Driver)",
        "virgl (LLVMPIPE (LLVM 15.0.7, 256 bits))",
        "zink Vulkan 1.3(llvmpipe (LLVM 17.0.6, 256 bits) (MESA_LLVMPIPE))",
        "SWR (LLVM 11.0, 256 bits)",
    ] {
        assert_eq!(named(name).kind, GpuKind::Software, "{name}");
    }
    for name in [
        "Apple Paravirtual device",
        "Apple iOS simulator GPU",
        "SVGA3D; build: RELEASE;  LLVM;",
        "virgl",
        "Virtio-GPU GFXStream (NVIDIA GeForce RTX 3080)",
        "Android Emulator OpenGL ES Translator (NVIDIA GeForce GTX 1060)",
        "Parsec Virtual Display Adapter",
        "NVIDIA A10-8Q",
        "VirtualBox Graphics Adapter (WDDM)",
        "Red Hat QXL controller",
    ] {
        assert_eq!(named(name).kind, GpuKind::Virtual, "{name}");
    }
    let cpu = Description { name: "NVIDIA GeForce RTX 3080", device_type: "Cpu", ..Description::default() };
    assert_eq!(classify(&cpu).kind, GpuKind::Software);
    let slice = Description {
        name: "NVIDIA L4",
        vendor_id: 0x10de,
        device_id: 0x27b8,
        device_type: "VirtualGpu",
        ..Description::default()
    };
    let found = classify(&slice);
    assert_eq!((found.vendor, found.architecture, found.kind), ("NVIDIA", "Ada Lovelace", GpuKind::Virtual));
}

#[test]
fn the_device_id_precedes_the_name_and_mesas_vendor_id_is_not_software() {
    assert_eq!(with_id(0x1002, 0x13c0, "").architecture, "RDNA2");
    assert_eq!(with_id(0x10de, 0x13c0, "").architecture, "Maxwell");
    assert_eq!(with_id(0x1002, 0x164c, "AMD Radeon RX 6600").architecture, "GCN5");
    let honeykrisp = with_id(0x10005, 0x1, "Apple M1 (G13G B1)");
    assert_eq!((honeykrisp.vendor, honeykrisp.architecture, honeykrisp.kind), ("Apple", "M1", GpuKind::Hardware));
    let dawn =
        Description { name: "0x164c", webgpu_vendor: "amd", webgpu_architecture: "rdna-2", ..Description::default() };
    assert_eq!(classify(&dawn).architecture, "GCN5");
}

#[test]
fn unknown_architectures_and_vendors_are_not_guessed() {
    for name in
        ["NVIDIA RTX 6000", "AMD Radeon Graphics", "Intel(R) UHD Graphics", "Apple GPU", "NVIDIA GeForce RTX 9080"]
    {
        let found = named(name);
        assert_ne!(found.vendor, UNKNOWN, "{name}");
        assert_eq!((found.architecture, found.kind), (UNKNOWN, GpuKind::Hardware), "{name}");
    }
    for name in ["", "GPU", "\u{0}\u{fffd}™", "Harmony 3000"] {
        assert_eq!(
            named(name),
            Architecture { vendor: UNKNOWN, architecture: UNKNOWN, kind: GpuKind::Unknown },
            "{name}"
        );
    }
}
