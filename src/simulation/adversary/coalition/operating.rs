//! What the coalition's operators do as validators, verifiers and proposers, and in disputes.

use super::{
    super::{
        gradient::{TraceProver, leaf},
        honest::next_adapter,
        world::{Submitted, World},
    },
    Coalition, send,
};
use crate::{
    dispute::judge::Role,
    ledger::{Aggregation, Assignment, BeaconDuty, ChallengeStage},
    protocol::{Commitment, merkle_root},
    store::{Cid, Codec},
    tx::{
        Message, MsgAnswerDispute, MsgAppeal, MsgCommitAggregation, MsgCommitAttestation, MsgMoveDispute,
        MsgOpenDispute, MsgRevealAggregation, MsgRevealAttestation, MsgRevealBeacon, MsgSubmitCPUVerification,
    },
};
use data_encoding::HEXLOWER;

impl Coalition {
    /// Reveals secret numbers of the coalition's validators, from which the beacon computes its random value. The
    /// strategy determines whether the coalition reveals all of its numbers, none, or the ones that lead to the random
    /// value that is best for the coalition.
    pub(super) fn reveal(&mut self, world: &mut World) {
        let when = self.strategy.get("beacon");
        let state = world.ledger.state();
        let duties = self.nodes.iter().filter_map(|node| Some((node.clone(), world.ledger.beacon_duty(node)?)));
        let message = |(validator, BeaconDuty { epoch, reveals }): (String, BeaconDuty)| {
            let number = |epoch: u64| [validator.as_bytes(), &epoch.to_le_bytes(), &[0; 24]].concat()[..32].to_vec();
            let next = MsgRevealBeacon::commitment(&validator, &number(epoch + 1)).to_vec();
            let number = if reveals { number(epoch) } else { Vec::new() };
            (validator.clone(), Message::RevealBeacon(MsgRevealBeacon { validator, epoch, number, next }))
        };
        let mut messages: Vec<(String, Message)> = duties.map(message).collect();
        let left =
            world.ledger.genesis().params.epoch_blocks.saturating_sub(state.head().clock - state.head().beacon.since);
        if messages.is_empty() || when == "silent" || (when == "choose" && left > 1) {
            return;
        }
        if when == "choose" {
            // the first candidate withholds no number
            let candidates = (0..1u32 << messages.len().min(4)).rev();
            let chosen = |set: u32| messages.iter().enumerate().filter(move |(at, _)| *at >= 4 || set >> at & 1 == 1);
            let value = |set: &u32| {
                let txs = chosen(*set).map(|(_, message)| message.clone()).collect();
                std::cmp::Reverse(self.score(&world.foresee(txs)))
            };
            if let Some(best) = candidates.min_by_key(value) {
                messages = chosen(best).map(|(_, message)| message.clone()).collect();
            }
        }
        for (node, message) in messages {
            send(world, &node, vec![message]);
        }
    }

    /// Sends the attestations and votes of all the coalition's verifiers.
    pub(super) fn verify(&mut self, world: &mut World) {
        for node in self.nodes.clone() {
            let duties = world.ledger.assignments(&node);
            for duty in duties.into_iter().filter(|duty| !duty.done) {
                if let Some(message) = self.statement(world, &node, &duty) {
                    send(world, &node, vec![message]);
                }
            }
        }
    }

    fn statement(&mut self, world: &mut World, verifier: &str, duty: &Assignment) -> Option<Message> {
        let Assignment { challenge: challenge_id, stage, selector, id, submission, .. } = duty;
        let is_own = self.addresses.contains(&submission.miner);
        let finding = self.strategy.get(match (is_own, *stage == ChallengeStage::Panel) {
            (true, false) => "own",
            (false, false) => "others",
            (true, true) => "vote",
            (false, true) => "against",
        });
        let result = match finding {
            "honest" => {
                self.computed.insert(world.submitted.get(id)?.task);
                if world.submitted.get(id)?.right { "match" } else { "mismatch" }
            }
            "silent" => return None,
            fixed => fixed,
        };
        let task = world.ledger.task_of(submission).ok()?;
        let leaf = match self.computed.contains(&world.submitted.get(id)?.task) {
            true => HEXLOWER.encode(&leaf(&task, selector)),
            false => "guess".to_owned(),
        };
        let (verifier, claimed) = (verifier.to_owned(), submission.commitment.to_string());
        let gradient_hash = match result {
            "match" => claimed.clone(),
            "mismatch" => Commitment::new(&task, &[8; 32]).to_string(),
            _ => String::new(),
        };
        if *stage == ChallengeStage::Panel {
            return Some(Message::Arbitrate(MsgSubmitCPUVerification {
                validator: verifier,
                challenge_id: *challenge_id,
                is_valid: result == "match",
                computed_hash: gradient_hash,
                expected_hash: claimed,
                leaf,
            }));
        }
        let salt = vec![7; 8];
        let result = result.to_owned();
        let reveal = MsgRevealAttestation { verifier, challenge_id: *challenge_id, result, gradient_hash, leaf, salt };
        Some(match stage {
            ChallengeStage::Commit => Message::CommitAttestation(MsgCommitAttestation {
                verifier: reveal.verifier.clone(),
                challenge_id: *challenge_id,
                commitment: reveal.commitment().to_vec(),
            }),
            _ => Message::RevealAttestation(Box::new(reveal)),
        })
    }

