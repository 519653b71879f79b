//! The events of transactions in the form in which Cosmos chains report them. They are computed from a transaction and
//! its outcome when a client requests them. They are not part of the state, so they affect no ledger root.
//!
//! The events of fees and transfers are those of the Cosmos SDK 0.50, so that clients and block explorers recognize
//! them. Fees are burned, and are therefore reported as burned coins.

use super::{Event, TxOutcome, fees};
use crate::tx::{DENOM, Message, Signed, Transfer};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::proto::cosmos::tx::v1beta1::TxRaw;
use prost::Message as _;

/// An event as Cosmos chains report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosmosEvent {
    /// The type of the event, such as `transfer`.
    pub kind: String,
    /// The attributes of the event as pairs of a name and a text. Names may occur more than once.
    pub attributes: Vec<(String, String)>,
}

impl CosmosEvent {
    fn new<const COUNT: usize>(kind: &str, attributes: [(&str, String); COUNT]) -> Self {
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { kind: kind.to_owned(), attributes }
    }
}

impl From<&Event> for CosmosEvent {
    fn from(event: &Event) -> Self {
        let (kind, attributes) = event.attributes();
        Self { kind, attributes }
    }
}

impl TxOutcome {
    /// Returns the events of the transaction `tx`: the events of its fee and its signature, the events of each message,
    /// and the ledger's own events. `self` must be the outcome of this transaction. A failed transaction has only the
    /// events of its fee and its signature, and a transaction that was not admitted has none.
    pub fn cosmos_events(&self, tx: &[u8]) -> Vec<CosmosEvent> {
        // the public key is not decoded, because this would take longer than everything else
        match (TxRaw::decode(tx), Signed::unsigned(tx)) {
            (Ok(raw), Ok(signed)) if !self.signer.is_empty() => self.events_of(&signed, &raw.signatures.concat()),
            _ => Vec::new(),
        }
    }

    pub(super) fn events_of(&self, signed: &Signed, signature: &[u8]) -> Vec<CosmosEvent> {
        let mut events = admission_events(signed, signature);
        if self.code == 0 {
            let messages = signed.messages.iter().enumerate();
            events.extend(messages.flat_map(|(index, message)| message_events(message, index)));
            events.extend(self.events.iter().map(CosmosEvent::from));
        }
        events
    }
}

/// Returns the events of a transaction's fee and signature.
fn admission_events(signed: &Signed, signature: &[u8]) -> Vec<CosmosEvent> {
    let Signed { signer, sequence, fee, .. } = signed;
    let payer = fees::payer(signed);
    let paid = if payer.is_some() { fee.amount } else { 0 };
    let payer = payer.unwrap_or(signer).to_owned();
    let mut events = Vec::new();
    if payer != *signer {
        events.push(CosmosEvent::new("use_feegrant", [("granter", payer.clone()), ("grantee", signer.clone())]));
    }
    if paid > 0 {
        events.push(CosmosEvent::new("coin_spent", [("spender", payer.clone()), ("amount", coins(paid))]));
        events.push(CosmosEvent::new("burn", [("burner", payer.clone()), ("amount", coins(paid))]));
    }
    events.push(CosmosEvent::new("tx", [("fee", coins(paid)), ("fee_payer", payer)]));
    events.push(CosmosEvent::new("tx", [("acc_seq", format!("{signer}/{sequence}"))]));
    events.push(CosmosEvent::new("tx", [("signature", BASE64.encode(signature))]));
    events
}

/// Returns the events of a message. `index` is the position of the message in its transaction.
fn message_events(message: &Message, index: usize) -> Vec<CosmosEvent> {
    let (url, sender) = (message.type_url(), message.signer().to_owned());
    // as in the SDK, this is the second part of the type URL, such as `bank` in `/cosmos.bank.v1beta1.MsgSend`
    let module = url.split('.').nth(1).unwrap_or_default().to_owned();
    let mut events =
        vec![CosmosEvent::new("message", [("action", url.to_owned()), ("sender", sender), ("module", module)])];
    if let Message::Send(Transfer { from, to, amount }) = message {
        let (from, to, amount) = (|| from.clone(), || to.clone(), || coins(*amount));
        events.extend([
            CosmosEvent::new("coin_spent", [("spender", from()), ("amount", amount())]),
            CosmosEvent::new("coin_received", [("receiver", to()), ("amount", amount())]),
            CosmosEvent::new("transfer", [("recipient", to()), ("sender", from()), ("amount", amount())]),
            CosmosEvent::new("message", [("sender", from())]),
        ]);
    }
    for event in &mut events {
        event.attributes.push(("msg_index".to_owned(), index.to_string()));
    }
    events
}

/// Returns `amount` micro-units in the text form of the Cosmos SDK, such as `5uremes`; an empty text if `amount` is 0.
fn coins(amount: u64) -> String {
    if amount == 0 { String::new() } else { format!("{amount}{DENOM}") }
}
