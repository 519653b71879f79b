//! Finds out why a training step has no gradient: which dispatch first had a value that left its range, and whether the
//! cause is the model or the adapter.

use super::step::Trainer;
use crate::{error::Error, numbers::lora::LoraAdapter};
use std::fmt;

/// Where a value first left its range, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saturation {
    /// Label of the dispatch, such as `head logits`.
    pub dispatch: String,
    /// Name of the kernel that the dispatch ran.
    pub kernel: &'static str,
    /// Whether a value also leaves its range if the adapter adds nothing to the model. The cause is then the model.
    pub without_adapter: bool,
}

impl fmt::Display for Saturation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dispatch, kernel, without_adapter } = self;
        write!(f, "a value left the range of the arithmetic, first in {dispatch} (kernel {kernel}). ")?;
        if *kernel == "head_logits" {
            write!(f, "Logits must be within ±710 nats. ")?;
        }
        f.write_str(match without_adapter {
            true => "This also happens without the adapter: the cause is the model, and no learning rate avoids it",
            false => {
                "This does not happen without the adapter, whose parameters have become too large: train again \
                      from an earlier checkpoint with a lower learning rate"
            }
        })
    }
}

impl Trainer {
    /// Returns why the gradient of a chunk saturates, or `None` if it does not saturate. The arguments are those of
    /// [`Self::gradient`], and `adapter` is the adapter that was loaded last. This computes the gradient up to two
    /// times and runs the dispatches one at a time, so it is slow.
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
        let mut without = adapter.clone();
        without.matrices.iter_mut().skip(1).step_by(2).for_each(|factor_b| factor_b.values.fill(0));
        self.load(&without, &exponents).await?;
        let without_adapter = self.gradient(chunk, task_key, step).await?.saturated;
        self.load(adapter, &exponents).await?;
        Ok(Some(Saturation { dispatch: first.label, kernel: first.kernel, without_adapter }))
    }
}
