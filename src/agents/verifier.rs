//! A verifier recomputes what it is drawn for: it seals what it finds, then shows it.

#[cfg(test)]
mod tests;

use super::{RoleError, hex};
use crate::{
    client::{Blocks, Client, ClientError, Duty, ErrorClass, FetchError, Host},
    protocol::{Commitment, Task},
    store::Codec,
    training::worker::Worker,
    tx::{Message, MsgCommitAttestation, MsgRevealAttestation, MsgSubmitCPUVerification, code},
};
use std::collections::BTreeMap;

/// Seconds of the chain's time in which an artifact that nobody has may be on its way from one node to another.
const PATIENCE_SECONDS: u64 = 10;

/// A worker that recomputes.
pub struct Verifier {
    worker: Worker,
    salt: [u8; 32],
    /// What was found in challenges that are still open.
    found: BTreeMap<u64, Found>,
    /// Of those, what waits for an artifact's bytes.
    awaited: BTreeMap<u64, Awaited>,
}

/// A match, once the bytes are there.
struct Awaited {
    found: Found,
    /// The chain's time at the first and the last look for them.
    looked: [u64; 2],
    /// Blocks that are left when they are waited for no more: half of those that were.
    least_blocks: u64,
}

/// What a recomputation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of the gradient.
    pub id: u64,
    /// `match`, `mismatch` or `unavailable`.
    pub result: &'static str,
    /// Why, where it is not a match.
    pub reason: Option<String>,
    /// What was computed.
    commitment: Commitment,
    /// The leaf of the trace that the challenge asks for, hexadecimal; empty for a void.
    leaf: String,
}

impl Verifier {
    /// `salt` is secret and random: it keeps what is committed from being guessed.
    pub fn new(worker: Worker, salt: [u8; 32]) -> Self {
        Self { worker, salt, found: BTreeMap::new(), awaited: BTreeMap::new() }
    }

