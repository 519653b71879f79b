// A client for the part of a node's Cosmos API that the page uses: accounts, grants, and transactions.

/** The SLIP-44 coin type of Cosmos accounts. Keplr and Leap derive the key of an account at m/44'/118'/0'/0/0. */
const COIN_TYPE = 118;
const DECIMALS = 6;
/** The gas limit of a transaction. The page tells wallets a gas price: the fee of a transfer divided by this limit. */
const GAS = 200_000;
/** The size of a transfer in bytes, and the rows that it may add to the state of the chain; both are upper bounds. */
const TRANSFER_BYTES = 512;
const TRANSFER_ROWS = 2;
/** The time between two requests for the result of a transaction, in milliseconds. */
const POLL_MS = 250;
/** The number of requests for a result after which `broadcast` gives up, about a minute after the first one. */
const MAX_POLLS = 240;

/** @typedef {{ spend_limit: { amount: string }[], expiration: string }} BasicAllowance */
/** @typedef {Record<"chain_id" | "bech32_prefix" | "denom" | "min_fee", string> & { fee_per_byte?: number, fee_per_row?: number }} Params */
/** @typedef {{ tx_response: { txhash: string, code: number, raw_log: string } }} TxAnswer */

/**
 * What an account has granted to a session key.
 *
 * @typedef {object} Grants
 * @property {string[]} messages the type URLs of the messages that the key may send in the name of the account
 * @property {number | undefined} capLeft the amount in micro-units that the key may still spend on fees, or `undefined`
 *   if the account has granted no fee allowance
 * @property {number} expires the earliest expiration time of the grants, in seconds since 1970
 */

/** A client for the Cosmos API of one node. */
export class Chain {
  #node;

  /** @param {string} node the URL of the node; a relative one is resolved against the page */
  constructor(node) {
    this.#node = new URL(node || "/", location.href).href.replace(/\/$/, "");
  }

