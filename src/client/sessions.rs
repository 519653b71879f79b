//! What an account granted to another, asked of a node.

use super::{Client, ClientError, Host, invalid_response};
use crate::tx::{GRANTABLE, GrantPair, Message, Session};
use serde::Deserialize;

/// What holds between two accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Type URLs of the messages that the grantee may send.
    pub messages: Vec<String>,
    /// Micro-units that are left of the fee allowance.
    pub allowance: Option<u64>,
}

impl Granted {
    /// Messages by which the granter takes all of it back.
    pub fn revoke(&self, pair: &GrantPair) -> Vec<Message> {
        let revoke = |message: &String| Message::Revoke(pair.clone(), message.clone());
        let allowance = self.allowance.map(|_| Message::RevokeAllowance(pair.clone()));
        self.messages.iter().map(revoke).chain(allowance).collect()
    }

    /// Messages by which the granter grants a session instead of what holds: an allowance must go before another comes.
    pub fn replace(&self, session: &Session) -> Vec<Message> {
        let allowance = self.allowance.map(|_| Message::RevokeAllowance(session.pair.clone()));
        allowance.into_iter().chain(session.grant()).collect()
    }
}

impl<H: Host> Client<H> {
    /// What a granter grants to a grantee now; of the messages, those of mining.
    pub async fn granted(&self, pair: &GrantPair) -> Result<Granted, ClientError> {
        #[derive(Deserialize)]
        struct Authorization {
            msg: String,
        }
        #[derive(Deserialize)]
        struct One {
            authorization: Authorization,
        }
        #[derive(Deserialize)]
        struct Grants {
            grants: Vec<One>,
        }
        let GrantPair { granter, grantee } = pair;
        let path = format!("/cosmos/authz/v1beta1/grants?granter={granter}&grantee={grantee}");
        let Grants { grants } = self.json(&path).await?;
        let messages = grants.into_iter().map(|one| one.authorization.msg);
        let messages = messages.filter(|message| GRANTABLE.contains(&message.as_str())).collect();
        Ok(Granted { messages, allowance: self.allowance(pair).await? })
    }

    async fn allowance(&self, pair: &GrantPair) -> Result<Option<u64>, ClientError> {
        #[derive(Deserialize)]
        struct Coin {
            amount: String,
        }
        #[derive(Deserialize)]
        struct Basic {
            spend_limit: Vec<Coin>,
        }
        #[derive(Deserialize)]
        struct Allowed {
            allowance: Basic,
        }
        #[derive(Deserialize)]
        struct Pair {
            allowance: Allowed,
        }
        #[derive(Deserialize)]
        struct Answer {
            allowance: Pair,
        }
        let GrantPair { granter, grantee } = pair;
        let path = format!("/cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}");
        let answer: Answer = match self.json(&path).await {
            Err(ClientError::Refused { status: 404, .. }) => return Ok(None),
            answer => answer?,
        };
        let coins = answer.allowance.allowance.allowance.spend_limit;
        let left = coins.first().map_or("0", |coin| &coin.amount);
        left.parse().map(Some).map_err(|_| invalid_response(&path, "an amount that is no number"))
    }
}
