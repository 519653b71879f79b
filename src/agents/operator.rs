//! An operator has the role of a verifier, which recomputes the gradients for which it is sampled. It can also have the
//! roles of a proposer, which aggregates rounds, and of a challenger, which disputes wrong gradients.

use super::{
    Action, Aggregator, Chain, Challenger, ContentStore, ModelReplay, Proposer, Recomputation, Recompute, ReplayTask,
    RoleError, Verifier,
};
use crate::{
    client::{Client, ClientError},
    compute::Backend,
    dispute::prover::AdapterLayout,
    model::{transformer::Targets, weights::Model},
    store::Cid,
    training::worker::Worker,
};

/// The purpose that is passed to [`Client::secret`] to derive a secret salt from the operator's key. The salt prevents
/// others from guessing what the operator has committed to before the operator reveals it.
const SALT_PURPOSE: &str = "sealing salt";

/// An operator, which is always a verifier, and can also be a proposer and a challenger.
pub struct Operator<C, W = Worker, A = AdapterLayout, R: ReplayTask = ModelReplay> {
    client: C,
    verifier: Verifier<W>,
    proposer: Option<Proposer<A>>,
    challenger: Option<Challenger<R>>,
}

/// What an operator has done in one step.
pub enum CompletedDuty {
    /// As a verifier, the operator recomputed a gradient for which it was sampled.
    Recomputed(Recomputation),
    /// As a proposer, the operator aggregated a round. The value is the CID of the next adapter.
    Aggregated(Cid),
    /// As a challenger, the operator took part in a dispute, or recomputed a gradient to decide whether to dispute it.
    Disputed(Action),
}

impl<H> Operator<Client<H>> {
    /// Creates an operator that is only a verifier, with a worker that recomputes the gradients.
    pub fn new(client: Client<H>, worker: Worker) -> Result<Self, ClientError> {
        let verifier = Verifier::new(worker, client.secret(SALT_PURPOSE)?);
        Ok(Self { client, verifier, proposer: None, challenger: None })
    }

    /// Makes the operator a proposer too. `layout` describes how the job's adapter is packed into buffers.
    pub fn with_proposer(self, layout: AdapterLayout) -> Result<Self, ClientError> {
        let proposer = Proposer::new(layout, self.client.secret(SALT_PURPOSE)?);
        Ok(Self { proposer: Some(proposer), ..self })
    }

    /// Makes the operator a challenger too. The challenger runs the tasks of disputed gradients on `backend`.
    pub fn with_challenger(self, model: Model, targets: Targets, backend: Backend) -> Self {
        Self { challenger: Some(Challenger::new(ModelReplay::new(model, targets, backend))), ..self }
    }
}

impl<C, W, A, R> Operator<C, W, A, R>
where
    C: Chain + ContentStore,
    W: Recompute,
    A: Aggregator,
    R: ReplayTask,
{
    /// Creates an operator that has the given roles and acts through `client`.
    pub fn from_roles(
        client: C,
        verifier: Verifier<W>,
        proposer: Option<Proposer<A>>,
        challenger: Option<Challenger<R>>,
    ) -> Self {
        Self { client, verifier, proposer, challenger }
    }

    /// Returns the client through which the operator sends messages and fetches blocks.
    pub fn client(&self) -> &C {
        &self.client
    }

    /// Does what the operator must do next: as a verifier first, then as a proposer, then as a challenger. Returns
    /// `None` if there is nothing to report.
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
