//! Lists the GPUs on which the tests run: the GPUs of all graphics drivers on this machine. These include software
//! drivers in folders where Vulkan's loader does not look.

use libtest_mimic::{Failed, Trial};
use pollster::block_on;
use r3mes_wgpu::compute::gpu::{self, Checks, Device, Gpu, Options};
use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    sync::OnceLock,
    time::Instant,
};

/// The names of Vulkan's software drivers. The name of a driver's device contains the name of the driver.
const SOFTWARE: [&str; 2] = ["llvmpipe", "SwiftShader"];
/// The folders that contain the manifests of Vulkan drivers. A manifest is a JSON file that describes one driver.
const FOLDERS: [&str; 5] = [
    "/usr/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
];
/// The environment variable that tells Vulkan's loader which drivers to load. The loader reads the variable only once,
/// so the variable must be set before the process starts.
const DRIVER_FILES: &str = "VK_DRIVER_FILES";

/// Runs this test program again in a new process, and returns the exit code of that process. In the new process, the
/// environment variable [`DRIVER_FILES`] lists the manifests of all drivers in [`FOLDERS`]. If the variable is already
/// set, or on a system other than Linux, returns `None` and starts no process.
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
        child.env("XDG_RUNTIME_DIR", std::env::temp_dir()); // Mesa warns if it is not set
    }
    let code = child.status().ok().and_then(|status| status.code()).unwrap_or(101);
    Some(ExitCode::from(code as u8))
}

/// Returns whether the tests run in CI. In CI, every software driver must be installed.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Returns a test for each software driver. The test checks that the driver is installed. If the driver is missing, the
/// test fails in CI and is ignored elsewhere.
pub(crate) fn presence(gpus: &'static [Opened]) -> impl Iterator<Item = Trial> {
    SOFTWARE.into_iter().map(|name| {
        let here = gpus.iter().any(|gpu| gpu.listed.graphics_api == "vulkan" && gpu.listed.name.contains(name));
        let run = move || if here { Ok(()) } else { Err(Failed::from(format!("{name} is not installed"))) };
        Trial::test(format!("the Vulkan driver {name} is installed"), run).with_ignored_flag(!here && !in_ci())
    })
}

/// A GPU that is opened when a test uses it for the first time.
pub(crate) struct Opened {
    pub(crate) listed: Device,
    gpu: OnceLock<Result<Gpu, String>>,
}

/// Lists the GPUs of all drivers, without opening them.
pub(crate) fn all() -> &'static [Opened] {
    let opened = |listed| Opened { listed, gpu: OnceLock::new() };
    block_on(gpu::devices()).into_iter().map(opened).collect::<Vec<_>>().leak()
}

impl Opened {
    /// Returns whether this is the software GPU SwiftShader and the machine also has llvmpipe, another software GPU.
    /// Tests that repeat all test cases or take a hundred training steps do not run on SwiftShader then, because
    /// llvmpipe takes a seventh of the time. In Chromium, SwiftShader computes the same test cases and the hundred
    /// steps, with the runtime checks that Chromium adds: see `tests/browser/check.test.mjs`.
    pub(crate) fn is_slow(&self, gpus: &[Self]) -> bool {
        let [fast, slow] = SOFTWARE;
        let has_fast = gpus.iter().any(|gpu| gpu.listed.graphics_api == "vulkan" && gpu.listed.name.contains(fast));
        has_fast && self.listed.name.contains(slow)
    }

    /// Returns the open GPU, which all tests share. The first call opens it.
    pub(crate) fn gpu(&self) -> Result<&Gpu, Failed> {
        let open = || block_on(Gpu::open(&self.listed, options())).map_err(|error| error.to_string());
        self.gpu.get_or_init(open).as_ref().map_err(Failed::from)
    }

    /// Opens the GPU a second time, with options that `change` has modified.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Options)) -> Result<Gpu, Failed> {
        let mut options = options();
        change(&mut options);
        Ok(block_on(Gpu::open(&self.listed, options))?)
    }
}

/// Returns the default options, with a clock that counts the milliseconds since its first use.
fn options() -> Options {
    let options = Options::new(|| {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
    });
    assert_eq!(options.checks, Checks::Trusted);
    options
}
