//! The JavaScript class `BitLinear`: one BitNet linear layer with a LoRA adapter, which computes on typed arrays. The
//! CPU and every GPU return the same bits.

use super::{backend, check::hex, event_sink::EventSink};
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
  /** The number of input features, 1 to 65536; by default 768. */
  inFeatures?: number;
  /** The number of output features, 1 to 65536; by default 768. */
  outFeatures?: number;
  /** The rank of the LoRA adapter, 4 to 64; by default 8. */
  loraRank?: number;
  /** The LoRA alpha, an integer from 1 to 65536; by default 16. */
  loraAlpha?: number;
  /**
   * The weights, of shape [outFeatures, inFeatures]. A value with an absolute value below 0.1 becomes 0, any other
   * value becomes its sign, −1 or 1. By default, the weights are derived from the seed.
   */
  weights?: Float32Array;
  /** An integer from 0 to 2^53 − 1, by default 0. The factor a, and by default the weights, are derived from it. */
  seed?: number;
  /** The backend that computes; by default cpu. */
  backend?: "auto" | "gpu" | "cpu";
  /** Only true is supported: every backend returns the same bits. */
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
  /** [rank, inFeatures] */
  a: Float32Array;
  /** [outFeatures, rank] */
  b: Float32Array;
  /** [rows, inFeatures] */
  x: Float32Array;
}
"#;

/// The options of a layer: the Rust form of the TypeScript interface `BitLinearOptions`.
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

/// A layer that computes `y = x · wᵀ + (alpha / rank) · x · aᵀ · bᵀ`. Its weights `w` are frozen; each is −1, 0 or 1.
/// `a` and `b` are the factors of the LoRA adapter.
#[wasm_bindgen]
pub struct BitLinear {
    layer: RefCell<bit_linear::BitLinear>,
    backend: Backend,
    state: RefCell<ExecutorState>,
}

/// The state of the executor, which computes a layer's forward and backward passes. The executor serves one call at a
/// time.
enum ExecutorState {
    Absent,
    /// The executor is ready. It computes only batches with the given number of rows.
    Ready(usize, Box<BitLinearExecutor>),
    Busy,
}

#[wasm_bindgen]
impl BitLinear {
    /// Creates a layer and opens its backend. If an option is invalid, rejects with an error that names the option.
    pub async fn create(
        #[wasm_bindgen(unchecked_optional_param_type = "BitLinearOptions")] options: JsValue,
    ) -> Result<BitLinear, JsValue> {
        let options = match options.is_undefined() {
            true => Options::default(),
            false => serde_wasm_bindgen::from_value(options)
                .map_err(|error| JsError::new(&format!("the options of BitLinear are invalid: {error}")))?,
        };
        if options.deterministic == Some(false) {
            return Err(JsError::new("deterministic: false is not supported").into());
        }
        let in_features = integer("inFeatures", options.in_features, 768, MAX_FEATURES)? as usize;
        let out_features = integer("outFeatures", options.out_features, 768, MAX_FEATURES)? as usize;
        let rank = integer("loraRank", options.lora_rank, 8, 64)? as usize;
        let alpha = integer("loraAlpha", options.lora_alpha, 16, 1 << 16)? as u32;
        let seed = integer("seed", options.seed, 0, (1 << 53) - 1)?;
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
        let backend = backend::open(wanted, &EventSink::new(None)).await?.backend;
        Ok(Self { layer: RefCell::new(layer), backend, state: RefCell::new(ExecutorState::Absent) })
    }

    /// Computes the forward pass: returns the output `y`, of shape [rows, outFeatures]. The input `x` has the shape
    /// [rows, inFeatures].
    pub async fn forward(&self, x: Vec<f32>) -> Result<Vec<f32>, JsError> {
        let layer = self.layer.borrow().clone();
        let in_features = layer.backbone().columns;
        if x.is_empty() || !x.len().is_multiple_of(in_features) {
            return Err(JsError::new(&format!(
                "x has {} values, but their number must be a positive multiple of {in_features}",
                x.len()
            )));
        }
        let rows = x.len() / in_features;
        let mut executor = match self.take()? {
            Some((ready, mut executor)) if ready == rows => {
                *executor.layer() = layer;
                executor
            }
            _ => Box::new(layer.executor(&self.backend, rows).await.inspect_err(|_| self.put(ExecutorState::Absent))?),
        };
        let y = executor.forward(&x).await;
        self.put(ExecutorState::Ready(rows, executor));
        Ok(y?)
    }

