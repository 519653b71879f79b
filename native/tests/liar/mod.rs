//! A miner that stands for a forged gradient with all that the game lets it say.

#![allow(unreachable_pub, reason = "one crate each")]

use super::{
    place::Place,
    rogue::{Rogue, model},
};
use pollster::block_on;
use r3mes_wgpu::{
    client::{Blocks, OpenDispute},
    compute::{Backend, cpu},
    dispute::{
        judge::Side,
        prover::{Prover, Replay, TaskInputs},
    },
    model::transformer::Step,
    protocol::{Artifact, Commitment, Gradient, Task},
    training::step::Trainer,
    tx::{Message, MsgAnswerDispute, MsgMoveDispute},
};
use std::{sync::Arc, thread::sleep, time::Duration};

/// The gradient of another text as that of a task, and the trace that leads there.
pub struct Liar {
    pub forged: Artifact,
    party: Prover,
}

impl Liar {
    pub fn new(place: &Place, rogue: &Rogue, task: &Task) -> Self {
        let (model, targets) = model(place);
        let backend = Backend::Cpu { threads: 1, kernels: cpu::fastest };
        let blocks = block_on(Blocks::of_task(rogue.client.host(), task)).unwrap();
        let mut material = TaskInputs::fetch(task, model.config.vocab as u32, &|cid| blocks.get(cid)).unwrap();
        material.tokens[700] ^= 1;
        let step = Step::new(&model, &targets, 1);
        let executor = block_on(backend.executor(&Arc::new(step.recording.clone()))).unwrap();
        let mut trainer = Trainer::new(step, executor);
        let exponents: Vec<i32> = material.matrices.iter().map(|spec| spec.exponent).collect();
        block_on(trainer.load(&material.adapter, &exponents)).unwrap();
        let found = block_on(trainer.gradient(&material.tokens, &material.task_key, 0)).unwrap();
        let gradient = Gradient { loss: found.loss, tokens: found.supervised as u32, matrices: found.matrices };
        let replay = block_on(Replay::new(&model, &targets, &material, &backend)).unwrap();
        let forged = Artifact::gradient(task, &gradient).unwrap();
        Self { forged, party: block_on(Prover::new(replay)).unwrap() }
    }

    /// Commits to it; its number.
    pub fn submit(&self, rogue: &Rogue) -> u64 {
        let (task, held) = rogue.held();
        let dag = self.forged.dag().unwrap();
        block_on(rogue.client.put(&dag)).unwrap();
        rogue.say(&held, dag.root, Commitment::new(&task, &self.forged.gradient_root())).unwrap()
    }

    /// Stands for it in every dispute until it is rejected; how much it had to say that was not refused.
    pub fn defend(&mut self, rogue: &Rogue, id: u64) -> u32 {
        let mut said = 0;
        while block_on(rogue.client.stored(id)).unwrap().status != "rejected" {
            let docket = block_on(rogue.client.docket()).unwrap();
            let about = |dispute: &&OpenDispute| dispute.gradient.stored_gradient_id == id;
            for open in docket.disputes.iter().filter(about) {
                let word = self.word(rogue, open).map(|word| block_on(rogue.client.send(word)));
                said += u32::from(word.is_some_and(|sent| sent.is_ok()));
            }
            sleep(Duration::from_millis(50));
        }
        said
    }

    /// What it has to say; `None` where it has nothing.
    fn word(&mut self, rogue: &Rogue, dispute: &OpenDispute) -> Option<Message> {
        let (sender, dispute_id) = (rogue.address().to_owned(), dispute.dispute_id);
        let Some(given) = dispute.answers.first() else {
            let answer = self.party.answer()?.encode();
            return Some(Message::AnswerDispute(MsgAnswerDispute { sender, dispute_id, answer }));
        };
        let game = given.game().unwrap();
        let step = match game.turn() {
            Side::Miner if game.winner().is_none() => block_on(self.party.next(&game)).ok()??.encode(),
            _ => return None,
        };
        Some(Message::MoveDispute(MsgMoveDispute { sender, dispute_id, answer: 0, step }))
    }
}
