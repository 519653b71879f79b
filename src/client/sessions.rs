//! Requests the grants that one account has given to another.

use super::{Client, ClientError, Coin, Connection, amount};
use crate::tx::{GRANTABLE, GrantPair, Message, Session};
use serde::Deserialize;

/// The grants from one account to another that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveGrants {
    /// Type URLs of the messages that the grantee may send.
    pub messages: Vec<String>,
    /// What is left of the fee allowance, in micro-units; `None` if there is no allowance.
    pub allowance: Option<u64>,
}

impl ActiveGrants {
    /// Returns the messages with which the granter revokes all of these grants.
    pub fn revoke(&self, pair: &GrantPair) -> Vec<Message> {
        let revoke = |message: &String| Message::Revoke(pair.clone(), message.clone());
        let allowance = self.allowance.map(|_| Message::RevokeAllowance(pair.clone()));
        self.messages.iter().map(revoke).chain(allowance).collect()
    }

    /// Returns the messages with which the granter replaces these grants by those of a session. An existing allowance
    /// is revoked first, because the ledger accepts no second one.
    pub fn replace(&self, session: &Session) -> Vec<Message> {
        let allowance = self.allowance.map(|_| Message::RevokeAllowance(session.pair.clone()));
        allowance.into_iter().chain(session.grant()).collect()
    }
}

impl<H: Connection> Client<H> {
    /// Returns the grants in force between two accounts. Message types that mining does not need are left out.
    pub async fn granted(&self, pair: &GrantPair) -> Result<ActiveGrants, ClientError> {
        #[derive(Deserialize)]
        struct Authorization {
            msg: String,
        }
        #[derive(Deserialize)]
        struct Grant {
            authorization: Authorization,
        }
        #[derive(Deserialize)]
        struct GrantsResponse {
            grants: Vec<Grant>,
        }
        let GrantPair { granter, grantee } = pair;
        let path = format!("/cosmos/authz/v1beta1/grants?granter={granter}&grantee={grantee}");
        let GrantsResponse { grants } = self.json(&path).await?;
        let messages = grants.into_iter().map(|grant| grant.authorization.msg);
        let messages = messages.filter(|message| GRANTABLE.contains(&message.as_str())).collect();
        Ok(ActiveGrants { messages, allowance: self.allowance(pair).await? })
    }

    async fn allowance(&self, pair: &GrantPair) -> Result<Option<u64>, ClientError> {
        #[derive(Deserialize)]
        struct BasicAllowance {
            spend_limit: Vec<Coin>,
        }
        #[derive(Deserialize)]
        struct AllowedMsgAllowance {
            allowance: BasicAllowance,
        }
        #[derive(Deserialize)]
        struct FeeGrant {
            allowance: AllowedMsgAllowance,
        }
        #[derive(Deserialize)]
        struct AllowanceResponse {
            allowance: FeeGrant,
        }
        let GrantPair { granter, grantee } = pair;
        let path = format!("/cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}");
        let response: AllowanceResponse = match self.json(&path).await {
            Err(ClientError::Refused { status: 404, .. }) => return Ok(None),
            response => response?,
        };
        amount(&path, &response.allowance.allowance.allowance.spend_limit).map(Some)
    }
}
