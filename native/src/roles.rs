//! The roles of a node's operator: a verifier, which recomputes what it is drawn for, and a proposer, which adds up
//! rounds.

use super::{remote::Remote, sources::Sources};
use anyhow::{Context, Result};
use r3mes_wgpu::chain::{SessionKey, client::Client};
use r3mes_wgpu::roles::{Proposer, RoleError, Verifier};
use r3mes_wgpu::work::Worker;
use sha2::{Digest, Sha256};
use std::{thread, time::Duration};

/// Sequences played at a time when something is recomputed: the bits are the same for any number.
pub(crate) const SEQUENCES: usize = 2;
/// Between two looks for a duty.
const IDLE: Duration = Duration::from_millis(50);
/// After a duty that could not be done.
const PAUSE: Duration = Duration::from_secs(1);

/// An operator of a node, with both roles.
pub(crate) struct Operator {
    verifier: Verifier<Remote>,
    proposer: Proposer<Remote>,
}

impl Operator {
    /// For the node at `url`, by the key of this secret. What the node lacks, gateways are asked for.
    pub(crate) fn new(url: &str, gateways: &[String], secret: &[u8; 32], worker: Worker) -> Result<Self> {
        let client = || -> Result<_> {
            let remote = Remote::for_role(url)?.with_sources(Sources::gateways(gateways)?);
            Ok(Client::new(remote, SessionKey::new(secret)?))
        };
        let salt = Sha256::new().chain_update("r3mes-wgpu sealing salt").chain_update(secret).finalize().into();
        Ok(Self { verifier: Verifier::new(client()?, worker, salt), proposer: Proposer::new(client()?, salt) })
    }

    /// Does what is to be done, in a thread of its own that ends with the process.
    pub(crate) fn start(mut self) -> Result<()> {
        let repeat = move || loop {
            match self.work() {
                Ok(true) => {}
                Ok(false) => thread::sleep(IDLE),
                Err(error) => {
                    if !error.is_temporary() {
                        eprintln!("verifier: {error}");
                    }
                    thread::sleep(PAUSE);
                }
            }
        };
        thread::Builder::new().name("operator".into()).spawn(repeat).context("starting a thread").map(drop)
    }

    /// Whether there was anything to do.
    fn work(&mut self) -> Result<bool, RoleError> {
        let found = pollster::block_on(self.verifier.work())?;
        if let Some(found) = &found
            && let Some(reason) = &found.reason
        {
            eprintln!("gradient {}: {}, {reason}", found.id, found.result);
        }
        let added = pollster::block_on(self.proposer.work())?;
        Ok(found.is_some() || added.is_some())
    }
}
