//! Claims. A claim reserves a chunk slot (the ledger's entry for one chunk of the training text in the current round)
//! for one miner, until the claim expires.
//!
//! Each round has a fixed number of chunk slots. If no slot of the round is free, a slot that was claimed at least
//! `claim_grace` seconds ago may be claimed by other miners too, so that a miner that has stopped working does not
//! delay the round. The slot then goes to the first of its miners that submits a gradient.

use super::{
    Author, ChainHead, ChunkSlot, Claim, Event, LedgerParams, State, coins,
    context::{Context, Refusal},
};
use crate::tx::{DENOM, MsgClaimTask, MsgClaimTaskResponse, code};
use prost::Message;

/// ID of the pool of tasks. Each ledger has only this pool.
pub(super) const POOL: u64 = 0;

/// Claims a chunk slot (the ledger's entry for one chunk in the current round) for a miner. Returns the response to the
/// message as protobuf bytes. Does nothing and succeeds if the miner already holds a claim to this slot.
pub(super) fn claim(state: &mut State, message: &MsgClaimTask, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    let taken = |log: &str| Err(Refusal::new(code::TAKEN, log));
    let MsgClaimTask { miner, pool_id, chunk_id } = message;
    if *pool_id != POOL {
        return taken(&format!("pool {pool_id} does not exist; the only pool is {POOL}"));
    }
    let answer = MsgClaimTaskResponse { success: true, tx_hash: context.hash.to_owned() }.encode_to_vec();
    match state.claimed_positions.get(miner) {
        Some(held) if held == chunk_id => return Ok(answer),
        Some(held) => {
            return taken(&format!(
                "the miner already holds chunk {held}: submit its gradient first, or let the claim expire"
            ));
        }
        None => {}
    }
    let author = Author { miner: miner.clone(), session: context.session.clone() };
    let reputation = state.reputation(miner);
    let ChainHead { height, clock, .. } = state.head();
    if reputation.quarantined_until >= *clock && reputation.quarantined_until > 0 {
        let first = height + (reputation.quarantined_until - clock) + 1;
        let log = format!("after its withdrawal, the miner cannot claim a chunk before block {first}");
        return Err(Refusal::new(code::REJECTED, log));
    }
    if state.submissions_of(miner).any(|(_, own)| own.position == *chunk_id && state.is_unsettled(own)) {
        return taken("the miner's earlier gradient of this chunk is not settled yet");
    }
    if !state.is_available(*chunk_id) {
        return taken(&format!("chunk {chunk_id} is not available: claim another chunk"));
    }
    let bond = bond(state, &author)?;
    let LedgerParams { claim_lifetime, .. } = state.genesis.params;
    let now = state.claim_time();
    let session_number = state.session_number_of(&author);
    let claim = Claim { author, since: now, expires: now.saturating_add(claim_lifetime), bond, session_number };
    match state.chunk_slots.entry(*chunk_id).or_insert(ChunkSlot::Claimed(Vec::new())) {
        ChunkSlot::Claimed(claims) => claims.push(claim),
        ChunkSlot::Submitted(_) | ChunkSlot::Accepted(_) => {
            return taken("a gradient of this chunk has already been submitted");
        }
    }
    state.claimed_positions.insert(miner.clone(), *chunk_id);
    let round = state.head().round;
    context.events.push(Event::Claimed { miner: miner.clone(), round, position: *chunk_id });
    Ok(answer)
}

/// Locks the bond of a claim, and returns the amount of the bond in micro-units. `author` is the miner or the session
/// key that makes the claim. If the author cannot pay the bond, the function returns 0: the author then claims without
/// a bond. An author without collateral can do so only up to a limit for each round and a limit for each block. The
/// function fails if such an author cannot pay the bond and one of these limits is reached.
fn bond(state: &mut State, author: &Author) -> Result<u64, Refusal> {
    let LedgerParams { claim_bond, newcomer_bond, unbonded_share, unbonded_per_block, .. } = state.genesis.params;
    let has_collateral = state.has_collateral(author);
    let bond = if has_collateral { claim_bond } else { newcomer_bond };
    if bond == 0 || lock(state, author, bond).is_ok() {
        return Ok(bond);
    }
    if has_collateral {
        return Ok(0);
    }
    let room = LedgerParams::share(state.genesis.quota.into(), unbonded_share).max(u64::from(unbonded_share > 0));
    let open = claims(state).filter(|claim| claim.bond == 0).count() as u64;
    if open + state.head().unbonded_in_round >= room || state.head().unbonded_in_block >= unbonded_per_block {
        let log = format!(
            "a claim locks a bond of {bond}{DENOM}, and all chunks that need no bond are taken: try again later, or in \
             the next round"
        );
        return Err(Refusal::new(code::TAKEN, log));
    }
    state.head_mut().unbonded_in_block += 1;
    Ok(0)
}

/// Locks coins of the miner as the bond of a claim. Fails if the miner has too few coins. If a session key makes the
/// claim, the bond is deducted from the fee allowance that the miner has given to this key, and the function fails if
/// the allowance is smaller than the bond.
fn lock(state: &mut State, Author { miner, session }: &Author, bond: u64) -> Result<(), Refusal> {
    if let Some(session) = session {
        let key = (miner.clone(), session.clone());
        let rest = state.allowances.get(&key).and_then(|allowance| allowance.remaining.checked_sub(bond));
        let Some(remaining) = rest else {
            return Err(Refusal::rejected(format!(
                "the fee allowance from {miner} does not cover a bond of {bond}{DENOM}"
            )));
        };
        coins::take(state, miner, bond, "the bond of a claim")?;
        if let Some(allowance) = state.allowances.get_mut(&key) {
            allowance.remaining = remaining;
        }
        return Ok(());
    }
    coins::take(state, miner, bond, "the bond of a claim")
}

