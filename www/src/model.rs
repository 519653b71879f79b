//! Loads the model of a job from the cache or from the node. In both cases, the CID of the model's manifest must be the
//! one that the job states.

use super::host::{BrowserHost, exception, node_exception};
use r3mes_wgpu::{
    client::model_file,
    model::{config::Linear, file, manifest::model_manifest, transformer::Targets, weights::Model},
};
use wasm_bindgen::prelude::{JsError, JsValue};

/// Returns the model whose manifest has the CID `cid`. Fetches it from the node if the cache does not contain it.
pub(crate) async fn download(browser: &BrowserHost, cid: &str) -> Result<Model, JsValue> {
    let names = ["config.json", "model.safetensors"];
    let refused = |reason: String| exception("Refused", &format!("the node's model cannot be used: {reason}"));
    let checked = |files: &[Vec<u8>]| {
        let model = file::read(&files[0], &files[1]).map_err(|error| refused(error.to_string()))?;
        let found = model_manifest(&model).map_err(|error| refused(error.to_string()))?.cid().to_string();
        match found == cid {
            true => Ok(model),
            false => Err(refused(format!("the manifest of the received model has the CID {found}, not {cid}"))),
        }
    };
    let mut files = Vec::new();
    for name in names {
        files.extend(browser.load(&format!("{cid}.{name}")).await);
    }
    if files.len() == names.len()
        && let Ok(model) = checked(&files)
    {
        return Ok(model);
    }
    files.clear();
    for name in names {
        files.push(model_file(browser, name).await.map_err(|error| node_exception(&error.into()))?);
    }
    let model = checked(&files)?;
    for (name, bytes) in names.iter().zip(&files) {
        browser.save(&format!("{cid}.{name}"), bytes).await;
    }
    Ok(model)
}

/// Returns the linear layers that a job adapts, given the rank and the names of the layers. Returns an error if this
/// program does not know one of the names.
pub(crate) fn targets(rank: u32, names: &[String]) -> Result<Targets, JsError> {
    let linear = |name: &String| Linear::ALL.into_iter().find(|linear| linear.name() == name);
    let linears: Option<Vec<_>> = names.iter().map(linear).collect();
    let linears = linears.ok_or_else(|| {
        JsError::new(&format!(
            "the job adapts a layer that this program does not know; the layers of the job are {}",
            names.join(", ")
        ))
    })?;
    Ok(Targets { rank: rank as usize, linears })
}
