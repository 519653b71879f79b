//! Answers to the protobuf queries that wallets and CosmJS send through `abci_query`. The paths of the queries are
//! those of the gRPC services of a Cosmos SDK 0.50 node.

use super::Ledger;
use crate::tx::{DENOM, canonical_address};
use cosmrs::{
    Any,
    proto::cosmos::{
        auth::v1beta1::{BaseAccount, QueryAccountRequest, QueryAccountResponse},
        bank::v1beta1::{QueryAllBalancesRequest, QueryAllBalancesResponse, QueryBalanceRequest, QueryBalanceResponse},
        base::{abci::v1beta1::GasInfo, query::v1beta1::PageResponse, v1beta1::Coin},
        staking::v1beta1::QueryDelegatorDelegationsResponse,
        tx::v1beta1::SimulateResponse,
    },
};
use prost::{Message, Name};

/// Error returned when a query cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{log}")]
pub struct QueryError {
    /// The error code that a Cosmos SDK node would return for this error.
    pub code: u32,
    /// The reason for the failure, as text. It contains `NotFound` if the queried object does not exist; clients search
    /// for this word.
    pub log: String,
}

/// The amount of gas that the simulation of a transaction reports, whatever the transaction is. The ledger itself does
/// not count gas.
const GAS: u64 = 200_000;

impl Ledger {
    /// Answers a query. `path` is the gRPC path of the query. `data` is the request, and the returned bytes are the
    /// response, both in protobuf.
    pub fn query(&self, path: &str, data: &[u8]) -> Result<Vec<u8>, QueryError> {
        match path {
            "/cosmos.auth.v1beta1.Query/Account" => self.account(decode(data)?),
            "/cosmos.bank.v1beta1.Query/Balance" => self.balance(decode(data)?),
            "/cosmos.bank.v1beta1.Query/AllBalances" => self.balances(decode(data)?),
            "/cosmos.staking.v1beta1.Query/Delegation" => Err(not_found("this chain has no delegations")),
            "/cosmos.staking.v1beta1.Query/DelegatorDelegations" => Ok(QueryDelegatorDelegationsResponse {
                delegation_responses: Vec::new(),
                pagination: Some(PageResponse::default()),
            }
            .encode_to_vec()),
            "/cosmos.tx.v1beta1.Service/Simulate" => {
                let gas_info = Some(GasInfo { gas_wanted: 0, gas_used: GAS });
                Ok(SimulateResponse { gas_info, result: None }.encode_to_vec())
            }
            _ => Err(QueryError {
                code: 6,
                log: format!("unknown query path: {}", path.chars().take(64).collect::<String>()),
            }),
        }
    }

    /// Answers a query for an account. Fails with `NotFound` if the account has never received coins or sent a
    /// transaction.
    fn account(&self, request: QueryAccountRequest) -> Result<Vec<u8>, QueryError> {
        let address = canonical(&request.address)?;
        let Some(account) = self.state().accounts.get(&address) else {
            return Err(not_found(&format!("account {address} not found")));
        };
        let account = BaseAccount { address, pub_key: None, account_number: 0, sequence: account.sequence };
        let account = Any { type_url: BaseAccount::type_url(), value: account.encode_to_vec() };
        Ok(QueryAccountResponse { account: Some(account) }.encode_to_vec())
    }

    fn balance(&self, request: QueryBalanceRequest) -> Result<Vec<u8>, QueryError> {
        let owned = self.state().account_of(&canonical(&request.address)?).balance;
        let amount = if request.denom == DENOM { owned } else { 0 };
        Ok(QueryBalanceResponse { balance: Some(Coin { denom: request.denom, amount: amount.to_string() }) }
            .encode_to_vec())
    }

    fn balances(&self, request: QueryAllBalancesRequest) -> Result<Vec<u8>, QueryError> {
        let owned = self.state().account_of(&canonical(&request.address)?).balance;
        let coin = Coin { denom: DENOM.to_owned(), amount: owned.to_string() };
        let balances: Vec<Coin> = (owned > 0).then_some(coin).into_iter().collect();
        let total = balances.len() as u64;
        let pagination = Some(PageResponse { next_key: Vec::new(), total });
        Ok(QueryAllBalancesResponse { balances, pagination }.encode_to_vec())
    }
}

fn decode<M: Message + Name + Default>(data: &[u8]) -> Result<M, QueryError> {
    M::decode(data).map_err(|error| QueryError { code: 18, log: format!("{}: {error}", M::NAME) })
}

fn canonical(address: &str) -> Result<String, QueryError> {
    canonical_address(address).map_err(|error| QueryError { code: 7, log: error.to_string() })
}

fn not_found(what: &str) -> QueryError {
    QueryError { code: 22, log: format!("rpc error: code = NotFound desc = {what}: key not found") }
}
