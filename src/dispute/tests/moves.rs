//! Tests that every move has only one encoding, and that moves with altered bits neither make a game panic nor let the
//! dishonest side win.

use super::samples::{material, model, prover, random};
use crate::dispute::judge::{DisputeError, Game, MAX_MOVE_BYTES, Move, Side, TaskOutcome};
use pollster::block_on;
use proptest::prelude::*;

proptest! {
    #[test]
    fn decoded_moves_have_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(found) = Move::decode(&bytes) {
            prop_assert_eq!(found.encode(), bytes);
        }
    }
}

#[test]
fn too_many_bytes_are_refused_before_decoding() {
    let found = Move::decode(&vec![0; MAX_MOVE_BYTES + 1]);
    assert!(
        matches!(found, Err(DisputeError::TooLarge { bytes, limit: MAX_MOVE_BYTES }) if bytes == MAX_MOVE_BYTES + 1)
    );
}

/// Alters random bits in each move of a game that the miner's side wins. No altered move may make the game panic or
/// make the miner's side lose.
#[test]
fn altered_moves_are_refused_or_harmless() {
    let (model, material) = (model(), material(-300));
    let mut right = prover(&model, &material, None);
    let mut game =
        Game::new(right.replay().subject().clone(), TaskOutcome::Void, &right.answer().unwrap(), 1, 9).unwrap();
    let mut count = 0;
    while game.winner().is_none() {
        let found = match game.turn() {
            Side::Miner => block_on(right.next(&game)).unwrap().unwrap(),
            Side::Challenger => match game.phase() {
                crate::dispute::judge::Phase::Dispatch(dispatch)
                    if dispatch.leaf.saturated && !dispatch.saturated_before =>
                {
                    Move::Challenge(crate::dispute::judge::LeafChallenge::Sound)
                }
                crate::dispute::judge::Phase::Dispatch(_) => {
                    Move::Challenge(crate::dispute::judge::LeafChallenge::Output(0))
                }
                crate::dispute::judge::Phase::Tile(..) => Move::Word(0),
                _ => Move::Pick(1),
            },
        };
        let bytes = found.encode();
        for number in 0..200 {
            let mut altered = bytes.clone();
            let at = random(count, number) as usize % altered.len();
            altered[at] ^= 1 << (random(count + 1, number) % 8);
            if let Ok(altered) = Move::decode(&altered) {
                let mut other = game.clone();
                if other.apply(&altered, 2).is_ok() && game.turn() == Side::Miner {
                    assert_ne!(other.winner(), Some(Side::Challenger), "{altered:?}");
                }
            }
        }
        count += 2;
        game.apply(&found, 2).unwrap();
    }
    assert_eq!(game.winner(), Some(Side::Miner));
}
