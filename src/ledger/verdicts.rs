//! A dispute that is decided: the gradient falls or stands, and bonds and stakes go where they belong.

use super::{
    DisputeCase, Event, Finding, State, SubmissionStatus, coins, disputes::open_about, nodes, settlement, submissions,
};
use crate::dispute::judge::Side;

/// Ends the turns whose time is up, and settles disputes that are decided.
pub(super) fn end(state: &mut State, events: &mut Vec<Event>) {
    let height = state.head().height;
    let ids: Vec<u64> = state.disputes.keys().copied().collect();
    for id in ids {
        // one that fell takes the others about its gradient along
        let Some(mut contest) = state.disputes.get(&id).cloned() else { continue };
        match contest.dispute.settle(height) {
            None => drop(state.disputes.insert(id, contest)),
            Some(Side::Challenger) => fallen(state, id, &contest, events),
            Some(Side::Miner) => stood(state, id, &contest, events),
        }
    }
}

/// The challenger was right.
fn fallen(state: &mut State, id: u64, contest: &DisputeCase, events: &mut Vec<Event>) {
    state.disputes.remove(&id);
    coins::give_back(state, &contest.challenger, contest.bond.unwrap_or_default());
    release(state, contest);
    events.push(Event::Judged { dispute: id, id: contest.submission, stands: false });
    fall(state, contest.submission, &contest.challenger, events);
}

/// A gradient is wrong: it does not count, who submitted it pays, and who found it out is paid of that.
pub(super) fn fall(state: &mut State, id: u64, finder: &str, events: &mut Vec<Event>) {
    let lost = match state.submissions.get(&id).map(|submission| submission.status) {
        Some(SubmissionStatus::Challenged(challenge)) => {
            settlement::overrule(state, challenge, Finding::Mismatch, events)
        }
        _ => {
            let submission = state.submissions.get_mut(&id);
            let attested_by = submission.map_or(Vec::new(), |submission| std::mem::take(&mut submission.attested_by));
            for verifier in attested_by {
                nodes::slash(state, &verifier, state.genesis.params.fraud_penalty, events);
            }
            submissions::reject(state, id, Finding::Mismatch, events)
        }
    };
    prize(state, finder, lost);
    // nothing is left that the others could be about
    let others: Vec<u64> =
        state.disputes.iter().filter(|(_, other)| other.submission == id).map(|(id, _)| *id).collect();
    for other in others {
        let Some(contest) = state.disputes.remove(&other) else { continue };
        coins::give_back(state, &contest.challenger, contest.bond.unwrap_or_default());
        release(state, &contest);
    }
}

/// An answer stands: the challenger was wrong, and pays whoever gave it.
fn stood(state: &mut State, id: u64, contest: &DisputeCase, events: &mut Vec<Event>) {
    let DisputeCase { submission, challenger, bond, .. } = contest;
    state.disputes.remove(&id);
    let reputation = (0..contest.answers.len()).find(|at| contest.winner(*at) == Some(Side::Miner));
    let answerer = reputation.map_or(challenger, |at| &contest.answers[at].0);
    if let Some(bond) = bond {
        state.head_mut().burned += bond;
        prize(state, answerer, *bond);
    } else {
        settlement::defend(state, *submission, challenger, answerer);
    }
    release(state, contest);
    events.push(Event::Judged { dispute: id, id: *submission, stands: true });
    if open_about(state, *submission).next().is_none() {
        submissions::reinstate(state, *submission, events);
    }
}

/// Gives the bonds of answers back; those that fell are lost to the challenger.
fn release(state: &mut State, contest: &DisputeCase) {
    for (at, (answerer, bond)) in contest.answers.iter().enumerate() {
        if contest.winner(at) == Some(Side::Challenger) {
            state.head_mut().burned += bond;
            prize(state, &contest.challenger, *bond);
        } else {
            coins::give_back(state, answerer, *bond);
        }
    }
}

/// Half of what a loser just lost, but not more than the bond of a dispute, goes to the winner instead of nobody: less than
/// all, so that nobody wins by losing to oneself.
pub(super) fn prize(state: &mut State, winner: &str, lost: u64) {
    let prize = (lost / 2).min(state.genesis.params.dispute_bond);
    state.head_mut().burned -= prize;
    coins::give_back(state, winner, prize);
}

impl DisputeCase {
    /// Micro-units that its parties have locked.
    pub(super) fn locked(&self) -> u128 {
        self.answers.iter().map(|(_, bond)| u128::from(*bond)).sum::<u128>() + u128::from(self.bond.unwrap_or_default())
    }

    /// Who won the game over an answer.
    fn winner(&self, answer: usize) -> Option<Side> {
        self.dispute.game(answer)?.winner()
    }
}
