//! A miner that submits a forged gradient, and defends it by answering every dispute and making every move that the
//! rules allow.

use super::{
    scripted_miner::{ScriptedMiner, model},
    work_dir::WorkDir,
};
use pollster::block_on;
use r3mes_wgpu::{
    client::{Blocks, OpenDispute},
    compute::{Backend, cpu},
    dispute::{
        judge::Side,
        prover::{Prover, Replay, TaskInputs},
    },
    model::transformer::RecordedStep,
    protocol::{Artifact, Gradient, Task},
    training::step::Trainer,
    tx::{Message, MsgAnswerDispute, MsgMoveDispute},
};
use std::{thread::sleep, time::Duration};

/// A forged artifact, and the prover that defends it in disputes. The artifact contains the correct gradient of a wrong
/// text: the task's text with one bit changed.
pub struct Forger {
    pub forged: Artifact,
    prover: Prover,
}

impl Forger {
    /// Computes a forged gradient for `task`, and the trace of this computation, which is needed to defend the forgery.
    pub fn new(work_dir: &WorkDir, miner: &ScriptedMiner, task: &Task) -> Self {
        let (model, targets) = model(work_dir);
        let backend = Backend::Cpu { threads: 1, kernels: cpu::fastest };
        let blocks = block_on(Blocks::of_task(miner.client.host(), task)).unwrap();
        let mut inputs = TaskInputs::fetch(task, model.config.vocab as u32, &|cid| blocks.get(cid)).unwrap();
        inputs.tokens[700] ^= 1;
        let step = RecordedStep::new(&model, &targets, 1);
        let mut trainer = block_on(Trainer::prepare(step, &backend)).unwrap();
        let exponents: Vec<i32> = inputs.matrices.iter().map(|spec| spec.exponent).collect();
        block_on(trainer.load(&inputs.adapter, &exponents)).unwrap();
        let found = block_on(trainer.gradient(&inputs.tokens, &inputs.task_key, 0)).unwrap();
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        let replay = block_on(Replay::new(&model, &targets, &inputs, &backend)).unwrap();
        let forged = Artifact::gradient(task, &gradient).unwrap();
        Self { forged, prover: block_on(Prover::new(replay)).unwrap() }
    }

    /// Submits the forged artifact for the task that `miner` has claimed. Returns the ID of the submission.
    pub fn submit(&self, miner: &ScriptedMiner) -> u64 {
        let (task, held) = miner.held();
        miner.submit_without_waiting(&task, &held, &self.forged)
    }

    /// Sends answers and moves in every dispute about submission `id`, until the submission is rejected. Returns the
    /// number of answers and moves that the node accepted.
    pub fn defend(&mut self, miner: &ScriptedMiner, id: u64) -> u32 {
        let mut sent = 0;
        while block_on(miner.client.gradient_status(id)).unwrap().status != "rejected" {
            let list = block_on(miner.client.disputes()).unwrap();
            let about = |dispute: &&OpenDispute| dispute.gradient.stored_gradient_id == id;
            for open in list.disputes.iter().filter(about) {
                let result = self.next_message(miner, open).map(|message| block_on(miner.client.send(message)));
                sent += u32::from(result.is_some_and(|result| result.is_ok()));
            }
            sleep(Duration::from_millis(50));
        }
        sent
    }

    /// Returns the miner's next message in a dispute: an answer if nobody has answered yet, otherwise a move. Returns
    /// `None` if it is not the miner's turn.
    fn next_message(&mut self, miner: &ScriptedMiner, dispute: &OpenDispute) -> Option<Message> {
        let (sender, dispute_id) = (miner.address().to_owned(), dispute.dispute_id);
        let Some(given) = dispute.answers.first() else {
            let answer = self.prover.answer()?.encode();
            return Some(Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
        };
        let game = given.game().unwrap();
        let step = match game.turn() {
            Side::Miner if game.winner().is_none() => block_on(self.prover.next(&game)).ok()??.encode(),
            _ => return None,
        };
        Some(Message::MoveDispute(MsgMoveDispute { sender, dispute_id, answer: 0, step }))
    }
}
