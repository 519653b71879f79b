// Wallets: Keplr, Leap, or a signer with the same interface that the embedding site provides. The account's key stays
// in the wallet. This page has a session key, to which the account can grant the right to mine, with a limit on fees
// and an expiration time. The page never asks for recovery phrases.
//
// Ethereum wallets, which EIP-6963 announces, are not listed: this chain maps no Ethereum address to one of its own.

/** @import { Account as Payer, Carried, Unsigned } from "./r3mes_www.js" */
/** @import { Chain } from "./chain.js" */
/** @import { Engine } from "./engine.js" */

/** @typedef {{ signature: string }} Signature the base64 signature of a wallet */
/**
 * @typedef {{ bodyBytes: Uint8Array, authInfoBytes: Uint8Array, chainId: string, accountNumber: bigint }} SignDoc
 */

/**
 * A Cosmos wallet with the interface of Keplr. It must have `signDirect` or `signArbitrary`.
 *
 * @typedef {object} WalletProvider
 * @property {(info: Awaited<ReturnType<Chain["info"]>>) => Promise<unknown>} [experimentalSuggestChain]
 * @property {(chainId: string) => Promise<unknown>} enable
 * @property {(chainId: string) => Promise<{ bech32Address: string, pubKey: Uint8Array }>} getKey
 * @property {(chainId: string, signer: string, doc: SignDoc, options: object) =>
 *   Promise<{ signed: SignDoc, signature: Signature }>} [signDirect]
 * @property {(chainId: string, signer: string, text: string) => Promise<Signature>} [signArbitrary]
 */

/**
 * A wallet that the page can connect to.
 *
 * @typedef {object} Wallet
 * @property {string} name
 * @property {WalletProvider} provider
 * @property {string} [changeEvent] the window event that reports a change of the account
 */

/**
 * Lists the wallets of this browser.
 * @param {WalletProvider} [signer] a wallet that the embedding site provides
 * @returns {Wallet[]}
 */
export function availableWallets(signer) {
  const candidates = [
    { name: "this site's wallet", provider: signer },
    { name: "Keplr", provider: globalThis.keplr, changeEvent: "keplr_keystorechange" },
    { name: "Leap", provider: globalThis.leap, changeEvent: "leap_keystorechange" },
  ];
  return candidates.flatMap(({ provider, ...wallet }) => (provider ? [{ ...wallet, provider }] : []));
}

/**
 * What an account needs to grant a session.
 *
 * @typedef {object} Connection
 * @property {Pick<Engine, "call">} engine encodes and checks what the wallet signs
 * @property {Chain} chain
 * @property {Uint8Array} secret the secret of the session key, 32 bytes
 */

/** A connected account of a wallet. It grants a session to the session key of this browser, and revokes it. */
export class Account {
  /** The wallet that this account belongs to. */
  wallet;
  /** The address of the account, which is paid. */
  address;

  #connection;
  #chainId;
  #publicKey;
  /** The address of the session key. */
  #grantee;

  /**
   * @param {Wallet} wallet
   * @param {Connection} connection
   * @param {{ chainId: string, publicKey: Uint8Array, address: string, grantee: string }} keys
   */
  constructor(wallet, connection, { chainId, publicKey, address, grantee }) {
    this.wallet = wallet;
    this.address = address;
    this.#connection = connection;
    this.#chainId = chainId;
    this.#publicKey = publicKey;
    this.#grantee = grantee;
  }

  /**
   * Connects to a wallet, which asks its owner for permission.
   * @param {Wallet} wallet
   * @param {Connection} connection
   */
  static async connect(wallet, connection) {
    const { provider } = wallet;
    const { engine, chain, secret } = connection;
    const info = await chain.info();
    // a wallet that knows the chain already does not ask its owner again
    await provider.experimentalSuggestChain?.(info);
    await provider.enable(info.chainId);
    const { bech32Address: address, pubKey: publicKey } = await provider.getKey(info.chainId);
    if ((await engine.call("addressOf", [publicKey])) !== address) {
      throw new Error(`the wallet's address ${address} does not belong to its public key on this chain`);
    }
    const grantee = await engine.call("sessionAddress", [secret]);
    return new Account(wallet, connection, { chainId: info.chainId, publicKey, address, grantee });
  }

