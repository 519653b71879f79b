//! A test network with a real model, so small that tests can compute its gradients and play whole disputes about them.

use super::*;
use crate::{
    dispute::prover::{Prover, Tampering},
    simulation::SmallJob,
    tx::{MsgAnswerDispute, MsgAppeal, MsgMoveDispute, MsgOpenDispute},
};
use pollster::block_on;

pub(super) const NODES: [(u8, u64); 3] = [(7, 10_000_000), (8, 10_000_000), (9, 10_000_000)];
pub(super) const BOND: u64 = NETWORK.dispute_bond;
pub(super) const ANSWER: u64 = NETWORK.answer_bond;
pub(super) const REWARD: u64 = NETWORK.reward;

/// A test network whose gradients can be computed and disputed.
pub(super) struct DisputeNetwork {
    pub(super) world: Network,
    pub(super) job: SmallJob,
}

/// Returns ledger parameters under which every gradient is accepted without recomputation, so that only a dispute can
/// reject it.
pub(super) fn trusting() -> LedgerParams {
    LedgerParams { sampling: 0, challenge_blocks: 200, move_blocks: 4, ..all() }
}

/// Returns ledger parameters under which all three verifiers recompute every gradient: for each gradient, one of the
/// three is drawn at random 16 times, so almost certainly each of them is drawn at least once.
pub(super) fn all() -> LedgerParams {
    let verified = LedgerParams { sampling: ALL, verifiers: 16, trap_share: 0, draw_after: 1, ..NETWORK };
    LedgerParams { min_stake: 1_000_000, probation: 0, claim_bond: 0, ..verified }
}

impl DisputeNetwork {
    pub(super) fn new(params: LedgerParams) -> Self {
        let job = SmallJob::new(2);
        Self { world: Network::new(job.genesis(genesis(2, params, &NODES))), job }
    }

    pub(super) fn prover(&self, task: &Task, forged: bool, tampering: Option<Tampering>) -> Prover {
        let mut replay = block_on(self.job.replay(task, forged));
        replay.tampering = tampering;
        block_on(Prover::new(replay)).unwrap()
    }

    /// Claims a task for account `number` and submits a gradient, which is wrong if `forged` is true. Returns the ID of
    /// the gradient, the task, and the manifest of the gradient's artifact.
    pub(super) fn submit(&mut self, number: u8, forged: bool) -> (u64, Task, Vec<u8>) {
        let claim = self.world.claim(number, self.world.free());
        self.world.done(number, claim);
        let task = self.world.ledger.held(&address(number)).unwrap().unwrap().task;
        let artifact = block_on(self.job.artifact(&task, forged));
        let dag = artifact.dag().unwrap();
        let mut message = self.world.submission(number, |task| Commitment::new(task, &artifact.gradient_root()));
        message.ipfs_hash = dag.root.to_string();
        self.world.done(number, Message::SubmitGradient(Box::new(message)));
        (self.world.head().submissions, task, dag.get(&dag.root).unwrap())
    }

    /// Claims a task for account `number`, submits a gradient, which is wrong if `forged` is true, and checks that the
    /// next block accepts it. Returns the ID of the gradient, the task, and the manifest of the gradient's artifact.
    pub(super) fn accepted(&mut self, number: u8, forged: bool) -> (u64, Task, Vec<u8>) {
        let submitted = self.submit(number, forged);
        self.world.block(vec![]);
        assert_eq!(self.status(submitted.0), SubmissionStatus::Accepted);
        submitted
    }

    pub(super) fn status(&self, id: u64) -> SubmissionStatus {
        self.world.ledger.state().submission(id).unwrap().status
    }

    pub(super) fn opening(&self, number: u8, (id, task, manifest): &(u64, Task, Vec<u8>)) -> Message {
        let chunk = self.job.chunk(task).block().bytes().to_vec();
        let (challenger, stored_gradient_id, manifest) = (address(number), *id, manifest.clone());
        Message::OpenDispute(Box::new(MsgOpenDispute { challenger, stored_gradient_id, chunk, manifest }))
    }

    pub(super) fn open(&mut self, number: u8, submitted: &(u64, Task, Vec<u8>)) -> u64 {
        let opening = self.opening(number, submitted);
        self.world.done(number, opening);
        self.world.head().disputes
    }

    pub(super) fn appeal(&mut self, number: u8, (_, task, manifest): &(u64, Task, Vec<u8>)) -> (u32, String) {
        let challenge_id = self.world.head().challenges;
        let (chunk, manifest) = (self.job.chunk(task).block().bytes().to_vec(), manifest.clone());
        let appeal = MsgAppeal { sender: address(number), challenge_id, chunk, manifest };
        self.world.send(number, Message::Appeal(Box::new(appeal)))
    }

    pub(super) fn answer(&mut self, number: u8, dispute_id: u64, prover: &Prover) {
        let (sender, answer) = (address(number), prover.answer().unwrap().encode());
        self.world.done(number, Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
    }

    /// Returns the moves that `parties` can make now in the games of a dispute, each with the account that must send
    /// it. `parties` are given as (account, prover).
    pub(super) fn moves(&self, dispute_id: u64, parties: &mut [(u8, &mut Prover)]) -> Vec<(u8, Message)> {
        let mut moves = Vec::new();
        let Some(case) = self.world.ledger.state().disputes.get(&dispute_id) else { return moves };
        for (number, (answerer, _)) in case.answers.iter().enumerate() {
            let game = case.dispute.game(number).unwrap();
            let mover = if game.turn() == crate::dispute::judge::Side::Miner { answerer } else { &case.challenger };
            let party = parties.iter_mut().find(|(party, _)| address(*party) == *mover);
            let Some((party, prover)) = party.filter(|_| game.winner().is_none()) else { continue };
            // a dishonest party may reach a phase in which it has no move
            let Ok(Some(step)) = block_on(prover.next(game)) else { continue };
            let (sender, answer) = (address(*party), number as u64);
            let step = MsgMoveDispute { sender, dispute_id, answer, step: step.encode() };
            moves.push((*party, Message::MoveDispute(step)));
        }
        moves
    }

    /// Applies blocks with the moves of `parties` until the disputes end. An account that must move next, but has no
    /// move or is not in `parties`, lets its deadline pass.
    pub(super) fn run_games(&mut self, disputes: &[u64], parties: &mut [(u8, &mut Prover)]) {
        for count in 0.. {
            assert!(count < 300, "the disputes do not end");
            if disputes.iter().all(|dispute| !self.world.ledger.state().disputes.contains_key(dispute)) {
                return;
            }
            let mut moves = std::collections::BTreeMap::<u8, Vec<Message>>::new();
            for dispute in disputes {
                self.moves(*dispute, parties)
                    .into_iter()
                    .for_each(|(party, step)| moves.entry(party).or_default().push(step));
            }
            let txs = moves.iter().map(|(party, steps)| self.world.sign(*party, steps)).collect();
            self.world.block(txs);
            if count % 7 == 0 {
                self.world.check();
            }
        }
    }

    /// Applies blocks in which each sampled verifier first commits to the finding that `find` returns for its account,
    /// and then reveals this finding. If the findings differ, the ledger then waits for the votes of all validators,
    /// which this function does not send.
    pub(super) fn attest(&mut self, find: impl Fn(u8) -> Finding) {
        for _ in 0..3 {
            let txs = self.world.pending_txs(&NODES.map(|(number, _)| number), &|number, _, _| find(number));
            self.world.block(txs);
        }
    }

    pub(super) fn stage(&self) -> ChallengeStage {
        self.world.ledger.state().challenges.values().next().unwrap().stage
    }
}
