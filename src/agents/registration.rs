//! Taking on roles with a stake that answers for them, and leaving them.

use crate::{
    client::{Client, ClientError, Host, Registered},
    tx::{DENOM, Message, MsgRegisterNode, MsgUnregisterNode, code},
};

/// Registers the client's address for these roles too, and brings its stake up to `stake` micro-units, or to the least
/// that the network takes. What it has already is left.
pub async fn register<H: Host>(
    client: &Client<H>,
    roles: &[u32],
    stake: Option<u64>,
) -> Result<Registered, ClientError> {
    let Registered { roles: mut all, stake: present } = client.registered().await?;
    let stake = match stake {
        Some(stake) => stake,
        None => client.min_stake().await?,
    };
    let missing: Vec<u32> = roles.iter().copied().filter(|role| !all.contains(role)).collect();
    if missing.is_empty() && present >= stake {
        return Ok(Registered { roles: all, stake: present });
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
    client.registered().await
}

/// Gives up all roles; the stake comes back after a while. False while something is not settled that the stake answers
/// for: what the address was drawn for, or claimed, or submitted.
pub async fn leave<H: Host>(client: &Client<H>) -> Result<bool, ClientError> {
    let message = MsgUnregisterNode { node_address: client.address().to_owned() };
    match client.send(Message::UnregisterNode(message)).await {
        Ok(_) => Ok(true),
        Err(ClientError::Failed { code: code::REJECTED, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
