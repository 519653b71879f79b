//! `BitLinear`: one adapted BitNet linear on typed arrays, exact to the bit on the CPU and on any GPU.

use super::{backend, check::hex, tell::Tell};
use js_sys::{Float32Array, Object, Reflect};
use r3mes_wgpu::{
    compute::Backend,
    model::bit_linear::{self, BitLinearExecutor, Ternarize},
    protocol::task_key,
};
use serde::Deserialize;
use std::cell::RefCell;
use wasm_bindgen::prelude::{JsCast, JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface BitLinearOptions {
  /** 768 if left out, as is outFeatures. */
  inFeatures?: number;
  outFeatures?: number;
  /** 4 to 64; 8 if left out. */
  loraRank?: number;
  /** A whole number; 16 if left out. */
  loraAlpha?: number;
  /** [outFeatures, inFeatures], of which the signs are kept, 0 where below 0.1; drawn by the seed if left out. */
  weights?: Float32Array;
  /** A whole number below 2^53, from which a (and the weights) follow; 0 if left out. */
  seed?: number;
  /** cpu if left out. */
  backend?: "auto" | "gpu" | "cpu";
  /** It always is. */
  deterministic?: true;
}
export interface LoraParams {
  /** [rank, inFeatures] */
  a: Float32Array;
  /** [outFeatures, rank] */
  b: Float32Array;
  alpha: number;
}
export interface BitLinearGradients {
  /** As in `LoraParams`. */
  a: Float32Array;
  b: Float32Array;
  /** [rows, inFeatures] */
  x: Float32Array;
}
"#;

/// `BitLinearOptions` of the TypeScript above.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    in_features: Option<f64>,
    out_features: Option<f64>,
    lora_rank: Option<f64>,
    lora_alpha: Option<f64>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    weights: JsValue,
    seed: Option<f64>,
    backend: Option<String>,
    deterministic: Option<bool>,
}

/// `y = x · wᵀ + (alpha / rank) · x · aᵀ · bᵀ`, w frozen in −1, 0 and 1.
#[wasm_bindgen]
pub struct BitLinear {
    layer: RefCell<bit_linear::BitLinear>,
    backend: Backend,
    executor: RefCell<Placed>,
}

/// Where the layer is: one call computes at a time.
enum Placed {
    Nowhere,
    /// On the backend, for batches of so many rows.
    Ready(usize, Box<BitLinearExecutor>),
    Computing,
}

#[wasm_bindgen]
impl BitLinear {
    /// Draws or takes the weights, and opens the backend. Rejects with the option that is wrong.
    pub async fn create(
        #[wasm_bindgen(unchecked_optional_param_type = "BitLinearOptions")] options: JsValue,
    ) -> Result<BitLinear, JsValue> {
        let options = match options.is_undefined() {
            true => Options::default(),
            false => serde_wasm_bindgen::from_value(options)
                .map_err(|error| JsError::new(&format!("BitLinear options: {error}")))?,
        };
        if options.deterministic == Some(false) {
            return Err(JsError::new("deterministic: false is not to be had").into());
        }
        let in_features = whole("inFeatures", options.in_features, 768, MAX_FEATURES)? as usize;
        let out_features = whole("outFeatures", options.out_features, 768, MAX_FEATURES)? as usize;
        let rank = whole("loraRank", options.lora_rank, 8, 64)? as usize;
        let alpha = whole("loraAlpha", options.lora_alpha, 16, 1 << 16)? as u32;
        let seed = whole("seed", options.seed, 0, (1 << 53) - 1)?;
        let seed = task_key(&[0; 32], &format!("BitLinear {seed}"));
        let layer = if options.weights.is_undefined() {
            bit_linear::BitLinear::seeded(in_features, out_features, (rank, alpha), seed)
        } else {
            let weights: Float32Array =
                options.weights.dyn_into().map_err(|_| JsError::new("weights: not a Float32Array"))?;
            let ternarize = Ternarize::Sign { threshold: 0.1 };
            let weights = weights.to_vec();
            bit_linear::BitLinear::new(&weights, in_features, out_features, ternarize, (rank, alpha), seed)
        }
        .map_err(JsError::from)?;
        let wanted = options.backend.as_deref().unwrap_or("cpu");
        let backend = backend::open(wanted, &Tell::new(None)).await?.backend;
        Ok(Self { layer: RefCell::new(layer), backend, executor: RefCell::new(Placed::Nowhere) })
    }

