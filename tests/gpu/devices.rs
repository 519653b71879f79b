//! Lists the GPUs that the tests use: the GPUs of all drivers of this machine, including software drivers in unusual
//! folders.

use libtest_mimic::{Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::compute::gpu::{self, Checks, Device, Gpu, Options};
use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    sync::OnceLock,
    time::Instant,
};

/// Parts of the names under which Vulkan's software drivers list their devices.
const SOFTWARE: [&str; 2] = ["llvmpipe", "SwiftShader"];
/// The folders that hold the manifests of Vulkan drivers.
const FOLDERS: [&str; 5] = [
    "/usr/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
];
/// The environment variable that lists the drivers for Vulkan's loader. The loader reads it once, so it must be set
/// before the process starts.
const DRIVER_FILES: &str = "VK_DRIVER_FILES";

/// Runs this test program again with all drivers in the variable, and returns the exit code. Returns `None` if the
/// variable is already set, by this function or by the caller.
pub(crate) fn name_drivers() -> Option<ExitCode> {
    if std::env::var_os(DRIVER_FILES).is_some() || cfg!(not(target_os = "linux")) {
        return None;
    }
    let entries = FOLDERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let is_driver = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains("icd") && name.ends_with(".json")
    };
    let files: Vec<_> = entries.map(|entry| entry.path()).filter(is_driver).collect();
    let files = std::env::join_paths(files).expect("no ':' in these folders");
    let itself = std::env::current_exe().expect("a test has a path");
    let mut child = Command::new(itself);
    child.args(std::env::args_os().skip(1)).env(DRIVER_FILES, files);
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        child.env("XDG_RUNTIME_DIR", std::env::temp_dir()); // Mesa warns without one
    }
    let code = child.status().ok().and_then(|status| status.code()).unwrap_or(101);
    Some(ExitCode::from(code as u8))
}

/// Returns whether this is a CI run, in which no driver may be missing.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Returns a test for each software driver, which checks that the driver is present. If it is missing, the test fails
/// in CI and is ignored elsewhere.
pub(crate) fn presence(gpus: &'static [Opened]) -> impl Iterator<Item = Trial> {
    SOFTWARE.into_iter().map(|name| {
        let here = gpus.iter().any(|gpu| gpu.listed.graphics_api == "vulkan" && gpu.listed.name.contains(name));
        let run = move || if here { Ok(()) } else { Err(Failed::from(format!("no Vulkan driver {name}"))) };
        Trial::test(format!("vulkan has {name}"), run).with_ignored_flag(!here && !in_ci())
    })
}

/// A GPU, opened at first use.
pub(crate) struct Opened {
    pub(crate) listed: Device,
    gpu: OnceLock<Result<Gpu, String>>,
}

/// Lists all GPUs.
pub(crate) fn all() -> &'static [Opened] {
    let opened = |listed| Opened { listed, gpu: OnceLock::new() };
    block_on(gpu::devices()).into_iter().map(opened).collect::<Vec<_>>().leak()
}

impl Opened {
    /// Returns the open GPU, which the tests share.
    pub(crate) fn gpu(&self) -> Result<&Gpu, Failed> {
        let open = || block_on(Gpu::open(&self.listed, options())).map_err(|error| error.to_string());
        self.gpu.get_or_init(open).as_ref().map_err(Failed::from)
    }

    /// Opens the GPU once more, with changed options.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Options)) -> Result<Gpu, Failed> {
        let mut options = options();
        change(&mut options);
        Ok(block_on(Gpu::open(&self.listed, options))?)
    }
}

/// Returns the default options, with a clock.
fn options() -> Options {
    let options = Options::new(|| {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
    });
    assert_eq!(options.checks, Checks::Trusted);
    options
}
