//! Registers a node with roles and a stake, and unregisters it.

use crate::{
    client::{Client, ClientError, Connection, NodeRegistration, Timer},
    tx::{DENOM, Message, MsgRegisterNode, MsgUnregisterNode, code},
};

/// Registers the client's address for these roles in addition to its present ones. Raises its stake to `stake`
/// micro-units, or to the network's minimum if `stake` is `None`. A stake that is already larger does not change.
pub async fn register<H: Connection + Timer>(
    client: &Client<H>,
    roles: &[u32],
    stake: Option<u64>,
) -> Result<NodeRegistration, ClientError> {
    let NodeRegistration { roles: mut all, stake: present } = client.registration().await?;
    let stake = match stake {
        Some(stake) => stake,
        None => client.min_stake().await?,
    };
    let missing: Vec<u32> = roles.iter().copied().filter(|role| !all.contains(role)).collect();
    if missing.is_empty() && present >= stake {
        return Ok(NodeRegistration { roles: all, stake: present });
    }
    all.extend(missing);
    let message = MsgRegisterNode {
        node_address: client.address().to_owned(),
        node_type: all.first().map_or(0, |role| *role as i32),
        stake: format!("{}{DENOM}", stake.saturating_sub(present)),
        roles: all.into_iter().map(|role| role as i32).collect(),
        ..Default::default()
    };
    client.send(Message::RegisterNode(message)).await?;
    client.registration().await
}

/// Gives up all roles. The stake is returned after the network's unbonding time. Returns false, and changes nothing, as
/// long as the stake may still be slashed: the address was sampled as a verifier, or has a claim or submission that is
/// not settled.
pub async fn unregister<H: Connection + Timer>(client: &Client<H>) -> Result<bool, ClientError> {
    let message = MsgUnregisterNode { node_address: client.address().to_owned() };
    match client.send(Message::UnregisterNode(message)).await {
        Ok(_) => Ok(true),
        Err(ClientError::Failed { code: code::REJECTED, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
