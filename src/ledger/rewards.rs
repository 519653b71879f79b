//! Rewards. Nothing is minted for a gradient until it is *settled*, that is, until it can no longer be rejected.
//! Therefore the supply grows only by work that stays accepted, and a miner that submits wrong gradients has no rewards
//! that it could spend before it is caught.
//!
//! A gradient is settled when its round ends with an aggregate that contains it. A gradient that has left its round
//! because it was disputed is settled when it can no longer be disputed.

use super::{Author, ChunkSlot, Event, LedgerParams, State, Submission, SubmissionStatus, coins};

impl State {
    /// Returns whether an author (a miner, or a session key that mines for an account) has collateral. This is the case
    /// if a wrong gradient would cost the author at least the reward of `probation` correct gradients, where
    /// `probation` is a parameter of the ledger.
    pub(super) fn has_collateral(&self, author: &Author) -> bool {
        let escrow = self.reputations.get(author).map_or(0, |reputation| reputation.escrow);
        self.stake_at_risk(author).saturating_add(escrow) >= self.collateral()
    }

    /// Returns how many micro-units of its stake an author would lose for a wrong gradient.
    fn stake_at_risk(&self, author: &Author) -> u64 {
        let node = self.nodes.get(&author.miner).filter(|_| author.session.is_none());
        LedgerParams::share(node.map_or(0, |node| node.stake), self.genesis.params.fraud_penalty)
    }

    /// Returns how many micro-units of collateral an author needs. If an author has less, all of its gradients are
    /// recomputed.
    fn collateral(&self) -> u64 {
        let LedgerParams { reward, probation, .. } = self.genesis.params;
        reward.saturating_mul(probation)
    }

    /// Returns the submissions of an author that are still stored, each with its ID.
    pub(super) fn submissions_by(&self, author: &Author) -> impl Iterator<Item = (u64, &Submission)> {
        self.submissions_of(&author.miner).filter(|(_, submission)| submission.session == author.session)
    }

    /// Returns whether a gradient of the author is accused of being wrong: verifiers have found a mismatch, or a
    /// dispute about the gradient is open, and the result is not decided yet.
    fn is_accused(&self, author: &Author) -> bool {
        self.submissions_by(author).any(|(id, submission)| match submission.status {
            SubmissionStatus::Disputed => true,
            SubmissionStatus::Challenged(challenge) => {
                self.is_disputed(id)
                    || self.challenges.get(&challenge).is_some_and(|challenge| !challenge.accusers().is_empty())
            }
            _ => false,
        })
    }
}

/// Settles an accepted gradient: mints the reward of its miner, and credits the rewards of its verifiers.
pub(super) fn settle(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    submission.status = SubmissionStatus::Settled;
    let (author, attested_by) = (submission.author(), std::mem::take(&mut submission.attested_by));
    let reward = coins::mint(state, state.genesis.params.reward);
    state.head_mut().settled_total += 1;
    state.reputation_mut(&author).escrow += reward;
    attested_by.into_iter().for_each(|(verifier, reward)| owe(state, verifier, reward));
    let (payee, balance) = release(state, &author);
    events.push(Event::Settled { id, miner: author.miner, payee, balance });
}

