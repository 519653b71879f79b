// The Cosmos API of a node, as far as the page uses it: accounts, grants, and transactions.

/** SLIP-44 coin type in the key path m/44'/118'/0'/0/0, which Keplr and Leap use for Cosmos accounts. */
const COIN_TYPE = 118;
const DECIMALS = 6;
/** Gas limit of a transaction, from which the gas price for the wallet is derived. */
const GAS = 200_000;
/**
 * Milliseconds between two requests for a transaction's result, and the number of requests before `broadcast` gives up:
 * about a minute in all.
 */
const POLL_MS = 250;
const MAX_POLLS = 240;

/** @typedef {{ spend_limit: { amount: string }[], expiration: string }} BasicAllowance */
/** @typedef {{ tx_response: { txhash: string, code: number, raw_log: string } }} TxAnswer */

/**
 * What an account has granted to a session key.
 *
 * @typedef {object} Grants
 * @property {string[]} messages type URLs of the messages that the key may send for the account
 * @property {number | undefined} capLeft fees in micro-units that the key may still spend; `undefined` without an
 *   allowance
 * @property {number} expires when the first grant expires, in seconds since 1970
 */

/** The Cosmos API of a node. */
export class Chain {
  #node;

  /** @param {string} node the URL of the node; a relative one is resolved against the page */
  constructor(node) {
    this.#node = new URL(node || "/", location.href).href.replace(/\/$/, "");
  }

  /** Returns the parameters of the chain. `min_fee` is the smallest fee of a transaction in micro-units. */
  async params() {
    const { params } = /** @type {{ params: Record<"chain_id" | "bech32_prefix" | "denom" | "min_fee", string> }} */ (
      await this.#get("/remes/remes/v1/params")
    );
    return params;
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
   * Returns the number that the next session statement between two accounts must have.
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
   * Returns what an account has granted to a session key, or `undefined` if nothing.
   * @param {string} granter
   * @param {string} grantee
   * @returns {Promise<Grants | undefined>}
   */
  async grants(granter, grantee) {
    const { grants } = /** @type {{ grants: { authorization: { msg: string }, expiration: string }[] }} */ (
      await this.#get(`/cosmos/authz/v1beta1/grants?granter=${granter}&grantee=${grantee}`)
    );
    // an AllowedMsgAllowance that contains a BasicAllowance
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
   * Broadcasts a transaction and waits until it is in a block; returns its hash. Throws if it is rejected or fails.
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

  /** Returns the description of the chain that `experimentalSuggestChain` takes. */
  async info() {
    const { chain_id: chainId, bech32_prefix: prefix, denom: coinMinimalDenom, min_fee: fee } = await this.params();
    const currency = { coinDenom: "R3MES", coinMinimalDenom, coinDecimals: DECIMALS };
    const price = Number(fee) / GAS;
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
   * Returns the JSON answer to a GET request.
   * @param {string} path
   * @returns {Promise<unknown>}
   */
  #get(path) {
    return this.#fetch(path, {});
  }

  /**
   * Returns the JSON answer to a GET request, or `undefined` if the node answers 404 Not Found.
   * @param {string} path
   * @returns {Promise<unknown>}
   */
  #getOptional(path) {
    return this.#fetch(path, {}, 404);
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   * @param {number} [absentStatus] the HTTP status for which this returns `undefined`
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
