//! What GPUs this machine lists, and what they are.

use super::{
    cli::DevicesArgs,
    compute,
    output::{self, Exit},
};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::backend::gpu::{self, Device};
use serde_json::{Value, json};

/// Lists GPUs; with `--test`, the lowering that each kernel would run by.
pub(crate) fn run(args: DevicesArgs) -> Result<Exit> {
    let devices = block_on(gpu::devices());
    if devices.is_empty() {
        eprintln!("this machine lists no GPU: no Vulkan loader or driver (on Debian and Ubuntu: libvulkan1)");
    }
    for (number, device) in devices.iter().enumerate() {
        let class = device.architecture;
        let tested = args.test.then(|| test(device));
        if args.json {
            output::line(&json!({
                "number": number, "name": device.name, "api": device.graphics_api, "driver": device.driver,
                "vendor": class.vendor, "architecture": class.architecture, "software": device.software,
                "buffer_bytes": device.buffer_bytes, "binding_bytes": device.binding_bytes, "lowerings": tested,
            }));
        } else {
            println!("{number}: {device} · {} {}", class.vendor, class.architecture);
            if let Some(tested) = tested {
                println!("   {tested}");
            }
        }
    }
    Ok(Exit::Ok)
}

fn test(device: &Device) -> Value {
    match compute::open(device) {
        Ok((_, tuning)) => {
            tuning.kernels.iter().map(|tuned| (tuned.kernel.name.to_owned(), Value::from(tuned.chosen.name))).collect()
        }
        Err(error) => Value::from(format!("{error:#}")),
    }
}