    /// Sends the messages by which the coalition's proposers commit to aggregates and reveal them.
    pub(super) fn propose(&mut self, world: &mut World) {
        let what = self.strategy.get("propose");
        if what == "silent" {
            return;
        }
        for node in self.nodes.clone() {
            let Some(job) = world.ledger.aggregation(&node) else { return };
            let Aggregation { round, adapter, gradients, own, .. } = job;
            if own.as_ref().is_some_and(|(_, proposal)| proposal.adapter.is_some()) {
                continue;
            }
            let is_summed = |miner: &str| what != "empty" && (what != "partial" || self.addresses.contains(miner));
            let summed = gradients.iter().filter(|(_, submission)| is_summed(&submission.miner));
            let summed: Vec<_> = summed.map(|(id, submission)| (*id, submission)).collect();
            let artifacts: Vec<Cid> = summed.iter().map(|(_, submission)| submission.artifact).collect();
            let commitments: Vec<[u8; 32]> = summed.iter().map(|(_, submission)| submission.commitment.0).collect();
            let ids: Vec<u64> = summed.iter().map(|(id, _)| *id).collect();
            let next = match what {
                "other" => Codec::DagCbor.cid(b"another adapter"),
                _ => next_adapter(&adapter, &artifacts).expect("a small block").cid(),
            };
            if what != "other" {
                world.adapters.insert(next);
            }
            let reveal = MsgRevealAggregation {
                proposer: node.clone(),
                commitment_id: own.as_ref().map_or(0, |(id, _)| *id),
                adapter: next.to_string(),
                layout_root: HEXLOWER.encode(&[0; 32]),
                merkle_root: HEXLOWER.encode(&merkle_root(&commitments)),
                gradient_ids: ids.clone(),
                training_round_id: round,
                model_version: world.ledger.genesis().job.model.to_string(),
                salt: vec![7; 8],
            };
            let message = match own {
                Some(_) => Message::RevealAggregation(Box::new(reveal)),
                None => Message::CommitAggregation(MsgCommitAggregation {
                    proposer: node.clone(),
                    commitment_hash: HEXLOWER.encode(&reveal.commitment()),
                    training_round_id: round,
                    gradient_ids: ids,
                }),
            };
            send(world, &node, vec![message]);
        }
    }

    /// Appeals, opens disputes, gives answers and makes moves in disputes, as the strategy states.
    pub(super) fn dispute(&mut self, world: &mut World) {
        let Some(node) = self.nodes.first().cloned() else { return };
        let (appeal, griefs) = (self.strategy.get("appeal"), self.strategy.number("grief"));
        let defends = self.strategy.get("defend") == "yes";
        if appeal == "none" && self.disputes >= griefs && !defends {
            return;
        }
        let list = world.disputes();
        for found in list.gradients {
            let id = found.gradient.stored_gradient_id;
            let Some(Submitted { chunk, miner, right, .. }) = world.submitted.get(&id) else { continue };
            let (is_own, right) = (self.addresses.contains(miner), *right);
            let Some(manifest) = world.gradients.manifest(&found.gradient.ipfs_hash) else { continue };
            let chunk = world.gradients.block(chunk).unwrap_or_default();
            if let Some(challenge_id) = found.appealable.filter(|_| appeal == "all" || (appeal == "own" && is_own)) {
                let message = MsgAppeal { sender: node.clone(), challenge_id, chunk, manifest };
                send(world, &node, vec![Message::Appeal(message.into())]);
            } else if found.disputable && right && !is_own && self.disputes < griefs {
                self.disputes += 1;
                let message = MsgOpenDispute { challenger: node.clone(), stored_gradient_id: id, chunk, manifest };
                send(world, &node, vec![Message::OpenDispute(message.into())]);
            }
        }
        for dispute in list.disputes.into_iter().filter(|_| defends) {
            let Some(submitted) = world.submitted.get(&dispute.gradient.stored_gradient_id) else { continue };
            if !self.addresses.contains(&submitted.miner) {
                continue;
            }
            let right = submitted.right;
            let Some(gradients) = world.gradients.known(&submitted.task) else { continue };
            let prover = TraceProver::new(if right { &gradients.right } else { &gradients.wrong });
            let own = dispute.answers.iter().position(|answer| answer.sender == node);
            let message = match own {
                None if dispute.answerable => {
                    let answer = prover.answer().encode();
                    (
                        usize::MAX,
                        answer.clone(),
                        Message::AnswerDispute(MsgAnswerDispute {
                            sender: node.clone(),
                            dispute_id: dispute.dispute_id,
                            answer,
                        }),
                    )
                }
                None => continue,
                Some(number) => {
                    let Ok(game) = dispute.answers[number].game() else { continue };
                    let step =
                        prover.next(&game).filter(|step| game.winner().is_none() && step.role() != Role::Challenger);
                    let Some(step) = step.map(|step| step.encode()) else { continue };
                    let message = MsgMoveDispute {
                        sender: node.clone(),
                        dispute_id: dispute.dispute_id,
                        answer: number as u64,
                        step: step.clone(),
                    };
                    (number, step, Message::MoveDispute(message))
                }
            };
            if self.moves.insert((dispute.dispute_id, message.0, message.1)) {
                send(world, &node, vec![message.2]);
            }
        }
    }
}
