// Prints a keystore encrypted by @noble/hashes and @noble/ciphers. The command line's wallet must be able to open it.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/keystore.mjs > tests/data/keystore.json

import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { argon2id } = require("@noble/hashes/argon2.js");
const { xchacha20poly1305 } = require("@noble/ciphers/chacha.js");
const { Bip39, EnglishMnemonic } = require("@cosmjs/crypto");

const mnemonic = "special sign fit simple patrol salute grocery chicken wheat radar tonight ceiling";
const passphrase = "pässphrase, 8 letters or more";
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const [salt, nonce] = [
  Uint8Array.from({ length: 16 }, (_, at) => at),
  Uint8Array.from({ length: 24 }, (_, at) => 99 - at),
];
const keystore = {
  format: "r3mes/keystore/1",
  address: "remes1jhg0e7s6gn44tfc5k37kr04sznyhedtc6uec2k",
  path: "m/44'/118'/0'/0/0",
  argon2id: { memory_kib: 256, passes: 2, lanes: 2 },
  salt: hex(salt),
  nonce: hex(nonce),
  ciphertext: "",
};
const text = () => `${JSON.stringify(keystore, null, 2)}\n`;
const key = argon2id(new TextEncoder().encode(passphrase), salt, { m: 256, t: 2, p: 2, version: 0x13, dkLen: 32 });
const cipher = xchacha20poly1305(key, nonce, new TextEncoder().encode(text()));
keystore.ciphertext = hex(cipher.encrypt(Bip39.decode(new EnglishMnemonic(mnemonic))));
process.stdout.write(text());