    /// Computes the backward pass that belongs to the last forward pass: returns the gradients of `a`, `b` and `x`,
    /// given the gradient `dy` of `y`, of shape [rows, outFeatures]. `key` (32 bytes, by default zeros) determines the
    /// stochastic rounding: the same key gives the same bits.
    #[wasm_bindgen(unchecked_return_type = "BitLinearGradients")]
    pub async fn backward(&self, dy: Vec<f32>, key: Option<Vec<u8>>) -> Result<JsValue, JsError> {
        let key = key.map_or(Ok([0; 32]), <[u8; 32]>::try_from).map_err(|_| JsError::new("key: not 32 bytes"))?;
        let Some((rows, mut executor)) = self.take()? else {
            self.put(ExecutorState::Absent);
            return Err(JsError::new("backward: no forward pass has been computed"));
        };
        let gradients = executor.backward(&dy, &key).await;
        self.put(ExecutorState::Ready(rows, executor));
        let gradients = gradients?;
        Ok(object(&[("a", array(&gradients.a)), ("b", array(&gradients.b)), ("x", array(&gradients.x))]))
    }

    /// Returns a copy of the adapter: its factors `a` and `b`, and `alpha`.
    #[wasm_bindgen(js_name = getLoraParams, unchecked_return_type = "LoraParams")]
    pub fn lora_params(&self) -> JsValue {
        let (a, b, alpha) = self.layer.borrow().lora_parameters();
        object(&[("a", array(&a)), ("b", array(&b)), ("alpha", alpha.into())])
    }

    /// Sets the factors `a`, of shape [rank, inFeatures], and `b`, of shape [outFeatures, rank]. The values are rounded
    /// to 28 fraction bits, and take effect in the next forward pass. If an array has the wrong length or contains a
    /// value outside of ±8, throws and changes nothing.
    #[wasm_bindgen(js_name = setLoraParams)]
    pub fn set_lora_params(&self, a: &[f32], b: &[f32]) -> Result<(), JsError> {
        Ok(self.layer.borrow_mut().set_lora_parameters(a, b)?)
    }

    /// Returns the size of the adapter in units of 2^20 bytes, with 4 bytes (an f32) for each parameter. The frozen
    /// weights are not included, because only the adapter is transferred.
    #[wasm_bindgen(js_name = estimateSizeMb)]
    pub fn estimate_size_mb(&self) -> f64 {
        self.layer.borrow().size_mb()
    }

    /// Returns the SHA-256 hash of the frozen weights, as 64 hexadecimal digits.
    #[wasm_bindgen(js_name = backboneDigest)]
    pub fn backbone_digest(&self) -> String {
        hex(&self.layer.borrow().backbone_digest())
    }

    /// Whether the layer computes the same bits on every device. This is always true.
    #[wasm_bindgen(getter)]
    pub fn deterministic(&self) -> bool {
        true
    }
}

impl BitLinear {
    /// Removes the executor from the state of the layer, so that no other call can use it until the current call puts
    /// it back. Returns `None` before the first forward pass, and an error if another call is in progress.
    fn take(&self) -> Result<Option<(usize, Box<BitLinearExecutor>)>, JsError> {
        match self.state.replace(ExecutorState::Busy) {
            ExecutorState::Absent => Ok(None),
            ExecutorState::Ready(rows, executor) => Ok(Some((rows, executor))),
            ExecutorState::Busy => Err(JsError::new("this layer is busy; await the previous call")),
        }
    }

    fn put(&self, state: ExecutorState) {
        self.state.replace(state);
    }
}

/// The largest number of input features and of output features. A larger layer would not fit in a browser's memory.
const MAX_FEATURES: u64 = 1 << 16;

/// Returns the value of the integer option `name`, or `default` if the option is not given. The value must be from 1 to
/// `max`, or from 0 to `max` if `default` is 0. If it is outside of that range or not an integer, returns an error that
/// names the option.
fn integer(name: &str, given: Option<f64>, default: u64, max: u64) -> Result<u64, JsError> {
    let min = default.min(1);
    match given {
        None => Ok(default),
        Some(value) if value.fract() == 0.0 && (min as f64..=max as f64).contains(&value) => Ok(value as u64),
        Some(value) => Err(JsError::new(&format!("{name} is {value}, but must be an integer from {min} to {max}"))),
    }
}

fn array(values: &[f32]) -> JsValue {
    Float32Array::from(values).into()
}

fn object(entries: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (key, value) in entries {
        // setting a property of a new object cannot fail
        let _ = Reflect::set(&object, &(*key).into(), value);
    }
    object.into()
}
