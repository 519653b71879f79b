//! Registers an account as a participant of the network, with roles and a stake, and ends such a registration.

use crate::{
    client::{Client, ClientError, Connection, NodeRegistration, Timer},
    tx::{DENOM, Message, MsgRegisterNode, MsgUnregisterNode, code},
};

/// Registers the client's address for `roles`, in addition to the roles that it already has. Raises its stake to
/// `stake` micro-units, or to the network's minimum if `stake` is `None`. If its stake is already larger, the stake
/// stays as it is. Returns the registration.
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

/// Gives up all roles of the client's address. Its stake is returned after the network's unbonding time.
///
/// Returns true on success, and false if the ledger refuses the request. The ledger refuses it as long as the address
/// is a sampled verifier of a gradient that is not decided yet, or has a claim or a submission that is not settled yet.
pub async fn unregister<H: Connection + Timer>(client: &Client<H>) -> Result<bool, ClientError> {
    let message = MsgUnregisterNode { node_address: client.address().to_owned() };
    match client.send(Message::UnregisterNode(message)).await {
        Ok(_) => Ok(true),
        Err(ClientError::Failed { code: code::REJECTED, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
