// Prints the signature inside a gradient submission, made by CosmJS. The library must produce the same signature.
//
// npm --prefix tests/browser ci --ignore-scripts
// node tests/data/cosmjs_submission_signature.mjs > tests/data/cosmjs_submission_signature.txt

import { createRequire } from "node:module";

const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { Secp256k1, sha256 } = require("@cosmjs/crypto");
const { DirectSecp256k1Wallet } = require("@cosmjs/proto-signing");

const wallet = await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(7), "remes");
const [{ address }] = await wallet.getAccounts();
const text = ["r3mes-test-1", address, "bafyartifact", "bafymodel", 5, 17, "ab".repeat(32), "cpu", 99].join("|");
const signature = await Secp256k1.createSignature(sha256(new TextEncoder().encode(text)), new Uint8Array(32).fill(8));
const fixed = signature.toFixedLength().slice(0, 64);
console.log(Buffer.from(fixed).toString("hex"));