  /**
   * Grants the session key the right to mine for the account.
   * @param {number} cap fees in micro-units that the key may spend
   * @param {number} seconds how long the grant is valid, by the time of the chain
   */
  async grant(cap, seconds) {
    const { engine, chain } = this.#connection;
    const grantee = this.#grantee;
    const expires = (await chain.time()) + seconds;
    if (this.wallet.provider.signDirect) {
      const renews = (await chain.grants(this.address, grantee))?.capLeft !== undefined;
      return this.#sendTransaction((payer) =>
        engine.call("sessionGrant", [{ ...payer, grantee, cap, expires, renews }]),
      );
    }
    const opening = { ...(await this.#statement()), cap, expires };
    const text = await engine.call("openingStatement", [opening]);
    return this.#sendStatement(text, (carried) => engine.call("openSession", [opening, carried]));
  }

  /** Revokes everything that the account has granted to the session key. */
  async revoke() {
    const { engine, chain } = this.#connection;
    const grantee = this.#grantee;
    if (this.wallet.provider.signDirect) {
      const grants = await chain.grants(this.address, grantee);
      if (!grants) return undefined;
      const { messages, capLeft } = grants;
      const allowance = capLeft !== undefined;
      return this.#sendTransaction((payer) =>
        engine.call("sessionRevoke", [{ ...payer, grantee, messages, allowance }]),
      );
    }
    const closing = await this.#statement();
    const text = await engine.call("closingStatement", [closing]);
    return this.#sendStatement(text, (carried) => engine.call("closeSession", [closing, carried]));
  }

  /**
   * Has the wallet sign a transaction of the account, and broadcasts it.
   * @param {(payer: Payer) => Promise<Unsigned>} encode
   */
  async #sendTransaction(encode) {
    const { engine, chain } = this.#connection;
    const { provider } = this.wallet;
    if (!provider.signDirect) throw new Error("this wallet does not support signDirect");
    const unsigned = await encode({ pubKey: this.#publicKey, ...(await this.#sequenceAndFee(this.address)) });
    const doc = { ...unsigned, chainId: this.#chainId, accountNumber: 0n };
    const options = { preferNoSetFee: true, preferNoSetMemo: true };
    const { signed, signature } = await provider.signDirect(this.#chainId, this.address, doc, options);
    const { bodyBytes, authInfoBytes } = signed;
    return chain.broadcast(await engine.call("assemble", [bodyBytes, authInfoBytes, signatureBytes(signature)]));
  }

  /**
   * Has the wallet sign the text of a statement, and broadcasts the statement in a transaction of the session key.
   * @param {string} text
   * @param {(carried: Carried) => Promise<Uint8Array>} encode
   */
  async #sendStatement(text, encode) {
    const { chain, secret } = this.#connection;
    const { provider } = this.wallet;
    if (!provider.signArbitrary) throw new Error("this wallet supports neither signDirect nor signArbitrary");
    const signature = signatureBytes(await provider.signArbitrary(this.#chainId, this.address, text));
    return chain.broadcast(await encode({ secret, signature, ...(await this.#sequenceAndFee(this.#grantee)) }));
  }

  /** Returns the fields that every statement has. */
  async #statement() {
    const number = await this.#connection.chain.statementNumber(this.address, this.#grantee);
    return { chainId: this.#chainId, pubKey: this.#publicKey, grantee: this.#grantee, number };
  }

  /**
   * Returns the sequence number and the fee of an account's next transaction.
   * @param {string} address
   */
  async #sequenceAndFee(address) {
    const { chain } = this.#connection;
    const [sequence, { min_fee: fee }] = await Promise.all([chain.sequence(address), chain.params()]);
    return { sequence, fee: Number(fee) };
  }
}

/** @param {Signature} signature */
function signatureBytes({ signature }) {
  return Uint8Array.from(atob(signature), (character) => character.charCodeAt(0));
}
