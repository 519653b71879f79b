//! Finds out why a training step has no gradient: in which dispatch (kernel launch) a value first left the range of its
//! number format, and whether the cause is the model or the adapter.

use super::step::Trainer;
use crate::{error::Error, numbers::lora::LoraAdapter};
use std::fmt;

/// The largest magnitude of a parameter of a new adapter, 0.06 in Q3.28.
const NEW_MAX: u32 = 16_106_127;

/// Where in a training step a value first left the range of its number format, and whether the cause is the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saturation {
    /// Label of the dispatch (kernel launch) in which the value left its range, such as `head logits`.
    pub dispatch: String,
    /// Name of the kernel that the dispatch ran.
    pub kernel: &'static str,
    /// Whether a value also leaves its range with a new adapter, which does not change the model's results and has
    /// small parameters. In this case, the cause is the model, and not the training of the adapter.
    pub with_new_adapter: bool,
}

impl fmt::Display for Saturation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dispatch, kernel, with_new_adapter } = self;
        write!(f, "a value left the range of the arithmetic, first in {dispatch} (kernel {kernel}). ")?;
        if *kernel == "head_logits" {
            write!(f, "Logits must be within ±710 nats. ")?;
        }
        f.write_str(match with_new_adapter {
            true => "This also happens with a new adapter: the cause is the model, and no learning rate avoids it",
            false => {
                "This does not happen with a new adapter: the parameters of this one have become too large: train again \
                      from an earlier checkpoint with a lower learning rate"
            }
        })
    }
}

impl Trainer {
    /// Finds out where a value first leaves the range of its number format when the gradient of a chunk is computed,
    /// and whether the cause is the model or the adapter. Returns `None` if no value leaves its range. `adapter` is the
    /// adapter that was loaded last; `task_key` and `step` determine the pseudo-random bits of the rounding. This
    /// function is slow, because it computes the gradient up to two times, the first time with one dispatch (kernel
    /// launch) at a time.
    pub async fn explain_saturation(
        &mut self,
        adapter: &LoraAdapter,
        chunk: &[u32],
        task_key: &[u8; 32],
        step: u64,
    ) -> Result<Option<Saturation>, Error> {
        let (_, trace) = self.traced_gradient(chunk, task_key, step).await?;
        let Some(first) = trace.into_iter().find(|traced| traced.saturated) else { return Ok(None) };
        let exponents = self.exponents();
        self.load(&as_new(adapter), &exponents).await?;
        let with_new_adapter = self.gradient(chunk, task_key, step).await?.saturated;
        self.load(adapter, &exponents).await?;
        Ok(Some(Saturation { dispatch: first.label, kernel: first.kernel, with_new_adapter }))
    }
}

/// Returns a copy of an adapter, with its parameters made as small as those of a new adapter. The factors b are set to
/// 0. Each factor a is divided by an integer, so that the magnitude of no element exceeds [`NEW_MAX`].
fn as_new(adapter: &LoraAdapter) -> LoraAdapter {
    let mut new = adapter.clone();
    for pair in new.matrices.chunks_exact_mut(2) {
        let max = pair[0].values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
        let divisor = max.div_ceil(NEW_MAX).max(1) as i32;
        pair[0].values.iter_mut().for_each(|value| *value /= divisor);
        pair[1].values.fill(0);
    }
    new
}
