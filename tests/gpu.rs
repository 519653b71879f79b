//! Every kernel, by every lowering, on every GPU here, software ones included: the twin's bits.
//!
//! A Vulkan driver is found at the start of a process, so the tests run in a child that is told of
//! all of them. A driver that is missing shows as an ignored test, in CI as a failure.

use libtest_mimic::{Arguments, Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::{
    backend::gpu::{self, Device, Gpu, Options},
    kernels::{self, Kernel, Lowering, cases::cases},
};
use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Software drivers that must be tried: their name among the devices, and their file.
const SOFTWARE: [(&str, &str); 2] = [("llvmpipe", "lvp_icd"), ("SwiftShader", "vk_swiftshader_icd")];
/// Where driver files lie.
const FOLDERS: [&str; 5] = [
    "/usr/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
];

fn main() -> ExitCode {
    const INSIDE: &str = "VK_DRIVER_FILES";
    if std::env::var_os(INSIDE).is_none() {
        let files = std::env::join_paths(driver_files()).expect("folders without ':'");
        let itself = std::env::current_exe().expect("the path of this test");
        let status = Command::new(itself).args(std::env::args_os().skip(1)).env(INSIDE, files).status();
        return ExitCode::from(status.ok().and_then(|status| status.code()).unwrap_or(101) as u8);
    }
    let arguments = Arguments::from_args();
    let gpus: Vec<_> = block_on(gpu::devices()).into_iter().map(open).collect();
    let gpus: &'static [Opened] = gpus.leak();
    let mut trials: Vec<_> = SOFTWARE.iter().map(|(name, _)| present(name, gpus)).collect();
    for opened in gpus {
        for kernel in kernels::ALL {
            for lowering in kernel.lowerings {
                let name = format!("{}.{} on {}", kernel.name, lowering.name, opened.listed);
                trials.push(Trial::test(name, move || equals_twin(opened.gpu()?, kernel, lowering)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// All driver files, those of hardware too.
fn driver_files() -> Vec<PathBuf> {
    let entries = FOLDERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let files = entries.map(|entry| entry.path());
    files
        .filter(|path| path.to_string_lossy().contains("_icd") && path.extension().is_some_and(|it| it == "json"))
        .collect()
}

/// A listed GPU, opened at first use.
struct Opened {
    listed: Device,
    gpu: OnceLock<Result<Gpu, String>>,
}

fn open(listed: Device) -> Opened {
    Opened { listed, gpu: OnceLock::new() }
}

impl Opened {
    fn gpu(&self) -> Result<&Gpu, Failed> {
        let gpu =
            self.gpu.get_or_init(|| block_on(Gpu::open(&self.listed, Options::new(clock))).map_err(|e| e.to_string()));
        gpu.as_ref().map_err(Failed::from)
    }
}

fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

/// A test that the driver is there: ignored without it, but required in CI.
fn present(name: &'static str, gpus: &'static [Opened]) -> Trial {
    let here = gpus.iter().any(|opened| opened.listed.graphics_api == "vulkan" && opened.listed.name.contains(name));
    let run = move || if here { Ok(()) } else { Err(format!("no Vulkan driver {name}").into()) };
    Trial::test(format!("{name} is here"), run).with_ignored_flag(!here && std::env::var_os("CI").is_none())
}

/// A new seed each run, or the one to repeat.
fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    *SEED.get_or_init(|| std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now))
}

fn equals_twin(gpu: &Gpu, kernel: &'static Kernel, lowering: &'static Lowering) -> Result<(), Failed> {
    let cases = cases(kernel, seed());
    if cases.is_empty() {
        return Err(format!("{} has no cases", kernel.name).into());
    }
    for case in cases {
        block_on(gpu::passes(gpu, lowering, &case)).map_err(|error| format!("SEED={} {error}", seed()))?;
    }
    Ok(())
}
