//! Transfers of coins by the message `cosmos.bank.v1beta1.MsgSend`. Only this chain's own coin can be transferred.

use super::{
    TxError,
    amino::{Amino, object},
    canonical_address,
    encoding::{decode, decode_canonical},
    grants,
};
use cosmrs::{Any, proto::cosmos::bank::v1beta1::MsgSend};
use prost::{Message, Name};
use serde_json::Value;

/// A transfer of coins from one account to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Address of the account that sends the coins.
    pub from: String,
    /// Address of the account that receives the coins.
    pub to: String,
    /// The transferred amount in micro-units, at least 1.
    pub amount: u64,
}

impl Transfer {
    pub(super) fn read(value: &[u8]) -> Result<Self, TxError> {
        let MsgSend { from_address, to_address, amount } = decode(value)?;
        let (from, to) = (canonical_address(&from_address)?, canonical_address(&to_address)?);
        match grants::amount(&amount)? {
            None | Some(0) => Err(TxError::Malformed("a MsgSend must transfer at least 1 micro-unit".to_owned())),
            Some(amount) => Ok(Self { from, to, amount }),
        }
    }

    pub(super) fn amino(value: &[u8]) -> Result<Value, TxError> {
        let MsgSend { from_address, to_address, amount } = decode_canonical(value)?;
        Ok(object([
            ("from_address", from_address.to_amino()),
            ("to_address", to_address.to_amino()),
            ("amount", amount.to_amino()),
        ]))
    }

    pub(super) fn to_any(&self) -> Any {
        let Self { from, to, amount } = self.clone();
        let send = MsgSend { from_address: from, to_address: to, amount: grants::coins(amount) };
        Any { type_url: MsgSend::type_url(), value: send.encode_to_vec() }
    }
}
