// Wallets: Keplr- and Leap-shaped providers, or a signer of that shape that the embedding site hands over. The wallet
// keeps the account's key; this page has a session's key, which the account may let mine, capped and until a time.
//
// A provider has enable(chainId), getKey(chainId), and signDirect(chainId, signer, signDoc, options) or
// signArbitrary(chainId, signer, text). Words that restore a key are never asked for.
//
// EIP-6963 announces Ethereum wallets. This chain maps no Ethereum address to one of its own, so they are not listed.

/** A Cosmos account's key path is m/44'/118'/0'/0/0, in Keplr and in Leap. */
const COIN_TYPE = 118;
const DECIMALS = 6;
const GAS = 200_000;
const POLL_MS = 250;
const POLLS = 240;

/** Wallets that this page can ask: `{ name, provider, event }`; the event says that the wallet changed its account. */
export function found(signer) {
  const all = [
    { name: "this site's wallet", provider: signer },
    { name: "Keplr", provider: globalThis.keplr, event: "keplr_keystorechange" },
    { name: "Leap", provider: globalThis.leap, event: "leap_keystorechange" },
  ];
  return all.filter(({ provider }) => provider);
}

/** A node's Cosmos routes. */
export class Chain {
  #node;

  constructor(node) {
    this.#node = new URL(node || "/", location.href).href.replace(/\/$/, "");
  }

  async params() {
    return (await this.#get("/remes/remes/v1/params")).params;
  }

  async sequence(address) {
    return Number((await this.#get(`/cosmos/auth/v1beta1/accounts/${address}`)).account.sequence);
  }

  /** The number of the next statement between two accounts. */
  async number(granter, grantee) {
    return Number((await this.#get(`/r3mes/wgpu/v1/sessions/${granter}/${grantee}`)).number);
  }

  /** What is granted: `{ messages, capLeft, expires }`, the cap undefined where there is no allowance. */
  async granted(granter, grantee) {
    const { grants } = await this.#get(`/cosmos/authz/v1beta1/grants?granter=${granter}&grantee=${grantee}`);
    const allowance = await this.#get(`/cosmos/feegrant/v1beta1/allowance/${granter}/${grantee}`, 404);
    const basic = allowance?.allowance.allowance.allowance;
    if (!grants.length && !basic) return undefined;
    const ends = [...grants, ...(basic ? [basic] : [])].map(({ expiration }) => Date.parse(expiration));
    return {
      messages: grants.map(({ authorization }) => authorization.msg),
      capLeft: basic && Number(basic.spend_limit[0].amount),
      expires: Math.min(...ends) / 1000,
    };
  }

  /** Sends a transaction and waits until it ran; throws what the node says against it. */
  async send(bytes) {
    const tx_bytes = btoa(String.fromCharCode(...bytes));
    const body = JSON.stringify({ tx_bytes, mode: "BROADCAST_MODE_SYNC" });
    const post = { method: "POST", headers: { "content-type": "application/json" }, body };
    const { tx_response: checked } = await this.#ask("/cosmos/tx/v1beta1/txs", post);
    if (checked.code) throw new Error(checked.raw_log);
    for (let look = 0; look < POLLS; look += 1) {
      const settled = await this.#get(`/cosmos/tx/v1beta1/txs/${checked.txhash}`, 404);
      if (settled?.tx_response.code) throw new Error(settled.tx_response.raw_log);
      if (settled) return checked.txhash;
      await new Promise((pass) => setTimeout(pass, POLL_MS));
    }
    throw new Error("the transaction is in no block after a minute");
  }

  /** Seconds since 1970, as the chain counts them. */
  async time() {
    return (await this.#get("/r3mes/wgpu/v1/job")).time;
  }

  /** As `experimentalSuggestChain` takes it. */
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

  #get(path, absent) {
    return this.#ask(path, {}, absent);
  }

  async #ask(path, init, absent) {
    const response = await fetch(this.#node + path, init);
    if (response.status === absent) return undefined;
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message ?? `the node answers ${response.status}`);
    return answer;
  }
}

/** A connected account, and the session's key that it grants to. */
export class Account {
  #provider;
  #engine;
  #chain;
  #secret;
  #pubKey;

  constructor({ provider, engine, chain, secret, chainId, pubKey, address, grantee }) {
    [this.#provider, this.#engine, this.#chain, this.#secret, this.#pubKey] = [provider, engine, chain, secret, pubKey];
    Object.assign(this, { chainId, address, grantee });
  }

  /** Asks the wallet, which asks its owner. `secret`: the session's key. */
  static async connect(provider, { engine, chain, secret }) {
    const info = await chain.info();
    // a wallet that knows the chain already asks nothing
    await provider.experimentalSuggestChain?.(info);
    await provider.enable(info.chainId);
    const { bech32Address: address, pubKey } = await provider.getKey(info.chainId);
    if ((await engine.call("addressOf", [pubKey])) !== address) {
      throw new Error(`the wallet's address ${address} is not its key's on this chain`);
    }
    const grantee = await engine.call("sessionAddress", [secret]);
    return new Account({ provider, engine, chain, secret, chainId: info.chainId, pubKey, address, grantee });
  }

  /** Lets the session mine: `cap` in micro-units, `seconds` from now by the chain's clock. */
  async grant(cap, seconds) {
    const expires = (await this.#chain.time()) + seconds;
    if (this.#provider.signDirect) {
      const renews = (await this.#chain.granted(this.address, this.grantee))?.capLeft !== undefined;
      return this.#direct("sessionGrant", { cap, expires, renews });
    }
    return this.#state("openingStatement", "openSession", { cap, expires });
  }

  /** Takes back what was granted. */
  async revoke() {
    if (!this.#provider.signDirect) return this.#state("closingStatement", "closeSession", {});
    const granted = await this.#chain.granted(this.address, this.grantee);
    if (!granted) return undefined;
    return this.#direct("sessionRevoke", { messages: granted.messages, allowance: granted.capLeft !== undefined });
  }

  /** A transaction of the account's. */
  async #direct(call, options) {
    const [sequence, { min_fee: fee }] = await Promise.all([this.#chain.sequence(this.address), this.#chain.params()]);
    const { address, grantee, chainId } = this;
    const halves = await this.#engine.call(call, [
      { ...options, pubKey: this.#pubKey, grantee, sequence, fee: Number(fee) },
    ]);
    const doc = { ...halves, chainId, accountNumber: 0n };
    const { signed, signature } = await this.#provider.signDirect(chainId, address, doc, {
      preferNoSetFee: true,
      preferNoSetMemo: true,
    });
    return this.#chain.send(
      await this.#engine.call("assemble", [signed.bodyBytes, signed.authInfoBytes, bytes(signature)]),
    );
  }

  /** A statement of the account's, in a transaction of the session's. */
  async #state(text, carry, terms) {
    const { address, grantee, chainId } = this;
    if (!this.#provider.signArbitrary) throw new Error("this wallet signs neither transactions nor texts");
    const statement = {
      ...terms,
      chainId,
      grantee,
      pubKey: this.#pubKey,
      number: await this.#chain.number(address, grantee),
    };
    const signature = await this.#provider.signArbitrary(chainId, address, await this.#engine.call(text, [statement]));
    const [sequence, { min_fee: fee }] = await Promise.all([this.#chain.sequence(grantee), this.#chain.params()]);
    const carried = { secret: this.#secret, signature: bytes(signature), sequence, fee: Number(fee) };
    return this.#chain.send(await this.#engine.call(carry, [statement, carried]));
  }
}

function bytes({ signature }) {
  return Uint8Array.from(atob(signature), (letter) => letter.charCodeAt(0));
}
