//! Requests the rights that one account, the granter, has granted to another account, the grantee: the messages that
//! the grantee may send in the granter's name, and the fees that the granter pays for the grantee.

use super::{Client, ClientError, Coin, Connection, amount};
use crate::tx::{GRANTABLE, GrantPair, Message, Session};
use serde::Deserialize;

/// The rights that one account, the grantee, currently has from another, the granter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveGrants {
    /// Type URLs of the messages that the grantee may send in the granter's name.
    pub messages: Vec<String>,
    /// The amount of fees that the granter will still pay for the grantee, in micro-units; `None` if the granter pays
    /// no fees.
    pub allowance: Option<u64>,
}

impl ActiveGrants {
    /// Returns the messages that the granter must send to revoke all rights that the grantee has.
    pub fn revoke(&self, pair: &GrantPair) -> Vec<Message> {
        let revoke = |message: &String| Message::Revoke(pair.clone(), message.clone());
        let allowance = self.allowance.map(|_| Message::RevokeAllowance(pair.clone()));
        self.messages.iter().map(revoke).chain(allowance).collect()
    }

    /// Returns the messages that the granter must send to replace the grantee's current rights with those of
    /// `session`. If there is a fee allowance, it is revoked first, because the ledger does not accept a second
    /// allowance.
    pub fn replace(&self, session: &Session) -> Vec<Message> {
        let allowance = self.allowance.map(|_| Message::RevokeAllowance(session.pair.clone()));
        allowance.into_iter().chain(session.grant()).collect()
    }
}

impl<H: Connection> Client<H> {
    /// Requests the rights that the grantee currently has from the granter. Only message types that a session can grant
    /// are returned.
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