/// Pays out the part of an author's escrow (rewards that the ledger holds back) that the author does not need as
/// collateral. Pays nothing while one of the author's gradients is accused of being wrong. The author may be a session
/// key that mines for an account. If this session has ended, and all of its gradients are settled, the escrow of the
/// session is first added to that of the account. Returns the address that receives the account's rewards, and the
/// balance of this address.
pub(super) fn release(state: &mut State, author: &Author) -> (String, u64) {
    let payee = state.account(&author.miner).payout.unwrap_or_else(|| author.miner.clone());
    let has_ended = author.session.as_ref().is_some_and(|session| !state.is_session(&author.miner, session));
    if has_ended && !state.submissions_by(author).any(|(_, own)| state.is_unsettled(own)) {
        let own = Author::own(&author.miner);
        if let Some(ended) = state.reputations.remove(author) {
            let reputation = state.reputation_mut(&own);
            reputation.escrow += ended.escrow;
            reputation.accepted += ended.accepted;
            reputation.rejected += ended.rejected;
        }
        return release(state, &own);
    }
    let escrow = state.reputations.get(author).map_or(0, |reputation| reputation.escrow);
    if escrow > 0 && !state.is_accused(author) {
        let kept = if state.stake_at_risk(author) >= state.collateral() { 0 } else { state.collateral() };
        let paid = escrow.saturating_sub(kept);
        state.reputation_mut(author).escrow -= paid;
        coins::give_back(state, &payee, paid);
    }
    let balance = state.account(&payee).balance;
    (payee, balance)
}

/// Schedules the settlement of a gradient (the payment of its rewards) for the block after the last block in which the
/// gradient can be disputed.
pub(super) fn schedule(state: &mut State, id: u64) {
    let due = state.head().clock.saturating_add(state.genesis.params.challenge_blocks).saturating_add(1);
    state.maturing.insert((due, id), ());
}

/// Settles (pays the rewards of) the accepted gradients that can no longer be disputed and do not belong to the current
/// round.
pub(super) fn settle_due(state: &mut State, events: &mut Vec<Event>) {
    let clock = state.head().clock;
    while let Some((key, ())) = state.maturing.get_min().filter(|((due, _), ())| *due <= clock).cloned() {
        state.maturing.remove(&key);
        let (_, id) = key;
        let Some(submission) = state.submissions.get(&id) else { continue };
        let in_round = state.chunk_slots.get(&submission.position) == Some(&ChunkSlot::Accepted(id));
        // a gradient that was disputed again has another entry
        if submission.status == SubmissionStatus::Accepted && !in_round && !state.is_disputable(submission) {
            settle(state, id, events);
        }
    }
}

/// Credits a verifier with a reward in micro-units. When the round ends, [`pay_owed`] converts it to coins.
pub(super) fn owe(state: &mut State, verifier: String, reward: u64) {
    if reward > 0 {
        *state.owed.entry(verifier).or_insert(0) += reward;
    }
}

/// Mints the budget for verifiers: `verification_budget` micro-units for each gradient that was settled since the last
/// payment. The verifiers to which the ledger owes rewards share the budget in proportion to these rewards. If it owes
/// none, the budget is kept for the next round.
///
/// The amount depends only on the number of settled gradients, never on the number of recomputations. Otherwise, a
/// coalition of miners and verifiers could increase its income by causing more recomputations.
pub(super) fn pay_owed(state: &mut State) {
    let budget = state.genesis.params.verification_budget.saturating_mul(state.head().settled_total);
    let budget = budget.saturating_sub(state.head().minted_for_verifiers);
    let total: u128 = state.owed.values().map(|owed| u128::from(*owed)).sum();
    if budget == 0 || total == 0 {
        return;
    }
    for (verifier, owed) in std::mem::take(&mut state.owed) {
        let minted = coins::mint(state, (u128::from(owed) * u128::from(budget) / total) as u64);
        state.head_mut().minted_for_verifiers += minted;
        coins::give_back(state, &verifier, minted);
    }
}

/// Pays the verifiers that found a gradient to be wrong. The coins come from the `lost` micro-units that the miner of
/// the gradient has just lost, and that the caller has counted as burned. If they do not cover all rewards, the verifiers
/// are credited with the remainder ([`owe`]). Returns how many of the lost micro-units are left.
pub(super) fn pay_from_lost(state: &mut State, verifiers: Vec<(String, u64)>, mut lost: u64) -> u64 {
    for (verifier, reward) in verifiers {
        let paid = reward.min(lost);
        lost -= paid;
        state.head_mut().burned -= paid;
        coins::give_back(state, &verifier, paid);
        owe(state, verifier, reward - paid);
    }
    lost
}