  /** Returns the parameters of the chain. */
  async params() {
    const { params } = /** @type {{ params: Params }} */ (await this.#get("/remes/remes/v1/params"));
    return params;
  }

  /**
   * Returns the balance of an address in micro-units.
   * @param {string} address
   */
  async balance(address) {
    const { balances } = /** @type {{ balances: { amount: string }[] }} */ (
      await this.#get(`/cosmos/bank/v1beta1/balances/${encodeURIComponent(address)}`)
    );
    return Number(balances[0]?.amount ?? 0);
  }

  /**
   * Returns the rewards of a miner that the ledger holds back in escrow, in micro-units.
   * @param {string} miner the address of the miner's session key, or of the account for which it mines
   */
  async escrow(miner) {
    const { miner_score: score } = /** @type {{ miner_score: { escrow: string } }} */ (
      await this.#get(`/remes/remes/v1/miner_score/${miner}`)
    );
    return Number(score.escrow);
  }

  /**
   * Returns the sequence number of an account's next transaction.
   * @param {string} address
   */
  async sequence(address) {
    const { account } = /** @type {{ account: { sequence: string } }} */ (
      await this.#get(`/cosmos/auth/v1beta1/accounts/${address}`)
    );
    return Number(account.sequence);
  }

  /**
   * Returns the number that the granter's next signed statement about the grantee must contain: how many times so
   * far the granter has opened a session for the grantee or revoked one.
   * @param {string} granter
   * @param {string} grantee
   */
  async statementNumber(granter, grantee) {
    const { number } = /** @type {{ number: string }} */ (
      await this.#get(`/r3mes/wgpu/v1/sessions/${granter}/${grantee}`)
    );
    return Number(number);
  }

  /**
   * Returns what an account has granted to a session key, or `undefined` if it has granted nothing.
   * @param {string} granter
   * @param {string} grantee
   * @returns {Promise<Grants | undefined>}
   */
  async grants(granter, grantee) {
    const { grants } = /** @type {{ grants: { authorization: { msg: string }, expiration: string }[] }} */ (
      await this.#get(`/cosmos/authz/v1beta1/grants?granter=${granter}&grantee=${grantee}`)
    );
    // `answer.allowance.allowance` is an AllowedMsgAllowance, which contains a BasicAllowance
    const answer =
      /** @type {{ allowance: { allowance: { allowance: BasicAllowance } } } | undefined} */
      (await this.#getOptional(`/cosmos/feegrant/v1beta1/allowance/${granter}/${grantee}`));
    const allowance = answer?.allowance.allowance.allowance;
    if (grants.length === 0 && !allowance) return undefined;
    const expirations = [...grants, ...(allowance ? [allowance] : [])].map(({ expiration }) => Date.parse(expiration));
    return {
      messages: grants.map(({ authorization }) => authorization.msg),
      capLeft: allowance && Number(allowance.spend_limit[0]?.amount ?? 0),
      expires: Math.min(...expirations) / 1000,
    };
  }

  /**
   * Broadcasts a transaction, waits until it is in a block, and returns its hash. Throws if the node rejects the
   * transaction, if the transaction fails, or if it is in no block after a minute.
   * @param {Uint8Array} transaction
   */
  async broadcast(transaction) {
    const body = JSON.stringify({ tx_bytes: btoa(String.fromCharCode(...transaction)), mode: "BROADCAST_MODE_SYNC" });
    const request = { method: "POST", headers: { "content-type": "application/json" }, body };
    const { tx_response: checked } = /** @type {TxAnswer} */ (await this.#fetch("/cosmos/tx/v1beta1/txs", request));
    if (checked.code) throw new Error(checked.raw_log);
    for (let poll = 0; poll < MAX_POLLS; poll += 1) {
      const path = `/cosmos/tx/v1beta1/txs/${checked.txhash}`;
      const result = /** @type {TxAnswer | undefined} */ (await this.#getOptional(path));
      if (result?.tx_response.code) throw new Error(result.tx_response.raw_log);
      if (result) return checked.txhash;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new Error(`transaction ${checked.txhash} was not included in a block within a minute`);
  }

  /** Returns the time of the chain, in seconds since 1970. */
  async time() {
    const { time } = /** @type {{ time: number }} */ (await this.#get("/r3mes/wgpu/v1/job"));
    return time;
  }

  /**
   * Returns the chain's minimum fee as three amounts in micro-units: the smallest fee of any transaction, the price of
   * each byte of a transaction, and the price of each row that a transaction may add to the state of the chain.
   */
  async minimumFee() {
    const { min_fee: floor, fee_per_byte: perByte = 0, fee_per_row: perRow = 0 } = await this.params();
    return { floor: Number(floor), perByte: Number(perByte), perRow: Number(perRow) };
  }

  /** Returns a description of the chain, in the form in which a wallet's `experimentalSuggestChain` expects it. */
  async info() {
    const { chain_id: chainId, bech32_prefix: prefix, denom: coinMinimalDenom } = await this.params();
    const { floor, perByte, perRow } = await this.minimumFee();
    const currency = { coinDenom: "R3MES", coinMinimalDenom, coinDecimals: DECIMALS };
    const price = Math.max(floor, TRANSFER_BYTES * perByte + TRANSFER_ROWS * perRow) / GAS;
    return {
      chainId,
      chainName: `R3MES ${chainId}`,
      rpc: this.#node,
      rest: this.#node,
      bip44: { coinType: COIN_TYPE },
      bech32Config: {
        bech32PrefixAccAddr: prefix,
        bech32PrefixAccPub: `${prefix}pub`,
        bech32PrefixValAddr: `${prefix}valoper`,
        bech32PrefixValPub: `${prefix}valoperpub`,
        bech32PrefixConsAddr: `${prefix}valcons`,
        bech32PrefixConsPub: `${prefix}valconspub`,
      },
      currencies: [currency],
      feeCurrencies: [{ ...currency, gasPriceStep: { low: price, average: price, high: price } }],
      stakeCurrency: currency,
    };
  }

  /**
   * Sends a GET request and returns the parsed JSON answer. Throws if the node answers with an error.
   * @param {string} path
   * @returns {Promise<unknown>}
   */
  #get(path) {
    return this.#fetch(path, {});
  }

  /**
   * Sends a GET request and returns the parsed JSON answer, or `undefined` if the node answers with 404 Not Found.
   * @param {string} path
   * @returns {Promise<unknown>}
   */
  #getOptional(path) {
    return this.#fetch(path, {}, 404);
  }

  /**
   * Sends a request and returns the parsed JSON answer. Throws if the node answers with an error.
   * @param {string} path
   * @param {RequestInit} init
   * @param {number} [absentStatus] an HTTP status for which the method returns `undefined` instead of throwing an error
   * @returns {Promise<unknown>}
   */
  async #fetch(path, init, absentStatus) {
    const response = await fetch(this.#node + path, init);
    if (response.status === absentStatus) return undefined;
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message ?? `the node answered with HTTP status ${response.status}`);
    return answer;
  }
}
