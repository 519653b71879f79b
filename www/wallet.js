// Access to wallets: Keplr, Leap, or a wallet that the embedding site provides, with the interface of Keplr. The key of
// an account stays in the wallet. The account can grant the right to mine to this browser's session key, with a limit
// on fees and an expiration time. The page never asks for recovery phrases.
//
// Ethereum wallets (which announce themselves by EIP-6963) are not listed, because an Ethereum address corresponds to
// no address of this chain.

/** @import { Account as Payer, Carried, Unsigned } from "./r3mes_www.js" */
/** @import { Chain } from "./chain.js" */
/** @import { Engine } from "./engine.js" */

/** @typedef {{ signature: string }} Signature a signature by a wallet, in base64 */
/**
 * A transaction in the form in which wallets sign it as protobuf bytes.
 *
 * @typedef {{ bodyBytes: Uint8Array, authInfoBytes: Uint8Array, chainId: string, accountNumber: bigint }} SignDoc
 */

/**
 * A transaction in the form in which wallets sign it as JSON.
 *
 * @typedef {object} StdSignDoc
 * @property {string} chain_id
 * @property {string} account_number
 * @property {string} sequence
 * @property {{ amount: readonly { denom: string, amount: string }[], gas: string, granter?: string, payer?: string }} fee
 * @property {readonly { type: string, value: any }[]} msgs
 * @property {string} memo
 */

/**
 * A Cosmos wallet with the interface of Keplr. It must have at least one of `signDirect`, `signAmino` and
 * `signArbitrary`.
 *
 * @typedef {object} WalletProvider
 * @property {(info: Awaited<ReturnType<Chain["info"]>>) => Promise<unknown>} [experimentalSuggestChain]
 * @property {(chainId: string) => Promise<unknown>} enable
 * @property {(chainId: string) => Promise<{ bech32Address: string, pubKey: Uint8Array, isNanoLedger?: boolean }>} getKey
 *   `isNanoLedger` is true if the key is on a Ledger device, which can sign transactions only with `signAmino`
 * @property {(chainId: string, signer: string, doc: SignDoc, options: object) =>
 *   Promise<{ signed: SignDoc, signature: Signature }>} [signDirect]
 * @property {(chainId: string, signer: string, doc: StdSignDoc, options: object) =>
 *   Promise<{ signed: StdSignDoc, signature: Signature }>} [signAmino]
 * @property {(chainId: string, signer: string, text: string) => Promise<Signature>} [signArbitrary]
 */

/**
 * A signer of CosmJS, such as `DirectSecp256k1HdWallet`, or the signer that Cosmos Kit returns. It must have at least one
 * of `signDirect` and `signAmino`.
 *
 * @typedef {object} OfflineSigner
 * @property {() => Promise<readonly { address: string, pubkey: Uint8Array }[]>} getAccounts
 * @property {(signer: string, doc: SignDoc) => Promise<{ signed: SignDoc, signature: Signature }>} [signDirect]
 * @property {(signer: string, doc: StdSignDoc) => Promise<{ signed: StdSignDoc, signature: Signature }>} [signAmino]
 */

/**
 * Returns a wallet with the interface of Keplr. A signer of CosmJS is converted; its first account is used.
 * @param {WalletProvider | OfflineSigner} signer
 * @returns {WalletProvider}
 */
export function asProvider(signer) {
  if (!("getAccounts" in signer)) return signer;
  const { signDirect, signAmino } = signer;
  return {
    enable: async () => {},
    async getKey() {
      const [account] = await signer.getAccounts();
      if (!account) throw new Error("this site's wallet has no account");
      return { bech32Address: account.address, pubKey: account.pubkey };
    },
    signDirect: signDirect && ((_chainId, address, doc) => signDirect.call(signer, address, doc)),
    signAmino: signAmino && ((_chainId, address, doc) => signAmino.call(signer, address, doc)),
  };
}

/**
 * A wallet that the page can connect to.
 *
 * @typedef {object} Wallet
 * @property {string} name
 * @property {WalletProvider} provider
 * @property {string} [changeEvent] the event that the wallet dispatches to `window` when another account is selected
 */

/**
 * Returns the wallets that the page can offer. Candidates are the embedding site's own wallet, Keplr, and Leap; those
 * that are not present are skipped.
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
 * What an account needs, apart from its wallet, to grant and revoke a session.
 *
 * @typedef {object} Connection
 * @property {Pick<Engine, "call">} engine the engine that encodes the transactions and statements that the wallet signs
 * @property {Chain} chain
 * @property {Uint8Array} secret the 32-byte secret of this browser's session key
 */

/** An account in a connected wallet. It can grant a session to this browser's session key, and revoke the session. */
export class Account {
  /** The wallet that holds the key of this account. */
  wallet;
  /** The address of the account. It receives the rewards under a session. */
  address;

  #connection;
  #chainId;
  #publicKey;
  /** The address of the session key. */
  #grantee;
  /** Whether the key of the account is on a Ledger device. */
  #isOnLedger;

