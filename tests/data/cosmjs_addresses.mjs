// Prints a table of the addresses that CosmJS derives from mnemonics. The library must derive the same addresses.
//
// Keplr derives account n at m/44'/118'/0'/0/n by default and at m/44'/118'/n'/0/0 on request; the table has both.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/cosmjs_addresses.mjs > tests/data/cosmjs_addresses.tsv

import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { DirectSecp256k1HdWallet } = require("@cosmjs/proto-signing");
const { Slip10RawIndex } = require("@cosmjs/crypto");

const MNEMONICS = [
  // The first is from CosmJS's tests, the others are the shortest and the longest of the BIP 39 test vectors.
  "special sign fit simple patrol salute grocery chicken wheat radar tonight ceiling",
  "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
  "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal will",
  "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
  "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point ten exist slush involve unfold",
];
const PATHS = [
  [118, 0, 0],
  [118, 0, 1],
  [118, 0, 7],
  [118, 2, 0],
  [118, 0, 2147483647],
  [9999, 0, 0],
];

console.log("prefix\tcoin_type\taccount\tindex\taddress\tpublic_key\tmnemonic");
for (const mnemonic of MNEMONICS) {
  for (const [coinType, account, index] of PATHS) {
    for (const prefix of ["remes", "cosmos"]) {
      const path = [
        Slip10RawIndex.hardened(44),
        Slip10RawIndex.hardened(coinType),
        Slip10RawIndex.hardened(account),
        Slip10RawIndex.normal(0),
        Slip10RawIndex.normal(index),
      ];
      const wallet = await DirectSecp256k1HdWallet.fromMnemonic(mnemonic, { hdPaths: [path], prefix });
      const [{ address, pubkey }] = await wallet.getAccounts();
      const key = Buffer.from(pubkey).toString("hex");
      console.log([prefix, coinType, account, index, address, key, mnemonic].join("\t"));
    }
  }
}
