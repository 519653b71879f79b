//! Rewards. Nothing is minted for a gradient before it is *settled*: before the last moment at which it could be
//! rejected. Therefore the supply grows only by work that stays accepted, and a cheat has nothing that it could spend
//! before it is caught.
//!
//! A gradient is settled when its round ends with an aggregate that contains it. A gradient that has left its round
//! because it was disputed is settled when it can no longer be disputed.

use super::{ChunkSlot, Event, LedgerParams, State, SubmissionStatus, coins};

impl State {
    /// Returns whether a miner has collateral: whether it would lose at least `probation` rewards for a wrong gradient.
    pub(super) fn has_collateral(&self, miner: &str) -> bool {
        let LedgerParams { fraud_penalty, .. } = self.genesis.params;
        let stake = LedgerParams::share(self.nodes.get(miner).map_or(0, |node| node.stake), fraud_penalty);
        let escrow = self.reputations.get(miner).map_or(0, |reputation| reputation.escrow);
        stake.saturating_add(escrow) >= self.collateral()
    }

    /// Returns the collateral that a miner needs so that not all of its gradients are recomputed, in micro-units.
    fn collateral(&self) -> u64 {
        let LedgerParams { reward, probation, .. } = self.genesis.params;
        reward.saturating_mul(probation)
    }

    /// Returns whether a gradient of the miner is accused of being wrong: verifiers or a challenger have found so, and
    /// the matter is not decided yet.
    fn is_accused(&self, miner: &str) -> bool {
        self.submissions_of(miner).any(|(id, submission)| match submission.status {
            SubmissionStatus::Disputed => true,
            SubmissionStatus::Challenged(challenge) => {
                self.is_disputed(id)
                    || self.challenges.get(&challenge).is_some_and(|challenge| !challenge.accusers().is_empty())
            }
            _ => false,
        })
    }
}

/// Settles an accepted gradient: mints the reward of its miner, and credits those of its verifiers.
pub(super) fn settle(state: &mut State, id: u64, events: &mut Vec<Event>) {
    let Some(submission) = state.submissions.get_mut(&id) else { return };
    submission.status = SubmissionStatus::Settled;
    let (miner, attested_by) = (submission.miner.clone(), std::mem::take(&mut submission.attested_by));
    let reward = coins::mint(state, state.genesis.params.reward);
    state.head_mut().settled_total += 1;
    state.reputation_mut(&miner).escrow += reward;
    attested_by.into_iter().for_each(|(verifier, reward)| owe(state, verifier, reward));
    let (payee, balance) = release(state, &miner);
    events.push(Event::Settled { id, miner, payee, balance });
}

/// Pays out what a miner has in escrow beyond its collateral, unless one of its gradients is accused of being wrong.
/// Returns the address of the account that receives the miner's rewards, and the balance of that account.
pub(super) fn release(state: &mut State, miner: &str) -> (String, u64) {
    let fraud_penalty = state.genesis.params.fraud_penalty;
    let stake = LedgerParams::share(state.nodes.get(miner).map_or(0, |node| node.stake), fraud_penalty);
    let kept = if stake >= state.collateral() { 0 } else { state.collateral() };
    let held = if state.is_accused(miner) { u64::MAX } else { kept };
    let escrow = state.reputation(miner).escrow;
    let paid = escrow.saturating_sub(held);
    if paid > 0 {
        state.reputation_mut(miner).escrow -= paid;
    }
    let payee = state.account(miner).payout.unwrap_or_else(|| miner.to_owned());
    coins::give_back(state, &payee, paid);
    let balance = state.account(&payee).balance;
    (payee, balance)
}

/// Schedules the settlement of a gradient for the block after the last one in which it can be disputed.
pub(super) fn schedule(state: &mut State, id: u64) {
    let due = state.head().height.saturating_add(state.genesis.params.challenge_blocks).saturating_add(1);
    state.maturing.insert((due, id), ());
}

/// Settles the gradients that can no longer be disputed and do not belong to the current round.
pub(super) fn settle_due(state: &mut State, events: &mut Vec<Event>) {
    let height = state.head().height;
    while let Some((key, ())) = state.maturing.get_min().filter(|((due, _), ())| *due <= height).cloned() {
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

/// Credits a verifier with a reward, which [`pay_owed`] pays.
pub(super) fn owe(state: &mut State, verifier: String, reward: u64) {
    if reward > 0 {
        *state.owed.entry(verifier).or_insert(0) += reward;
    }
}

/// Mints the rewards that are owed to verifiers, as far as the verification budget of all settled gradients covers them.
/// If it does not cover all of them, each verifier gets the same share of what it is owed, and is owed the rest.
pub(super) fn pay_owed(state: &mut State) {
    let budget = state.genesis.params.verification_budget.saturating_mul(state.head().settled_total);
    let budget = budget.saturating_sub(state.head().minted_for_verifiers);
    let total: u128 = state.owed.values().map(|owed| u128::from(*owed)).sum();
    for (verifier, owed) in std::mem::take(&mut state.owed) {
        let due = if total <= budget.into() { owed } else { (u128::from(owed) * u128::from(budget) / total) as u64 };
        let paid = coins::mint(state, due);
        state.head_mut().minted_for_verifiers += paid;
        coins::give_back(state, &verifier, paid);
        owe(state, verifier, owed - paid);
    }
}

/// Pays verifiers that found a wrong gradient from the coins that its miner has `lost`, which are counted as burned.
/// What these do not cover is owed to the verifiers. Returns how many micro-units of the lost coins remain.
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
