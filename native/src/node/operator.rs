//! What a node's stake answers for: a verifier, which recomputes what it is drawn for, a proposer, which adds up rounds, and
//! a challenger, which disputes what is wrong.

use crate::{client::transport::Remote, threads};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::{
    agents::{Action, Challenger, Found, Proposer, RoleError, Verifier},
    client::{Client, ErrorClass},
    compute::Backend,
    dispute::prover::AdapterLayout,
    model::{transformer::Targets, weights::Model},
    store::Cid,
    training::worker::Worker,
};
use std::{thread, time::Duration};

/// Sequences played at a time when something is recomputed: the bits are the same for any number.
pub(crate) const SEQUENCES: usize = 2;
/// Between two looks for a duty.
const IDLE: Duration = Duration::from_millis(50);
/// After a duty that could not be done.
const PAUSE: Duration = Duration::from_secs(1);
/// What keeps the operator's words sealed until it shows them.
const SEAL: &str = "sealing salt";

/// A verifier that may be a proposer and a challenger too.
pub(crate) struct Operator {
    client: Client<Remote>,
    verifier: Verifier,
    proposer: Option<Proposer>,
    challenger: Option<Challenger>,
}

/// A duty that was done.
pub(crate) enum Done {
    Recomputed(Found),
    Aggregated(Cid),
    Disputed(Action),
}

impl Operator {
    /// A verifier.
    pub(crate) fn new(client: Client<Remote>, worker: Worker) -> Result<Self> {
        let verifier = Verifier::new(worker, client.secret(SEAL)?);
        Ok(Self { client, verifier, proposer: None, challenger: None })
    }

    /// The same, that proposes too.
    pub(crate) fn proposing(self, packing: AdapterLayout) -> Result<Self> {
        let proposer = Proposer::new(packing, self.client.secret(SEAL)?);
        Ok(Self { proposer: Some(proposer), ..self })
    }

    /// The same, that disputes what is wrong, and plays that on a backend.
    pub(crate) fn challenging(self, model: Model, targets: Targets, backend: Backend) -> Self {
        Self { challenger: Some(Challenger::new(model, targets, backend)), ..self }
    }

    /// Its node.
    pub(crate) fn client(&self) -> &Client<Remote> {
        &self.client
    }

    /// Does what is to be done, in a thread of its own that ends with the process.
    pub(crate) fn start(mut self) -> Result<()> {
        let repeat = move || loop {
            match self.work() {
                Ok(Some(Done::Recomputed(Found { id, result, reason: Some(reason), .. }))) => {
                    eprintln!("gradient {id}: {result}, {reason}");
                }
                Ok(Some(Done::Disputed(deed))) => {
                    if let Some(words) = told(deed) {
                        eprintln!("{words}");
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => thread::sleep(IDLE),
                Err(error) => {
                    if error.class() != ErrorClass::Retryable {
                        eprintln!("verifier: {error}");
                    }
                    thread::sleep(PAUSE);
                }
            }
        };
        threads::start("operator", repeat)
    }

    /// Does the next thing, if there is one.
    pub(crate) fn work(&mut self) -> Result<Option<Done>, RoleError> {
        if let Some(found) = block_on(self.verifier.work(&self.client))? {
            return Ok(Some(Done::Recomputed(found)));
        }
        if let Some(proposer) = &mut self.proposer
            && let Some(adapter) = block_on(proposer.work(&self.client))?
        {
            return Ok(Some(Done::Aggregated(adapter)));
        }
        let Some(challenger) = &mut self.challenger else { return Ok(None) };
        Ok(block_on(challenger.work(&self.client, self.verifier.worker()))?.map(Done::Disputed))
    }
}

/// What a challenger did that people want to know.
pub(crate) fn told(deed: Action) -> Option<String> {
    Some(match deed {
        Action::Recomputed(id, false) => format!("gradient {id} is wrong"),
        Action::Disputed(id) => format!("gradient {id} is disputed"),
        Action::Appealed(id) => format!("gradient {id} is right: appealed"),
        Action::Answered(dispute) => format!("dispute {dispute}: answered for the miner"),
        Action::Moved(_) | Action::Recomputed(_, true) => return None,
    })
}
