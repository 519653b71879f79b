//! A verifier recomputes the gradients for which it is sampled. It first commits to what it found (match, mismatch or
//! unavailable), and reveals it later. It also takes part in the beacon, the network's source of random values.

#[cfg(test)]
mod tests;

use super::{Chain, ContentStore, Recompute, RecomputedGradient, RoleError, hex};
use crate::{
    client::{Classify, ClientError, ErrorClass, FetchError, VerificationDuty, VerifierDuties},
    ledger::BeaconDuty,
    protocol::Task,
    store::Codec,
    training::worker::Worker,
    tx::{Message, MsgCommitAttestation, MsgRevealAttestation, MsgRevealBeacon, MsgSubmitCPUVerification, code},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The longest time, in seconds of the chain's time, for which a verifier waits for a data block of a task if the nodes
/// do not have the block. During this time, the block may still be on its way from one node to another. After that, the
/// verifier reports the gradient as unavailable.
const MISSING_SECONDS: u64 = 10;

/// A verifier. It keeps what it found about a gradient until the challenge (the examination of that gradient) is
/// decided.
pub struct Verifier<W = Worker> {
    worker: W,
    salt: [u8; 32],
    /// The result of each recomputation. The key is the ID of the challenge (the examination of a gradient) that
    /// required it.
    results: BTreeMap<u64, Recomputation>,
    /// The tasks that could not be fetched completely yet, because data blocks are missing. The key is the ID of the
    /// challenge (the examination of a gradient) for which the task must be computed.
    missing: BTreeMap<u64, MissingTask>,
    /// The epoch of the beacon (the network's source of random values) in which the chain last refused the verifier's
    /// message for the beacon. The verifier does not send that message again in the same epoch.
    refused_epoch: Option<u64>,
}

/// A task that the verifier could not fetch so far. If it becomes available in time, the verifier recomputes the
/// gradient.
#[derive(Clone, Copy)]
struct MissingTask {
    /// Times of the first and the last attempt to fetch the task, in seconds of the chain's time.
    attempts: [u64; 2],
    /// At the first failed attempt to fetch the task, a number of blocks of the chain was left until the deadline for
    /// the verifier's finding. This value is half of that number, plus 1. The verifier stops waiting for the task's
    /// data when no more blocks than this are left.
    min_blocks_left: u64,
}

/// What a verifier found when it recomputed a gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recomputation {
    /// ID that the ledger gave to the submission of the gradient.
    pub id: u64,
    /// The finding: `match`, `mismatch` (the gradient is wrong), or `unavailable` (a block of the task cannot be
    /// fetched, so the gradient cannot be recomputed).
    pub result: &'static str,
    /// Why the finding is not `match`; `None` if it is.
    pub reason: Option<String>,
    /// Commitment to the recomputed gradient, in hexadecimal; empty if the gradient was not recomputed. A correct
    /// submission states the same commitment.
    commitment: String,
    /// Digest, in hexadecimal, of the part of the gradient that the ledger has selected for the attestation. Empty if
    /// the gradient is void or was not recomputed.
    leaf: String,
}

impl<W: Recompute> Verifier<W> {
    /// Creates a verifier that recomputes gradients with `worker`. `salt` prevents others from guessing what the
    /// verifier has committed to, so it must be secret and random.
    pub fn new(worker: W, salt: [u8; 32]) -> Self {
        Self { worker, salt, results: BTreeMap::new(), missing: BTreeMap::new(), refused_epoch: None }
    }

    /// Returns the worker that recomputes gradients, so that a challenger can use it too.
    pub fn worker(&mut self) -> &mut W {
        &mut self.worker
    }

