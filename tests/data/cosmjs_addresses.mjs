// Prints the addresses that CosmJS gives for mnemonics: what src/chain/keys.rs must give too.
// npm ci --ignore-scripts, in tests/browser; node ../data/cosmjs_addresses.mjs > ../data/cosmjs_addresses.tsv
// Keplr's account n is m/44'/118'/0'/0/n, or m/44'/118'/n'/0/0 where its user asks for that: both are here.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const required = createRequire(pathToFileURL(`${process.cwd()}/package.json`));
const { DirectSecp256k1HdWallet } = required("@cosmjs/proto-signing");
const { Slip10RawIndex } = required("@cosmjs/crypto");

const MNEMONICS = [
  // of CosmJS's own tests, and the shortest and longest of BIP39's
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
