//! The end of a round: one optimizer step by the mean of the accepted gradients.

use super::optimizer::Optimizer;
use crate::{
    error::Error,
    protocol::{AdapterState, Aggregate},
};

impl AdapterState {
    /// The state after a round: one step of the optimizer by the round's mean gradient. A round of voids changes nothing.
    pub fn after(mut self, round: &Aggregate) -> Result<Self, Error> {
        if round.tokens > 0 {
            let mut optimizer = Optimizer::from_bytes(&self.optimizer)?;
            optimizer.step(&mut self.adapter, &round.matrices, round.tokens)?;
            self.optimizer = optimizer.to_bytes();
        }
        Ok(self)
    }
}