    /// Does what the verifier must do next, if anything. It first sends its message for the beacon (the network's
    /// source of random values), and then recomputes a gradient or sends its finding about one. Returns the finding if
    /// this call has made it. If data of the task is missing, later calls request the data again, as long as enough
    /// time is left to send an attestation.
    pub async fn work<C: Chain + ContentStore>(&mut self, client: &C) -> Result<Option<Recomputation>, RoleError> {
        let VerifierDuties { challenges: duties, beacon } = client.duties().await?;
        if let Some(duty) = beacon.filter(|duty| self.refused_epoch != Some(duty.epoch)) {
            self.take_part_in_beacon(client, duty).await?;
        }
        let is_open = |challenge: &u64| duties.iter().any(|duty| duty.challenge_id == *challenge);
        self.results.retain(|challenge, _| is_open(challenge));
        self.missing.retain(|challenge, _| is_open(challenge));
        let mut failure = None;
        for duty in duties.iter().filter(|duty| !duty.done) {
            let mut fresh = None;
            let result = match self.results.get(&duty.challenge_id) {
                Some(result) => result.clone(),
                // a repeated computation after a restart yields the same result
                None => match self.result(client, duty).await {
                    Ok(None) => continue,
                    Ok(Some(result)) => {
                        self.results.insert(duty.challenge_id, result.clone());
                        fresh.insert(result).clone()
                    }
                    // other duties can still be done
                    Err(error) if error.class() == ErrorClass::Failover => {
                        failure = failure.or(Some(error));
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            match client.send(self.message(client.address(), duty, &result)).await {
                // a refusal means that the stage of the challenge has ended
                Ok(_) | Err(ClientError::Failed { code: code::REJECTED | code::NOT_FOUND, .. }) => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(fresh);
        }
        failure.map_or(Ok(None), Err)
    }

    /// Reveals the verifier's secret number for the current epoch of the beacon, if the verifier has committed to one,
    /// and commits to its number for the next epoch.
    async fn take_part_in_beacon<C: Chain>(&mut self, client: &C, duty: BeaconDuty) -> Result<(), RoleError> {
        let BeaconDuty { epoch, reveals } = duty;
        let validator = client.address().to_owned();
        let number = if reveals { self.beacon_number(epoch).to_vec() } else { Vec::new() };
        let next = MsgRevealBeacon::commitment(&validator, &self.beacon_number(epoch + 1)).to_vec();
        match client.send(Message::RevealBeacon(MsgRevealBeacon { validator, epoch, number, next })).await {
            Ok(()) => Ok(()),
            // a refusal means that the epoch has ended
            Err(ClientError::Failed { code: code::REJECTED | code::UNAUTHORIZED, .. }) => {
                self.refused_epoch = Some(epoch);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the verifier's secret number for an epoch of the beacon. The number is derived from the verifier's salt,
    /// so it is the same after a restart.
    fn beacon_number(&self, epoch: u64) -> [u8; 32] {
        Sha256::new().chain_update("beacon").chain_update(self.salt).chain_update(epoch.to_le_bytes()).finalize().into()
    }

    /// Returns what the verifier finds about a gradient, or `None` while it waits for a missing block of the task.
    async fn result<C: Chain + ContentStore>(
        &mut self,
        client: &C,
        duty: &VerificationDuty,
    ) -> Result<Option<Recomputation>, RoleError> {
        let id = duty.challenge_id;
        if let Some(MissingTask { attempts: [_, last], min_blocks_left }) = self.missing.get(&id)
            && duty.blocks_left > *min_blocks_left
            && client.job().await?.time == *last
        {
            return Ok(None);
        }
        let result = match self.recompute(client, duty).await {
            Err(RoleError::Client(error) | RoleError::Blocks(FetchError::Client(error))) => {
                let now = client.job().await?.time;
                let first_attempt = MissingTask { attempts: [now; 2], min_blocks_left: duty.blocks_left / 2 + 1 };
                let MissingTask { attempts: [first, last], min_blocks_left } =
                    self.missing.entry(id).or_insert(first_attempt);
                *last = now;
                // a source that did not respond may have the block
                let may_arrive = error.class() == ErrorClass::Retryable || now < first.saturating_add(MISSING_SECONDS);
                if may_arrive && duty.blocks_left > *min_blocks_left {
                    client.fail_over();
                    return Ok(None);
                }
                unavailable(duty, error.to_string())
            }
            result => result?,
        };
        self.missing.remove(&id);
        Ok(Some(self.committed_before(client.address(), duty, &result).unwrap_or(result)))
    }

    /// Recomputes a gradient and compares its commitment with that of the submission. If they are equal but the miner
    /// withholds the artifact, stores the artifact, so that proposers can fetch it.
    async fn recompute<C: ContentStore>(
        &mut self,
        client: &C,
        duty: &VerificationDuty,
    ) -> Result<Recomputation, RoleError> {
        let task = Task::decode(&client.block(Codec::DagCbor, &duty.task).await?)?;
        let inputs = client.task_inputs(&task).await?;
        let RecomputedGradient { commitment, artifact, leaf } =
            self.worker.recompute(&task, &duty.selector, &inputs).await?;
        let (commitment, leaf) = (commitment.to_string(), leaf.map_or(String::new(), |leaf| hex(&leaf)));
        let (result, reason) = match commitment == duty.gradient_hash {
            true => ("match", None),
            false => ("mismatch", Some(format!("the gradient's correct commitment is {commitment}"))),
        };
        if result == "match" && artifact.root == duty.ipfs_hash && client.artifact(&artifact.root).await.is_err() {
            // an error is ignored: without the artifact, the miner is not paid, but the finding is correct all the same
            drop(client.store(&artifact).await);
        }
        Ok(Recomputation { id: duty.stored_gradient_id, result, reason, commitment, leaf })
    }

    /// Returns the result to which this verifier committed before a restart, or `None` if that cannot be determined.
    ///
    /// The hash in the commitment is compared with the hashes for two results: `result`, which was computed after the
    /// restart, and `unavailable`. The verifier may have committed to `unavailable` because a block was missing at that
    /// time, although the block has arrived by now.
    fn committed_before(
        &self,
        verifier: &str,
        duty: &VerificationDuty,
        result: &Recomputation,
    ) -> Option<Recomputation> {
        let committed = duty.committed.as_ref().filter(|_| duty.stage == "reveal")?;
        let reason = "a block of the task was missing at the time of the commitment".to_owned();
        let mut results = [result.clone(), unavailable(duty, reason)].into_iter();
        results.find(|result| hex(&self.reveal(verifier, duty.challenge_id, result).commitment()) == *committed)
    }

    /// Returns the message that the verifier must send at the present stage of a challenge (the examination of a
    /// gradient): the commitment to the attestation, the attestation itself, or a vote in the panel of all validators.
    fn message(&self, verifier: &str, duty: &VerificationDuty, result: &Recomputation) -> Message {
        let verifier = verifier.to_owned();
        let challenge_id = duty.challenge_id;
        if duty.stage == "panel" {
            return Message::Arbitrate(MsgSubmitCPUVerification {
                validator: verifier,
                challenge_id,
                is_valid: result.result == "match",
                computed_hash: result.commitment.clone(),
                expected_hash: duty.gradient_hash.clone(),
                leaf: result.leaf.clone(),
            });
        }
        let reveal = self.reveal(&verifier, challenge_id, result);
        if duty.stage == "reveal" {
            return Message::RevealAttestation(Box::new(reveal));
        }
        let commitment = reveal.commitment().to_vec();
        Message::CommitAttestation(MsgCommitAttestation { verifier, challenge_id, commitment })
    }

    /// Returns the message that reveals the attestation. The verifier commits to it beforehand by publishing a hash of
    /// this message.
    fn reveal(&self, verifier: &str, challenge_id: u64, result: &Recomputation) -> MsgRevealAttestation {
        MsgRevealAttestation {
            verifier: verifier.to_owned(),
            challenge_id,
            result: result.result.to_owned(),
            gradient_hash: result.commitment.clone(),
            leaf: result.leaf.clone(),
            salt: self.salt_of(challenge_id).to_vec(),
        }
    }

    /// Returns the salt with which the verifier commits to its finding in a challenge (the examination of a gradient).
    /// It is derived from the verifier's own salt, so it is the same after a restart.
    fn salt_of(&self, challenge: u64) -> [u8; 32] {
        Sha256::new().chain_update(self.salt).chain_update(challenge.to_le_bytes()).finalize().into()
    }
}

/// Returns the finding of a verifier that cannot recompute a gradient.
fn unavailable(duty: &VerificationDuty, reason: String) -> Recomputation {
    let (commitment, leaf) = (String::new(), String::new());
    Recomputation { id: duty.stored_gradient_id, result: "unavailable", reason: Some(reason), commitment, leaf }
}