    /// What it recomputes with.
    pub fn worker(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// Does the next duty, if there is one; returns what it recomputed. The bytes of a right
    /// gradient that nobody has are looked for again for a while, as long as blocks are left for a word about it.
    pub async fn work<H: Host>(&mut self, client: &Client<H>) -> Result<Option<Found>, RoleError> {
        let duties = client.duties().await?;
        let open = |challenge: &u64| duties.iter().any(|duty| duty.challenge_id == *challenge);
        self.found.retain(|challenge, _| open(challenge));
        self.awaited.retain(|challenge, _| open(challenge));
        let mut missing = None;
        for duty in duties.iter().filter(|duty| !duty.done) {
            let mut fresh = None;
            let found = match self.found.get(&duty.challenge_id) {
                Some(found) => found.clone(),
                // a verifier that was started anew finds the same
                None => match self.find(client, duty).await {
                    Ok(None) => continue,
                    Ok(Some(found)) => {
                        self.found.insert(duty.challenge_id, found.clone());
                        fresh.insert(found).clone()
                    }
                    // another duty may be done meanwhile
                    Err(error) if error.class() == ErrorClass::Failover => {
                        missing = missing.or(Some(error));
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            match client.send(self.word(client.address(), duty, &found)).await {
                // or the stage ended meanwhile
                Ok(_) | Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(fresh);
        }
        missing.map_or(Ok(None), Err)
    }

    /// What a gradient is; `None` while its bytes are waited for.
    async fn find<H: Host>(&mut self, client: &Client<H>, duty: &Duty) -> Result<Option<Found>, RoleError> {
        let id = duty.challenge_id;
        let awaited = self.awaited.get(&id);
        if let Some(Awaited { looked: [_, last], least_blocks, .. }) = awaited
            && duty.blocks_left > *least_blocks
            && client.job().await?.time == *last
        {
            return Ok(None);
        }
        let found = match awaited {
            Some(Awaited { found, .. }) => found.clone(),
            None => self.recompute(client, duty).await?,
        };
        if let Some(said) = self.committed_before(client.address(), duty, &found) {
            return Ok(Some(said));
        }
        if found.result != "match" {
            return Ok(Some(found));
        }
        let why = match Blocks::of_artifact(client.host(), &duty.ipfs_hash).await {
            Ok(_) => None,
            Err(FetchError::Client(error)) => {
                let now = client.job().await?.time;
                let fresh =
                    || Awaited { found: found.clone(), looked: [now; 2], least_blocks: duty.blocks_left / 2 + 1 };
                let Awaited { looked: [first, last], least_blocks, .. } = self.awaited.entry(id).or_insert_with(fresh);
                *last = now;
                // who does not answer may have it
                let patient = error.is_temporary() || now < first.saturating_add(PATIENCE_SECONDS);
                if patient && duty.blocks_left > *least_blocks {
                    client.host().another();
                    return Ok(None);
                }
                Some(error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        self.awaited.remove(&id);
        let result = if why.is_none() { "match" } else { "unavailable" };
        Ok(Some(Found { result, reason: why, ..found }))
    }

    /// What a gradient is, if its bytes are there.
    async fn recompute<H: Host>(&mut self, client: &Client<H>, duty: &Duty) -> Result<Found, RoleError> {
        let task = Task::decode(&client.block(Codec::DagCbor, &duty.task).await?)?;
        let inputs = Blocks::of_task(client.host(), &task).await?;
        let (mine, leaf) = self.worker.attest(&task, &duty.selector, &|cid| inputs.get(cid)).await?;
        let commitment = Commitment::new(&task, &mine.gradient_root());
        let leaf = leaf.map_or(String::new(), |leaf| hex(&leaf));
        let found = |result, reason| Found { id: duty.stored_gradient_id, result, reason, commitment, leaf };
        if commitment.to_string() != duty.gradient_hash {
            return Ok(found("mismatch", Some(format!("the commitment is {commitment}"))));
        }
        // an artifact has one encoding
        if mine.dag()?.root != duty.ipfs_hash {
            return Ok(found("unavailable", Some("the artifact is not what the commitment is of".to_owned())));
        }
        Ok(found("match", None))
    }

    /// What a verifier that was started anew had found when it committed that: the bytes may have come or gone meanwhile.
    fn committed_before(&self, verifier: &str, duty: &Duty, found: &Found) -> Option<Found> {
        let committed = duty.committed.as_ref().filter(|_| duty.stage == "reveal")?;
        let reason = Some("the artifact was not to be had when that was committed".to_owned());
        let absent = Found { result: "unavailable", reason, ..found.clone() };
        let mut found = [found.clone(), absent].into_iter();
        found.find(|found| hex(&self.shown(verifier, duty.challenge_id, found).commitment()) == *committed)
    }

    /// What is said at a stage.
    fn word(&self, verifier: &str, duty: &Duty, found: &Found) -> Message {
        let verifier = verifier.to_owned();
        let challenge_id = duty.challenge_id;
        let computed = found.commitment.to_string();
        if duty.stage == "panel" {
            let is_valid = found.result == "match";
            // where the hash is right and its bytes can not be had, nothing is valid
            let computed_hash = if is_valid == (computed == duty.gradient_hash) { computed } else { String::new() };
            let expected_hash = duty.gradient_hash.clone();
            return Message::Arbitrate(MsgSubmitCPUVerification {
                validator: verifier,
                challenge_id,
                is_valid,
                computed_hash,
                expected_hash,
                leaf: found.leaf.clone(),
            });
        }
        let shown = self.shown(&verifier, challenge_id, found);
        if duty.stage == "reveal" {
            return Message::RevealAttestation(Box::new(shown));
        }
        let commitment = shown.commitment().to_vec();
        Message::CommitAttestation(MsgCommitAttestation { verifier, challenge_id, commitment })
    }

    /// What is committed, then shown.
    fn shown(&self, verifier: &str, challenge_id: u64, found: &Found) -> MsgRevealAttestation {
        let gradient_hash = match found.result {
            "unavailable" => String::new(),
            _ => found.commitment.to_string(),
        };
        MsgRevealAttestation {
            verifier: verifier.to_owned(),
            challenge_id,
            result: found.result.to_owned(),
            gradient_hash,
            leaf: found.leaf.clone(),
            salt: self.salt_of(challenge_id).to_vec(),
        }
    }

    /// Its own for each challenge, and the same after a restart.
    fn salt_of(&self, challenge: u64) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        Sha256::new().chain_update(self.salt).chain_update(challenge.to_le_bytes()).finalize().into()
    }
}
