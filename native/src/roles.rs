//! The roles of a node's operator: a verifier, which recomputes what it is drawn for, a proposer, which adds up rounds, and
//! a challenger, which disputes what is wrong.

use super::{remote::Remote, sources::Sources};
use anyhow::{Context, Result};
use r3mes_wgpu::backend::Backend;
use r3mes_wgpu::chain::{SessionKey, client::Client};
use r3mes_wgpu::dispute::Packing;
use r3mes_wgpu::model::{transformer::Targets, weights::Model};
use r3mes_wgpu::roles::{Challenger, Deed, Proposer, RoleError, Verifier};
use r3mes_wgpu::work::Worker;
use sha2::{Digest, Sha256};
use std::{thread, time::Duration};

/// Sequences played at a time when something is recomputed: the bits are the same for any number.
pub(crate) const SEQUENCES: usize = 2;
/// Between two looks for a duty.
const IDLE: Duration = Duration::from_millis(50);
/// After a duty that could not be done.
const PAUSE: Duration = Duration::from_secs(1);

/// An operator of a node, with all roles.
pub(crate) struct Operator {
    verifier: Verifier<Remote>,
    proposer: Proposer<Remote>,
    challenger: Challenger<Remote>,
}

impl Operator {
    /// For the node at `url`, by the key of this secret. What the node lacks, gateways are asked for. It recomputes with the
    /// worker, packs what it adds up, and plays disputes with the model, what is adapted, and the backend.
    pub(crate) fn new(
        url: &str,
        gateways: &[String],
        secret: &[u8; 32],
        (worker, packing, (model, targets, backend)): (Worker, Packing, (Model, Targets, Backend)),
    ) -> Result<Self> {
        let client = || -> Result<_> {
            let remote = Remote::for_role(url)?.with_sources(Sources::gateways(gateways)?);
            Ok(Client::new(remote, SessionKey::new(secret)?))
        };
        let salt = Sha256::new().chain_update("r3mes-wgpu sealing salt").chain_update(secret).finalize().into();
        Ok(Self {
            verifier: Verifier::new(client()?, worker, salt),
            proposer: Proposer::new(client()?, packing, salt),
            challenger: Challenger::new(client()?, model, targets, backend),
        })
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
        let deed = pollster::block_on(self.challenger.work(self.verifier.worker()))?;
        match deed {
            Some(Deed::Recomputed(id, false)) => eprintln!("gradient {id} is wrong"),
            Some(Deed::Disputed(id)) => eprintln!("gradient {id} is disputed"),
            Some(Deed::Appealed(id)) => eprintln!("gradient {id} is right: appealed"),
            Some(Deed::Answered(dispute)) => eprintln!("dispute {dispute}: answered for the miner"),
            Some(Deed::Moved(_) | Deed::Recomputed(_, true)) | None => {}
        }
        Ok(found.is_some() || added.is_some() || deed.is_some())
    }
}
