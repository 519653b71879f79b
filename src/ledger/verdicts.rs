//! Verdicts on disputes. A dispute is upheld (the gradient is rejected) or dismissed. The accounts that won get their
//! bonds back and receive bounties.

use super::{DisputeCase, Event, Finding, State, SubmissionStatus, coins, decisions, nodes, submissions};
use crate::dispute::judge::Side;

/// Applies the deadlines of all disputes: a party that has not made its move in time loses the game. Then upholds or
/// dismisses each dispute that is decided.
pub(super) fn end(state: &mut State, events: &mut Vec<Event>) {
    let clock = state.head().clock;
    let ids: Vec<u64> = state.disputes.keys().copied().collect();
    for id in ids {
        // an upheld dispute also ends the other disputes about the same gradient
        let Some(mut case) = state.disputes.get(&id).cloned() else { continue };
        match case.dispute.settle(clock) {
            None => drop(state.disputes.insert(id, case)),
            Some(Side::Challenger) => uphold_case(state, id, &case, events),
            Some(Side::Miner) => dismiss(state, id, &case, events),
        }
    }
}

/// Upholds a dispute that the challenger won: returns the challenger's bond and rejects the gradient.
fn uphold_case(state: &mut State, id: u64, case: &DisputeCase, events: &mut Vec<Event>) {
    state.disputes.remove(&id);
    coins::give_back(state, &case.challenger, case.bond.unwrap_or_default());
    release_answers(state, case);
    events.push(Event::Judged { dispute: id, id: case.submission, upheld: true });
    uphold(state, case.submission, &case.challenger, events);
}

/// Rejects a gradient that was proven wrong, slashes its miner and the verifiers that attested a match, and pays a
/// bounty to `challenger`. All other disputes about the gradient end.
pub(super) fn uphold(state: &mut State, id: u64, challenger: &str, events: &mut Vec<Event>) {
    let lost = match state.submissions.get(&id).map(|submission| submission.status) {
        Some(SubmissionStatus::Challenged(challenge)) => {
            decisions::overrule(state, challenge, Finding::Mismatch, events)
        }
        _ => {
            let submission = state.submissions.get_mut(&id);
            let attested_by = submission.map_or(Vec::new(), |submission| std::mem::take(&mut submission.attested_by));
            for (verifier, _) in attested_by {
                nodes::slash(state, &verifier, state.genesis.params.fraud_penalty, events);
            }
            submissions::reject(state, id, Finding::Mismatch, events)
        }
    };
    coins::pay_bounty(state, challenger, lost);
    let others: Vec<u64> =
        state.disputes.iter().filter(|(_, other)| other.submission == id).map(|(id, _)| *id).collect();
    for other in others {
        let Some(case) = state.disputes.remove(&other) else { continue };
        coins::give_back(state, &case.challenger, case.bond.unwrap_or_default());
        release_answers(state, &case);
    }
}

/// Dismisses a dispute after one of the answers (statements that defend the gradient) has won. The account that gave
/// this answer gets a bounty from the challenger's bond. If an appeal opened the dispute, there is no bond. The bounty
/// is then paid when the challenge (the recomputation of the gradient by verifiers) is decided.
fn dismiss(state: &mut State, id: u64, case: &DisputeCase, events: &mut Vec<Event>) {
    let DisputeCase { submission, challenger, bond, .. } = case;
    state.disputes.remove(&id);
    let winner = (0..case.answers.len()).find(|answer| case.winner(*answer) == Some(Side::Miner));
    let answerer = winner.map_or(challenger, |answer| &case.answers[answer].0);
    if let Some(bond) = bond {
        state.head_mut().burned += bond;
        coins::pay_bounty(state, answerer, *bond);
    } else {
        decisions::record_defense(state, *submission, challenger, answerer);
    }
    release_answers(state, case);
    events.push(Event::Judged { dispute: id, id: *submission, upheld: false });
    if !state.is_disputed(*submission) {
        submissions::reinstate(state, *submission, events);
    }
}

/// Returns the bonds of the answers to the accounts that gave them. If the challenger won the game about an answer, the
/// bond of this answer is burned instead, except for a bounty that the challenger gets.
fn release_answers(state: &mut State, case: &DisputeCase) {
    for (answer, (answerer, bond)) in case.answers.iter().enumerate() {
        if case.winner(answer) == Some(Side::Challenger) {
            state.head_mut().burned += bond;
            coins::pay_bounty(state, &case.challenger, *bond);
        } else {
            coins::give_back(state, answerer, *bond);
        }
    }
}

impl DisputeCase {
    /// Returns how many micro-units the challenger and the answerers of the dispute have locked as bonds.
    pub(super) fn locked(&self) -> u128 {
        self.answers.iter().map(|(_, bond)| u128::from(*bond)).sum::<u128>() + u128::from(self.bond.unwrap_or_default())
    }

    /// Returns the side that won the game about the answer with the index `answer`; `None` if the game is not over.
    fn winner(&self, answer: usize) -> Option<Side> {
        self.dispute.game(answer)?.winner()
    }
}
