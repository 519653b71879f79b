//! Coins from one account to another: `cosmos.bank.v1beta1.MsgSend`, of this chain's coin alone.

use super::{ChainError, check_address, grants};
use cosmrs::{Any, proto::cosmos::bank::v1beta1::MsgSend};
use prost::{Message, Name};

/// What moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Whose coins they are.
    pub from: String,
    /// Whose they will be.
    pub to: String,
    /// Micro-units, at least 1.
    pub amount: u64,
}

impl Transfer {
    pub(super) fn read(value: &[u8]) -> Result<Self, ChainError> {
        let MsgSend { from_address, to_address, amount } = grants::decode(value)?;
        check_address(&from_address)?;
        check_address(&to_address)?;
        match grants::amount(&amount)? {
            None | Some(0) => Err(ChainError::Malformed("a MsgSend of no coins".to_owned())),
            Some(amount) => Ok(Self { from: from_address, to: to_address, amount }),
        }
    }

    pub(super) fn to_any(&self) -> Any {
        let Self { from, to, amount } = self.clone();
        let send = MsgSend { from_address: from, to_address: to, amount: grants::coins(amount) };
        Any { type_url: MsgSend::type_url(), value: send.encode_to_vec() }
    }
}