    /// `y [rows, outFeatures]` of `x [rows, inFeatures]`.
    pub async fn forward(&self, x: Vec<f32>) -> Result<Vec<f32>, JsError> {
        let layer = self.layer.borrow().clone();
        let in_features = layer.backbone().columns;
        if x.is_empty() || !x.len().is_multiple_of(in_features) {
            return Err(JsError::new(&format!("x: {} values are not rows of {in_features}", x.len())));
        }
        let rows = x.len() / in_features;
        let mut executor = match self.take()? {
            Some((ready, mut executor)) if ready == rows => {
                *executor.layer() = layer;
                executor
            }
            _ => Box::new(layer.executor(&self.backend, rows).await.inspect_err(|_| self.put(Placed::Nowhere))?),
        };
        let y = executor.forward(&x).await;
        self.put(Placed::Ready(rows, executor));
        Ok(y?)
    }

    /// Gradients of the last forward pass, from `dy [rows, outFeatures]`. `key` (32 bytes; zeros if left out) keys the
    /// stochastic rounding of what is dropped: the same key gives the same bits.
    #[wasm_bindgen(unchecked_return_type = "BitLinearGradients")]
    pub async fn backward(&self, dy: Vec<f32>, key: Option<Vec<u8>>) -> Result<JsValue, JsError> {
        let key = key.map_or(Ok([0; 32]), <[u8; 32]>::try_from).map_err(|_| JsError::new("key: not 32 bytes"))?;
        let Some((rows, mut executor)) = self.take()? else {
            self.put(Placed::Nowhere);
            return Err(JsError::new("backward: there was no forward pass"));
        };
        let gradients = executor.backward(&dy, &key).await;
        self.put(Placed::Ready(rows, executor));
        let gradients = gradients?;
        Ok(object(&[("a", array(&gradients.a)), ("b", array(&gradients.b)), ("x", array(&gradients.x))]))
    }

    /// A copy of the adapter.
    #[wasm_bindgen(js_name = getLoraParams, unchecked_return_type = "LoraParams")]
    pub fn lora_params(&self) -> JsValue {
        let (a, b, alpha) = self.layer.borrow().lora_parameters();
        object(&[("a", array(&a)), ("b", array(&b)), ("alpha", alpha.into())])
    }

    /// Sets `a [rank, inFeatures]` and `b [outFeatures, rank]`, from the next forward pass on; rounded to 28 fraction
    /// bits. Throws, and changes nothing, where one has another length or a value outside ±8.
    #[wasm_bindgen(js_name = setLoraParams)]
    pub fn set_lora_params(&self, a: &[f32], b: &[f32]) -> Result<(), JsError> {
        Ok(self.layer.borrow_mut().set_lora_parameters(a, b)?)
    }

    /// Megabytes (2^20 bytes) of the adapter in f32: what there is to send instead of the weights.
    #[wasm_bindgen(js_name = estimateSizeMb)]
    pub fn estimate_size_mb(&self) -> f64 {
        self.layer.borrow().size_mb()
    }

    /// SHA-256 of the frozen weights, as 64 hexadecimal digits.
    #[wasm_bindgen(js_name = backboneDigest)]
    pub fn backbone_digest(&self) -> String {
        hex(&self.layer.borrow().backbone_digest())
    }

    /// Always: the same bits on every device.
    #[wasm_bindgen(getter)]
    pub fn deterministic(&self) -> bool {
        true
    }
}

impl BitLinear {
    /// The player, if there is one, for as long as a call computes.
    fn take(&self) -> Result<Option<(usize, Box<BitLinearExecutor>)>, JsError> {
        match self.executor.replace(Placed::Computing) {
            Placed::Nowhere => Ok(None),
            Placed::Ready(rows, executor) => Ok(Some((rows, executor))),
            Placed::Computing => Err(JsError::new("this layer computes: await the call before")),
        }
    }

    fn put(&self, placed: Placed) {
        self.executor.replace(placed);
    }
}

/// Most features of a side: a larger layer would not fit a browser's memory.
const MAX_FEATURES: u64 = 1 << 16;

/// A whole number in `1..=max`, or the error that names it. A seed may be 0.
fn whole(name: &str, given: Option<f64>, otherwise: u64, max: u64) -> Result<u64, JsError> {
    let min = otherwise.min(1);
    match given {
        None => Ok(otherwise),
        Some(value) if value.fract() == 0.0 && (min as f64..=max as f64).contains(&value) => Ok(value as u64),
        Some(value) => Err(JsError::new(&format!("{name}: {value} is no whole number in {min} to {max}"))),
    }
}

fn array(values: &[f32]) -> JsValue {
    Float32Array::from(values).into()
}

fn object(entries: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (key, value) in entries {
        // a fresh object refuses no property
        let _ = Reflect::set(&object, &(*key).into(), value);
    }
    object.into()
}
