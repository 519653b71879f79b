//! What a node's stake answers for: a verifier, which recomputes what it is drawn for, and a proposer, which adds up
//! rounds.

use super::remote::Remote;
use anyhow::{Context, Result};
use pollster::block_on;
use r3mes_wgpu::chain::client::{Client, Hope};
use r3mes_wgpu::roles::{Found, Proposer, RoleError, Verifier};
use r3mes_wgpu::store::Cid;
use r3mes_wgpu::work::Worker;
use std::{thread, time::Duration};

/// Sequences played at a time when something is recomputed: the bits are the same for any number.
pub(crate) const SEQUENCES: usize = 2;
/// Between two looks for a duty.
const IDLE: Duration = Duration::from_millis(50);
/// After a duty that could not be done.
const PAUSE: Duration = Duration::from_secs(1);
/// What keeps the operator's words sealed until it shows them.
const SEAL: &str = "sealing salt";

/// A verifier that may be a proposer too.
pub(crate) struct Operator {
    client: Client<Remote>,
    verifier: Verifier,
    proposer: Option<Proposer>,
}

/// A duty that was done.
pub(crate) enum Done {
    Recomputed(Found),
    Aggregated(Cid),
}

impl Operator {
    /// A verifier.
    pub(crate) fn new(client: Client<Remote>, worker: Worker) -> Result<Self> {
        let verifier = Verifier::new(worker, client.secret(SEAL)?);
        Ok(Self { client, verifier, proposer: None })
    }

    /// The same, that proposes too.
    pub(crate) fn proposing(self) -> Result<Self> {
        let proposer = Proposer::new(self.client.secret(SEAL)?);
        Ok(Self { proposer: Some(proposer), ..self })
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
                Ok(Some(_)) => {}
                Ok(None) => thread::sleep(IDLE),
                Err(error) => {
                    if error.hope() != Hope::Later {
                        eprintln!("verifier: {error}");
                    }
                    thread::sleep(PAUSE);
                }
            }
        };
        thread::Builder::new().name("operator".into()).spawn(repeat).context("starting a thread").map(drop)
    }

    /// Does the next thing, if there is one.
    pub(crate) fn work(&mut self) -> Result<Option<Done>, RoleError> {
        if let Some(found) = block_on(self.verifier.work(&self.client))? {
            return Ok(Some(Done::Recomputed(found)));
        }
        let Some(proposer) = &mut self.proposer else { return Ok(None) };
        Ok(block_on(proposer.work(&self.client))?.map(Done::Aggregated))
    }
}
