//! A claim reserves one position of the round for one miner until it expires.
//!
//! A round is a range of positions. Where all of them are taken, those whose miners have had them for a while can be
//! claimed by others too: a miner that left does not hold up the round, and whoever submits first has the position.

use super::{Claim, Event, Params, Place, Refusal, State, Submission, coins, transactions::Context};
use crate::chain::{DENOM, MsgClaimTask, MsgClaimTaskResponse, code};
use prost::Message;

/// The only pool.
pub(super) const POOL: u64 = 0;

pub(super) fn claim(state: &mut State, message: &MsgClaimTask, context: &mut Context) -> Result<Vec<u8>, Refusal> {
    let taken = |log: &str| Err(Refusal::new(code::TAKEN, log));
    let MsgClaimTask { miner, pool_id, chunk_id } = message;
    if *pool_id != POOL {
        return taken("there is pool 0 only");
    }
    let answer = MsgClaimTaskResponse { success: true, tx_hash: context.hash.to_owned() }.encode_to_vec();
    match state.held.get(miner) {
        Some(held) if held == chunk_id => return Ok(answer),
        Some(held) => return taken(&format!("the miner holds chunk {held} already")),
        None => {}
    }
    let standing = state.standing(miner);
    if standing.quarantined >= state.head().height && standing.quarantined > 0 {
        let log = format!("the miner took its work back: it claims nothing until block {}", standing.quarantined + 1);
        return Err(Refusal::new(code::REJECTED, log));
    }
    let own = |known: &Submission| known.miner == *miner && known.position == *chunk_id && state.is_unsettled(known);
    if state.submissions.values().any(own) {
        return taken("the miner's own gradient of this chunk is not settled yet");
    }
    if !state.available().contains(chunk_id) {
        return taken("this chunk is not available any more");
    }
    let bond = bond(state, miner)?;
    let Params { claim_lifetime, .. } = state.genesis.params;
    let now = state.head().time;
    let claim = Claim { miner: miner.clone(), since: now, expires: now.saturating_add(claim_lifetime), bond };
    match state.places.entry(*chunk_id).or_insert(Place::Claimed(Vec::new())) {
        Place::Claimed(claims) => claims.push(claim),
        Place::Submitted(_) | Place::Accepted(_) => return taken("this chunk is done"),
    }
    state.held.insert(miner.clone(), *chunk_id);
    let round = state.head().round;
    context.events.push(Event::Claimed { miner: miner.clone(), round, position: *chunk_id });
    Ok(answer)
}

/// Locks the bond; miners that own too little share what is left to them.
fn bond(state: &mut State, miner: &str) -> Result<u64, Refusal> {
    let Params { claim_bond, unbonded_share, .. } = state.genesis.params;
    if claim_bond == 0 || coins::take(state, miner, claim_bond, "the bond of a claim").is_ok() {
        return Ok(claim_bond);
    }
    let unbonded = claims(state).filter(|claim| claim.bond == 0).count() as u64;
    if unbonded < Params::share(state.genesis.quota.into(), unbonded_share) {
        return Ok(0);
    }
    let log = format!("a claim locks {claim_bond}{DENOM}; those for miners without are taken: ask again later");
    Err(Refusal::new(code::TAKEN, log))
}

fn claims(state: &State) -> impl Iterator<Item = &Claim> {
    state.places.values().flat_map(|place| match place {
        Place::Claimed(claims) => claims.as_slice(),
        Place::Submitted(_) | Place::Accepted(_) => &[],
    })
}

/// Ends the claims whose time has run out; their bonds are lost.
pub(super) fn expire(state: &mut State) {
    let now = state.head().time;
    let over =
        |place: &Place| matches!(place, Place::Claimed(claims) if claims.iter().any(|claim| claim.expires <= now));
    let positions: Vec<u64> =
        state.places.iter().filter(|(_, place)| over(place)).map(|(position, _)| *position).collect();
    for position in positions {
        let Some(Place::Claimed(claims)) = state.places.remove(&position) else { continue };
        let (live, over): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.expires > now);
        for claim in over {
            state.held.remove(&claim.miner);
            state.head_mut().burned += claim.bond;
        }
        if !live.is_empty() {
            state.places.insert(position, Place::Claimed(live));
        }
    }
}

/// Ends all claims to a position, which is somebody's submission now; bonds come back.
pub(super) fn release(state: &mut State, position: u64, submission: u64) {
    if let Some(Place::Claimed(claims)) = state.places.insert(position, Place::Submitted(submission)) {
        for claim in claims {
            state.held.remove(&claim.miner);
            coins::give_back(state, &claim.miner, claim.bond);
        }
    }
}

/// Ends a miner's claim; its bond comes back.
pub(super) fn give_up(state: &mut State, miner: &str) {
    let Some(position) = state.held.remove(miner) else { return };
    let Some(Place::Claimed(mut claims)) = state.places.remove(&position) else { return };
    if let Some(at) = claims.iter().position(|claim| claim.miner == miner) {
        coins::give_back(state, miner, claims.remove(at).bond);
    }
    if !claims.is_empty() {
        state.places.insert(position, Place::Claimed(claims));
    }
}

impl State {
    /// The positions of the round that can be claimed, in order.
    pub fn available(&self) -> Vec<u64> {
        let Params { claim_grace, claims_per_chunk, .. } = self.genesis.params;
        let (round, now) = (self.genesis.positions(self.head().round), self.head().time);
        let free: Vec<u64> = round.clone().filter(|position| !self.places.contains_key(position)).collect();
        if !free.is_empty() {
            return free;
        }
        let late = |claim: &Claim| claim.since.saturating_add(claim_grace) <= now;
        let shared = |position: &u64| match self.places.get(position) {
            Some(Place::Claimed(claims)) => claims.len() < claims_per_chunk as usize && claims.iter().all(late),
            _ => false,
        };
        round.filter(shared).collect()
    }
}