  /**
   * @param {Wallet} wallet the wallet that holds the key of the account
   * @param {Connection} connection
   * @param {{ chainId: string, publicKey: Uint8Array, address: string, grantee: string, isOnLedger: boolean }} keys
   */
  constructor(wallet, connection, { chainId, publicKey, address, grantee, isOnLedger }) {
    this.wallet = wallet;
    this.address = address;
    this.#connection = connection;
    this.#chainId = chainId;
    this.#publicKey = publicKey;
    this.#grantee = grantee;
    this.#isOnLedger = isOnLedger;
  }

  /**
   * Connects to a wallet and returns its selected account. The wallet asks its owner for permission.
   * @param {Wallet} wallet
   * @param {Connection} connection
   */
  static async connect(wallet, connection) {
    const { provider } = wallet;
    const { engine, chain, secret } = connection;
    const info = await chain.info();
    // adds the chain to the wallet; a wallet that already has this chain does not ask its owner again
    await provider.experimentalSuggestChain?.(info);
    await provider.enable(info.chainId);
    const { bech32Address, pubKey: publicKey, isNanoLedger = false } = await provider.getKey(info.chainId);
    const address = await engine.call("addressOf", [publicKey]);
    // the same address in upper case belongs to the same account
    if (address !== bech32Address && address.toUpperCase() !== bech32Address) {
      throw new Error(`the wallet's address ${bech32Address} does not belong to its public key on this chain`);
    }
    const grantee = await engine.call("sessionAddress", [secret]);
    const keys = { chainId: info.chainId, publicKey, address, grantee, isOnLedger: isNanoLedger };
    return new Account(wallet, connection, keys);
  }

  /** Returns whether the wallet can sign transactions. If not, it can sign texts. */
  #signsTransactions() {
    const { signDirect, signAmino } = this.wallet.provider;
    return Boolean(signDirect ?? signAmino);
  }

  /**
   * Grants the session key the right to mine for the account.
   * @param {number} cap the largest total amount of fees that the key may spend, in micro-units
   * @param {number} seconds how long the grant is valid, counted from the current time of the chain
   */
  async grant(cap, seconds) {
    const { engine, chain } = this.#connection;
    const grantee = this.#grantee;
    const expires = (await chain.time()) + seconds;
    if (this.#signsTransactions()) {
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
    if (this.#signsTransactions()) {
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
   * Asks the wallet to sign a transaction of the account, and broadcasts the signed transaction.
   * @param {(payer: Payer) => Promise<Unsigned>} encode returns the unsigned transaction
   */
  async #sendTransaction(encode) {
    const { engine, chain } = this.#connection;
    const { provider } = this.wallet;
    const unsigned = await encode({ pubKey: this.#publicKey, ...(await this.#sequenceAndFee(this.address)) });
    const options = { preferNoSetFee: true, preferNoSetMemo: true };
    if (provider.signAmino && (this.#isOnLedger || !provider.signDirect)) {
      const { bodyBytes, authInfoBytes } = unsigned;
      const proposed = await engine.call("inAmino", [bodyBytes, authInfoBytes, this.#chainId]);
      const document = JSON.parse(proposed.document);
      const { signed, signature } = await provider.signAmino(this.#chainId, this.address, document, options);
      const signedJson = JSON.stringify(signed);
      return chain.broadcast(
        await engine.call("assembleAmino", [
          proposed.bodyBytes,
          proposed.authInfoBytes,
          this.#chainId,
          signedJson,
          signatureBytes(signature),
        ]),
      );
    }
    if (!provider.signDirect) throw new Error("this wallet supports neither signDirect nor signAmino");
    const doc = { ...unsigned, chainId: this.#chainId, accountNumber: 0n };
    const { signed, signature } = await provider.signDirect(this.#chainId, this.address, doc, options);
    const { bodyBytes, authInfoBytes } = signed;
    return chain.broadcast(await engine.call("assemble", [bodyBytes, authInfoBytes, signatureBytes(signature)]));
  }

  /**
   * Asks the wallet to sign a statement that opens or closes a session, and broadcasts the signed statement in a
   * transaction of the session key.
   * @param {string} text the statement
   * @param {(carried: Carried) => Promise<Uint8Array>} encode returns the transaction that contains the statement
   */
  async #sendStatement(text, encode) {
    const { chain, secret } = this.#connection;
    const { provider } = this.wallet;
    if (!provider.signArbitrary)
      throw new Error("this wallet supports neither signDirect, signAmino nor signArbitrary");
    const signature = signatureBytes(await provider.signArbitrary(this.#chainId, this.address, text));
    return chain.broadcast(await encode({ secret, signature, ...(await this.#sequenceAndFee(this.#grantee)) }));
  }

  /** Returns the fields that all statements have in common, both those that open and those that close a session. */
  async #statement() {
    const number = await this.#connection.chain.statementNumber(this.address, this.#grantee);
    return { chainId: this.#chainId, pubKey: this.#publicKey, grantee: this.#grantee, number };
  }

  /**
   * Returns the sequence number of an account's next transaction, and the chain's minimum fee.
   * @param {string} address
   */
  async #sequenceAndFee(address) {
    const { chain } = this.#connection;
    const [sequence, fee] = await Promise.all([chain.sequence(address), chain.minimumFee()]);
    return { sequence, fee };
  }
}

/** @param {Signature} signature */
function signatureBytes({ signature }) {
  return Uint8Array.from(atob(signature), (character) => character.charCodeAt(0));
}
