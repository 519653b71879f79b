//! How the coalition mines: which chunk slots it claims, and which gradients it submits for them.

use super::{
    super::{
        honest::submission,
        world::{Served, World},
    },
    Coalition, Miner, send,
};
use crate::{
    protocol::Commitment,
    store::Codec,
    tx::{Message, MsgClaimTask, MsgUnregisterNode},
};

impl Coalition {
    /// Claims chunk slots and submits gradients, at the pace and of the quality that the strategy states.
    pub(super) fn mine(&mut self, world: &mut World) {
        let (pace, joined, leave) =
            (self.strategy.get("pace"), self.strategy.get("join"), self.strategy.number("leave"));
        let later = world.ledger.at(world.ledger.state().head().time + 1);
        let free = later.state().available().filter(|position| !self.used.contains(position));
        let free: Vec<u64> = free.take(self.miners.len()).collect();
        let (mut free, height) = (free.into_iter(), world.height());
        let pause = if joined == "one" { 1 } else { 2 };
        let mut budget = self.tasks.saturating_sub(self.submitted);
        for at in 0..self.miners.len() {
            let Miner { address, since, claimed_at, open, .. } = &self.miners[at];
            let address = address.clone();
            let may_leave = !self.miners[at].has_left || self.strategy.get("leaves") == "always";
            if leave > 0 && *since >= leave && may_leave {
                let state = world.ledger.state();
                if state.reputation(&address).escrow == 0 && state.node(&address).is_none() {
                    self.miners[at].since = 0;
                    self.miners[at].has_left = true;
                } else if open.is_empty() {
                    let leaves = MsgUnregisterNode { node_address: address.clone() };
                    send(world, &address, vec![Message::UnregisterNode(leaves)]);
                }
                continue;
            }
            if world.ledger.state().holds_claim(&address) {
                if let Some(message) = self.submission(world, at, None) {
                    send(world, &address, vec![message]);
                }
                budget = budget.saturating_sub(1);
                continue;
            }
            let is_waiting =
                (pace == "decided" && !open.is_empty()) || (*claimed_at > 0 && height < claimed_at + pause);
            if is_waiting || budget == 0 {
                continue;
            }
            let Some(chunk_id) = free.next() else { break };
            budget -= 1;
            self.used.insert(chunk_id);
            let claim = Message::ClaimTask(MsgClaimTask { miner: address.clone(), pool_id: 0, chunk_id });
            self.miners[at].claimed_at = height;
            let submission = if joined == "one" { self.submission(world, at, Some(chunk_id)) } else { None };
            send(world, &address, [claim].into_iter().chain(submission).collect());
        }
    }

    /// Returns the message in which the miner with the index `at` submits a gradient. If `position` is given, the
    /// gradient is for the chunk slot (the ledger's entry for one chunk) at this position, and the miner claims the
    /// slot in the same transaction. If `position` is `None`, the gradient is for the chunk slot that the miner has
    /// already claimed. Returns `None` if the slot does not exist, or if the miner has claimed no slot.
    fn submission(&self, world: &mut World, at: usize, position: Option<u64>) -> Option<Message> {
        let Miner { address, submissions, .. } = &self.miners[at];
        let task = match position {
            Some(position) => world.ledger.task(position, address).ok()?,
            None => world.ledger.held(address).ok()??.task,
        };
        let later = submissions.checked_sub(self.strategy.number("count"));
        let work = match later {
            None => self.strategy.get("first"),
            Some(later) if later.is_multiple_of(self.strategy.number("every")) => self.strategy.get("then"),
            Some(_) => "honest",
        };
        let gradients = world.gradients.of(&task);
        let withheld = Served {
            operators: u8::from_str_radix(self.strategy.get("serve"), 2).unwrap_or_default(),
            to_all_from: match self.strategy.number("after") {
                0 => u64::MAX,
                blocks => world.height() + blocks,
            },
            manifest: self.strategy.get("manifest") == "yes",
            busy: self.strategy.get("absence") == "busy",
        };
        let (version, served) = match work {
            "honest" => (&gradients.right, Served::ALL),
            "forged" => (&gradients.wrong, Served::ALL),
            "withheld" => (&gradients.right, withheld),
            "hidden" => (&gradients.wrong, withheld),
            _ => {
                let commitment = Commitment::new(&task, &[9; 32]);
                let nothing = Codec::DagCbor.cid(&commitment.0);
                return Some(Message::SubmitGradient(Box::new(submission(
                    &world.ledger,
                    address,
                    nothing,
                    commitment,
                ))));
            }
        };
        world.served.insert(version.root, served);
        Some(Message::SubmitGradient(Box::new(submission(&world.ledger, address, version.root, version.commitment))))
    }
}
