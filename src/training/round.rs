//! The end of a round: one optimizer step along the mean of the accepted gradients.

use super::optimizer::Optimizer;
use crate::{
    error::Error,
    protocol::{AdapterState, Aggregate},
};

impl AdapterState {
    /// Returns the state after a round: one optimizer step along the round's mean gradient. If all artifacts are void, the
    /// state does not change.
    pub fn after(mut self, round: &Aggregate) -> Result<Self, Error> {
        if round.tokens > 0 {
            let mut optimizer = Optimizer::from_bytes(&self.optimizer)?;
            optimizer.step(&mut self.adapter, &round.matrices, round.tokens)?;
            self.optimizer = optimizer.to_bytes();
        }
        Ok(self)
    }
}
