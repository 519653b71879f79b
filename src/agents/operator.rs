//! An operator: a verifier, which recomputes the gradients for which it is sampled. It may also be a proposer, which
//! aggregates rounds, and a challenger, which disputes wrong gradients.

use super::{Action, Challenger, Proposer, Recomputation, RoleError, Verifier};
use crate::{
    client::{Client, ClientError, Host},
    compute::Backend,
    dispute::prover::AdapterLayout,
    model::{transformer::Targets, weights::Model},
    store::Cid,
    training::worker::Worker,
};

/// The purpose from which the key derives the secret salt that hides an operator's commitments until they are revealed.
const SALT_PURPOSE: &str = "sealing salt";

/// A verifier that may also be a proposer and a challenger.
pub struct Operator<H> {
    client: Client<H>,
    verifier: Verifier,
    proposer: Option<Proposer>,
    challenger: Option<Challenger>,
}

/// A duty that an operator has done.
pub enum CompletedDuty {
    /// It recomputed a gradient for which it was sampled.
    Recomputed(Recomputation),
    /// It aggregated a round. Contains the CID of the next adapter.
    Aggregated(Cid),
    /// It took part in a dispute, or recomputed a gradient to decide whether to dispute it.
    Disputed(Action),
}

impl<H: Host> Operator<H> {
    /// Creates an operator that is a verifier only. `worker` recomputes the gradients.
    pub fn new(client: Client<H>, worker: Worker) -> Result<Self, ClientError> {
        let verifier = Verifier::new(worker, client.secret(SALT_PURPOSE)?);
        Ok(Self { client, verifier, proposer: None, challenger: None })
    }

    /// Adds the role of a proposer. `layout` is the layout of the job's adapter.
    pub fn with_proposer(self, layout: AdapterLayout) -> Result<Self, ClientError> {
        let proposer = Proposer::new(layout, self.client.secret(SALT_PURPOSE)?);
        Ok(Self { proposer: Some(proposer), ..self })
    }

    /// Adds the role of a challenger, which runs disputed tasks on `backend`.
    pub fn with_challenger(self, model: Model, targets: Targets, backend: Backend) -> Self {
        Self { challenger: Some(Challenger::new(model, targets, backend)), ..self }
    }

    /// Returns the client of the operator's node.
    pub fn client(&self) -> &Client<H> {
        &self.client
    }

    /// Does the next duty. Returns `None` if there is nothing to do.
    pub async fn work(&mut self) -> Result<Option<CompletedDuty>, RoleError> {
        if let Some(found) = self.verifier.work(&self.client).await? {
            return Ok(Some(CompletedDuty::Recomputed(found)));
        }
        if let Some(proposer) = &mut self.proposer
            && let Some(adapter) = proposer.work(&self.client).await?
        {
            return Ok(Some(CompletedDuty::Aggregated(adapter)));
        }
        let Some(challenger) = &mut self.challenger else { return Ok(None) };
        Ok(challenger.work(&self.client, self.verifier.worker()).await?.map(CompletedDuty::Disputed))
    }
}
