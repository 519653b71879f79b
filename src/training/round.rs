//! The end of a round, at which the optimizer takes one step with the mean of the accepted gradients.

use super::optimizer::Optimizer;
use crate::{
    error::Error,
    protocol::{AdapterState, Aggregate},
};

impl AdapterState {
    /// Returns the adapter and the state of its optimizer after the round `round`. The optimizer takes one step with
    /// the mean gradient of the round. If all artifacts of the round are void, the adapter and the state remain
    /// unchanged.
    pub fn after(mut self, round: &Aggregate) -> Result<Self, Error> {
        if round.tokens > 0 {
            let mut optimizer = Optimizer::from_bytes(&self.optimizer)?;
            optimizer.step(&mut self.adapter, &round.matrices, round.tokens)?;
            self.optimizer = optimizer.to_bytes();
        }
        Ok(self)
    }
}
