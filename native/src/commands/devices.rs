//! What GPUs this machine lists, and what they are.

use crate::{
    cli::DevicesArgs,
    compute,
    output::{self, Exit, say},
};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::compute::gpu::{self, TuneOutcome, Tuned};
use serde_json::{Value, json};

/// Lists GPUs; tested, also each kernel's lowerings: those that pass, and the one that it would run by.
pub(crate) fn run(args: DevicesArgs) -> Result<Exit> {
    let devices = block_on(gpu::devices());
    if devices.is_empty() {
        eprintln!("this machine lists no GPU: no Vulkan loader or driver (on Debian and Ubuntu: libvulkan1)");
    }
    for (number, device) in devices.iter().enumerate() {
        let class = device.architecture;
        let tested = (args.test || args.json).then(|| compute::open(device).map(|(_, tuning)| tuning.kernels));
        if args.json {
            let error = tested.as_ref().and_then(|tested| tested.as_ref().err()).map(|error| format!("{error:#}"));
            let kernels = tested.iter().flatten().flatten();
            let lowerings: serde_json::Map<_, _> =
                kernels.map(|tuned| (tuned.kernel.name.to_owned(), lowerings(tuned))).collect();
            output::line(json!({
                "number": number, "name": device.name, "api": device.graphics_api, "driver": device.driver,
                "vendor": class.vendor, "architecture": class.architecture, "software": device.software,
                "buffer_bytes": device.buffer_bytes, "binding_bytes": device.binding_bytes,
                "passes": error.is_none(), "error": error, "lowerings": lowerings,
            }));
        } else {
            say!("{number}: {device} · {} {}", class.vendor, class.architecture);
            match tested {
                None => {}
                Some(Ok(kernels)) => kernels.iter().for_each(|tuned| say!("   {tuned}")),
                Some(Err(error)) => say!("   {error:#}"),
            }
        }
    }
    Ok(Exit::Ok)
}

fn lowerings(tuned: &Tuned) -> Value {
    let passes = |outcome: &TuneOutcome| matches!(outcome, TuneOutcome::Passes { .. });
    let passed = tuned.tried.iter().filter(|(_, outcome)| passes(outcome)).map(|(lowering, _)| lowering.name);
    json!({ "passed": passed.collect::<Vec<_>>(), "chosen": tuned.chosen.name })
}