/// Returns the bond of a claim to the miner. If a session key made the claim, the fee allowance of this key is raised
/// by the bond too, unless the session has been closed, revoked or opened again since then. `session_number` is the
/// value that [`State::session_number`] had when the claim was made. If the value is different now, the session has
/// been closed, revoked or opened again.
pub(super) fn unlock(state: &mut State, author: &Author, session_number: u64, bond: u64) {
    let Author { miner, session } = author;
    if let Some(session) = session
        && state.session_number_of(author) == session_number
        && let Some(allowance) = state.allowances.get_mut(&(miner.clone(), session.clone()))
    {
        allowance.remaining = allowance.remaining.saturating_add(bond);
    }
    coins::give_back(state, miner, bond);
}

fn claims(state: &State) -> impl Iterator<Item = &Claim> {
    state.chunk_slots.values().flat_map(|slot| match slot {
        ChunkSlot::Claimed(claims) => claims.as_slice(),
        ChunkSlot::Submitted(_) | ChunkSlot::Accepted(_) => &[],
    })
}

/// Removes the claims that have expired, and burns their bonds.
pub(super) fn expire(state: &mut State) {
    let now = state.claim_time();
    let expired = |claim: &Claim| claim.expires <= now;
    let has_expired = |slot: &ChunkSlot| matches!(slot, ChunkSlot::Claimed(claims) if claims.iter().any(expired));
    let positions: Vec<u64> =
        state.chunk_slots.iter().filter(|(_, slot)| has_expired(slot)).map(|(position, _)| *position).collect();
    for position in positions {
        let Some(ChunkSlot::Claimed(claims)) = state.chunk_slots.remove(&position) else { continue };
        let (over, live): (Vec<_>, Vec<_>) = claims.into_iter().partition(expired);
        for claim in over {
            state.claimed_positions.remove(&claim.author.miner);
            state.head_mut().burned += claim.bond;
        }
        if !live.is_empty() {
            state.chunk_slots.insert(position, ChunkSlot::Claimed(live));
        }
    }
}

/// Marks a chunk slot as submitted: `miner` has submitted the gradient with the ID `submission` for it. Removes all
/// claims to the slot. The bond of `miner` stays locked, and the function returns its amount in micro-units. The bonds
/// of the other claims are paid back to their miners.
pub(super) fn release(state: &mut State, position: u64, miner: &str, submission: u64) -> u64 {
    let slot = state.chunk_slots.insert(position, ChunkSlot::Submitted(submission));
    let Some(ChunkSlot::Claimed(claims)) = slot else { return 0 };
    let mut bond = 0;
    for claim in claims {
        state.claimed_positions.remove(&claim.author.miner);
        if claim.author.miner == miner {
            bond = claim.bond;
        } else {
            unlock(state, &claim.author, claim.session_number, claim.bond);
        }
    }
    bond
}

/// Removes the claim that a miner holds, if there is one, and gives the bond of the claim back to the miner.
pub(super) fn cancel(state: &mut State, miner: &str) {
    let Some(position) = state.claimed_positions.remove(miner) else { return };
    let Some(ChunkSlot::Claimed(mut claims)) = state.chunk_slots.remove(&position) else { return };
    if let Some(at) = claims.iter().position(|claim| claim.author.miner == miner) {
        let claim = claims.remove(at);
        unlock(state, &claim.author, claim.session_number, claim.bond);
    }
    if !claims.is_empty() {
        state.chunk_slots.insert(position, ChunkSlot::Claimed(claims));
    }
}

impl State {
    /// Returns the time that decides whether a claim has expired: the time of the last block, in seconds since 1970,
    /// minus the number of seconds that passed while blocks had no room for another transaction. These seconds do not
    /// count, because the miner could not submit its gradient then.
    fn claim_time(&self) -> u64 {
        self.head().time - self.head().paused_seconds
    }

    /// Returns the positions of the current round's chunk slots that can be claimed now, in ascending order.
    pub fn available(&self) -> impl Iterator<Item = u64> {
        self.genesis.positions(self.head().round).filter(|position| self.is_available(*position))
    }

    /// Returns the claim that a miner holds; `None` if it holds none.
    pub(super) fn claim_of(&self, miner: &str) -> Option<&Claim> {
        match self.chunk_slots.get(self.claimed_positions.get(miner)?)? {
            ChunkSlot::Claimed(claims) => claims.iter().find(|claim| claim.author.miner == miner),
            ChunkSlot::Submitted(_) | ChunkSlot::Accepted(_) => None,
        }
    }

    /// Returns whether the chunk slot at a position of the current round can be claimed now. A free slot can be
    /// claimed. A claimed slot can be claimed again if no slot of the round is free, the slot has fewer than
    /// `claims_per_chunk` claims, and each of these claims is at least `claim_grace` seconds old.
    fn is_available(&self, position: u64) -> bool {
        let LedgerParams { claim_grace, claims_per_chunk, .. } = self.genesis.params;
        let now = self.claim_time();
        let late = |claim: &Claim| claim.since.saturating_add(claim_grace) <= now;
        match self.chunk_slots.get(&position) {
            None => self.genesis.positions(self.head().round).contains(&position),
            Some(ChunkSlot::Claimed(claims)) => {
                let full = self.chunk_slots.len() as u64 >= u64::from(self.genesis.quota);
                full && claims.len() < claims_per_chunk as usize && claims.iter().all(late)
            }
            Some(ChunkSlot::Submitted(_) | ChunkSlot::Accepted(_)) => false,
        }
    }
}
