//! A verifier recomputes what it is drawn for: it seals what it finds, then shows it.

use super::{RoleError, hex};
use crate::{
    chain::{
        Message, MsgCommitAttestation, MsgSubmitCPUVerification, MsgSubmitRandomVerifierResult,
        client::{Client, ClientError, Duty, Hope, Host},
        code,
    },
    mining::{Blocks, MiningError},
    store::Codec,
    work::{Artifact, Commitment, Task, Worker},
};
use std::collections::BTreeMap;

/// A worker that recomputes.
pub struct Verifier {
    worker: Worker,
    salt: [u8; 32],
    /// What was found in challenges that are still open.
    found: BTreeMap<u64, Found>,
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
    /// `salt` is secret and random: it keeps what is sealed from being guessed.
    pub fn new(worker: Worker, salt: [u8; 32]) -> Self {
        Self { worker, salt, found: BTreeMap::new() }
    }

    /// What it recomputes with.
    pub fn worker(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// Does the next duty, if there is one; returns what it recomputed.
    pub async fn work<H: Host>(&mut self, client: &Client<H>) -> Result<Option<Found>, RoleError> {
        let duties = client.duties().await?;
        let open = |challenge: &u64| duties.iter().any(|duty| duty.challenge_id == *challenge);
        self.found.retain(|challenge, _| open(challenge));
        let mut missing = None;
        for duty in duties.iter().filter(|duty| !duty.done) {
            let mut fresh = None;
            let found = match self.found.get(&duty.challenge_id) {
                Some(found) => found.clone(),
                // a verifier that was started anew finds the same
                None => match self.recompute(client, duty).await {
                    Ok(found) => {
                        self.found.insert(duty.challenge_id, found.clone());
                        fresh.insert(found).clone()
                    }
                    // another duty may be done meanwhile
                    Err(error) if error.hope() == Hope::Elsewhere => {
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

    async fn recompute<H: Host>(&mut self, client: &Client<H>, duty: &Duty) -> Result<Found, RoleError> {
        let host = client.host();
        let task = Task::decode(&client.block(Codec::DagCbor, &duty.task).await?)?;
        let inputs = Blocks::of_task(host, &task).await?;
        let (mine, leaf) = self.worker.attest(&task, &duty.selector, &|cid| inputs.get(cid)).await?;
        let commitment = Commitment::new(&task, &mine.gradient_root());
        let leaf = leaf.map_or(String::new(), |leaf| hex(&leaf));
        let found =
            |result, reason| Found { id: duty.stored_gradient_id, result, reason, commitment, leaf: leaf.clone() };
        if commitment.to_string() != duty.gradient_hash {
            return Ok(found("mismatch", Some(format!("the commitment is {commitment}"))));
        }
        // the hash is right; the bytes behind it must be there too
        let blocks = match Blocks::of_artifact(host, &duty.ipfs_hash).await {
            Ok(blocks) => blocks,
            Err(MiningError::Client(error)) if error.is_temporary() => return Err(error.into()),
            Err(error) => return Ok(found("unavailable", Some(error.to_string()))),
        };
        Ok(match Artifact::fetch(&task, &duty.ipfs_hash, &|cid| blocks.get(cid)) {
            Ok(claimed) if claimed == mine => found("match", None),
            Ok(_) => found("unavailable", Some("the artifact is not what the commitment is of".to_owned())),
            Err(error) => found("unavailable", Some(error.to_string())),
        })
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
        let gradient_hash = if found.result == "unavailable" { String::new() } else { computed };
        let shown = MsgSubmitRandomVerifierResult {
            verifier: verifier.clone(),
            challenge_id,
            result: found.result.to_owned(),
            gradient_hash,
            evidence: format!("{}:{}", found.leaf, hex(&self.salt_of(challenge_id))),
            loss_match: found.result == "match",
            ..Default::default()
        };
        if duty.stage == "reveal" {
            return Message::Attest(Box::new(shown));
        }
        let commitment = shown.commitment().to_vec();
        Message::CommitAttestation(MsgCommitAttestation { verifier, challenge_id, commitment })
    }

    /// Its own for each challenge, and the same after a restart.
    fn salt_of(&self, challenge: u64) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        Sha256::new().chain_update(self.salt).chain_update(challenge.to_le_bytes()).finalize().into()
    }
}
