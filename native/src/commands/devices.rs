//! `devices`: lists the GPUs of this machine.

use crate::{
    compute,
    output::{self, Exit, note, say},
};
use anyhow::Result;
use clap::Args;
use pollster::block_on;
use r3mes_wgpu::compute::gpu::{self, TuneOutcome, Tuned};
use serde_json::{Value, json};

#[derive(Args, Default)]
pub(crate) struct DevicesArgs {
    /// Also compare each GPU's results with the kernels' expected outputs, and list for each kernel the lowerings (WGSL
    /// implementations) that pass the test and the one that would be used
    #[arg(long)]
    test: bool,
    /// Print one JSON object per GPU on stdout; this implies --test
    #[arg(long)]
    json: bool,
}

/// Lists the GPUs. With `--test`, also lists for each kernel the lowerings (WGSL implementations) that pass the
/// known-answer tests, and the lowering that would be used.
pub(crate) fn run(args: DevicesArgs) -> Result<Exit> {
    let devices = block_on(gpu::devices());
    if devices.is_empty() {
        note!(
            "This machine lists no GPU: the Vulkan loader or a driver is missing (Debian and Ubuntu: install libvulkan1)."
        );
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
