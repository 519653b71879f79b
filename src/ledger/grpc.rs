//! Answers to the protobuf queries that wallets and CosmJS send through `abci_query`. The paths of the queries are
//! those of the gRPC services of a Cosmos SDK 0.50 node.

use super::{CosmosEvent, Ledger, SimulatedTx};
use crate::tx::{COIN_PURPOSE, DENOM, DISPLAY_DENOM, DISPLAY_DIGITS, SYMBOL, canonical_address};
use cosmrs::{
    Any,
    proto::cosmos::{
        auth::v1beta1::{BaseAccount, QueryAccountRequest, QueryAccountResponse},
        bank::v1beta1::{
            DenomUnit, Metadata, QueryAllBalancesRequest, QueryAllBalancesResponse, QueryBalanceRequest,
            QueryBalanceResponse, QueryDenomMetadataRequest, QueryDenomMetadataResponse, QueryDenomsMetadataResponse,
            QuerySpendableBalanceByDenomRequest, QuerySpendableBalanceByDenomResponse, QuerySpendableBalancesRequest,
            QuerySpendableBalancesResponse, QuerySupplyOfRequest, QuerySupplyOfResponse, QueryTotalSupplyResponse,
        },
        base::{
            abci::v1beta1::{GasInfo, Result as TxResult},
            query::v1beta1::PageResponse,
            v1beta1::Coin,
        },
        staking::v1beta1::QueryDelegatorDelegationsResponse,
        tx::v1beta1::{SimulateRequest, SimulateResponse},
    },
    proto::tendermint::abci::{Event, EventAttribute},
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

impl Ledger {
    /// Answers a query. `path` is the gRPC path of the query. `data` is the request, and the returned bytes are the
    /// response, both in protobuf. `min_fee` is the fee in micro-units that the node requires for every transaction.
    pub fn query(&self, path: &str, data: &[u8], min_fee: u64) -> Result<Vec<u8>, QueryError> {
        match path {
            "/cosmos.auth.v1beta1.Query/Account" => self.account(decode(data)?),
            "/cosmos.bank.v1beta1.Query/Balance" => self.balance(decode(data)?),
            "/cosmos.bank.v1beta1.Query/AllBalances" => self.balances(decode(data)?),
            "/cosmos.bank.v1beta1.Query/SpendableBalances" => {
                let request: QuerySpendableBalancesRequest = decode(data)?;
                let (balances, pagination) = coins(self.owned(&request.address)?);
                Ok(QuerySpendableBalancesResponse { balances, pagination }.encode_to_vec())
            }
            "/cosmos.bank.v1beta1.Query/SpendableBalanceByDenom" => {
                let request: QuerySpendableBalanceByDenomRequest = decode(data)?;
                let balance = Some(coin(request.denom, self.owned(&request.address)?));
                Ok(QuerySpendableBalanceByDenomResponse { balance }.encode_to_vec())
            }
            "/cosmos.bank.v1beta1.Query/TotalSupply" => {
                let (supply, pagination) = coins(self.state().supply());
                Ok(QueryTotalSupplyResponse { supply, pagination }.encode_to_vec())
            }
            "/cosmos.bank.v1beta1.Query/SupplyOf" => {
                let request: QuerySupplyOfRequest = decode(data)?;
                Ok(QuerySupplyOfResponse { amount: Some(coin(request.denom, self.state().supply())) }.encode_to_vec())
            }
            "/cosmos.bank.v1beta1.Query/DenomsMetadata" => {
                let pagination = Some(PageResponse { next_key: Vec::new(), total: 1 });
                Ok(QueryDenomsMetadataResponse { metadatas: vec![metadata()], pagination }.encode_to_vec())
            }
            "/cosmos.bank.v1beta1.Query/DenomMetadata" => {
                let request: QueryDenomMetadataRequest = decode(data)?;
                if request.denom != DENOM {
                    return Err(not_found(&format!("client metadata for denom {}", request.denom)));
                }
                Ok(QueryDenomMetadataResponse { metadata: Some(metadata()) }.encode_to_vec())
            }
            "/cosmos.staking.v1beta1.Query/Delegation" => Err(not_found("this chain has no delegations")),
            "/cosmos.staking.v1beta1.Query/DelegatorDelegations" => Ok(QueryDelegatorDelegationsResponse {
                delegation_responses: Vec::new(),
                pagination: Some(PageResponse::default()),
            }
            .encode_to_vec()),
            "/cosmos.tx.v1beta1.Service/Simulate" => self.simulation(decode(data)?, min_fee),
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
        let owned = self.owned(&request.address)?;
        Ok(QueryBalanceResponse { balance: Some(coin(request.denom, owned)) }.encode_to_vec())
    }

    fn balances(&self, request: QueryAllBalancesRequest) -> Result<Vec<u8>, QueryError> {
        let (balances, pagination) = coins(self.owned(&request.address)?);
        Ok(QueryAllBalancesResponse { balances, pagination }.encode_to_vec())
    }

    fn owned(&self, address: &str) -> Result<u64, QueryError> {
        Ok(self.state().account_of(&canonical(address)?).balance)
    }

    /// Simulates a transaction. If it fails, the error has the form that a Cosmos SDK node gives it.
    fn simulation(&self, request: SimulateRequest, min_fee: u64) -> Result<Vec<u8>, QueryError> {
        #[expect(deprecated, reason = "old clients use the field `tx`")]
        let tx = request.tx.map_or(request.tx_bytes, |tx| tx.encode_to_vec());
        let failed = |log: &str, gas: u64| QueryError {
            code: 18,
            log: format!(
                "rpc error: code = Unknown desc = {log} With gas wanted: '0' and gas used: '{gas}' : invalid request"
            ),
        };
        let SimulatedTx { gas, outcome, events } =
            self.simulate(&tx, min_fee).map_err(|refusal| failed(&refusal.log, 0))?;
        if outcome.code != 0 {
            return Err(failed(&outcome.log, gas));
        }
        let attribute = |(key, value): (String, String)| EventAttribute { key, value, index: true };
        let event = |event: CosmosEvent| Event {
            r#type: event.kind,
            attributes: event.attributes.into_iter().map(attribute).collect(),
        };
        #[expect(deprecated, reason = "old clients read the field `data`")]
        let result = TxResult {
            data: outcome.data(),
            events: events.into_iter().map(event).collect(),
            msg_responses: outcome
                .answers
                .into_iter()
                .map(|(type_url, value)| Any { type_url, value: value.into_vec() })
                .collect(),
            ..Default::default()
        };
        let gas_info = Some(GasInfo { gas_wanted: 0, gas_used: gas });
        Ok(SimulateResponse { gas_info, result: Some(result) }.encode_to_vec())
    }
}

/// Returns a coin of the denomination `denom`. Its amount is `amount` if `denom` is the network's denomination,
/// otherwise 0.
fn coin(denom: String, amount: u64) -> Coin {
    let amount = if denom == DENOM { amount } else { 0 };
    Coin { denom, amount: amount.to_string() }
}

/// Returns `amount` micro-units as a list of coins, which is empty for 0, and the pagination of this list.
fn coins(amount: u64) -> (Vec<Coin>, Option<PageResponse>) {
    let coins: Vec<Coin> = (amount > 0).then(|| coin(DENOM.to_owned(), amount)).into_iter().collect();
    let total = coins.len() as u64;
    (coins, Some(PageResponse { next_key: Vec::new(), total }))
}

/// Returns the description of the coin for wallets and explorers.
fn metadata() -> Metadata {
    let unit = |denom: &str, exponent| DenomUnit { denom: denom.to_owned(), exponent, aliases: Vec::new() };
    Metadata {
        description: COIN_PURPOSE.to_owned(),
        denom_units: vec![unit(DENOM, 0), unit(DISPLAY_DENOM, DISPLAY_DIGITS)],
        base: DENOM.to_owned(),
        display: DISPLAY_DENOM.to_owned(),
        name: SYMBOL.to_owned(),
        symbol: SYMBOL.to_owned(),
        ..Default::default()
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
