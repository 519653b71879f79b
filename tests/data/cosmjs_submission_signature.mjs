// Prints the signature inside a submission, made by CosmJS's crypto: what src/chain/submission.rs must make too.
// npm ci --ignore-scripts, in tests/browser; node ../data/cosmjs_submission_signature.mjs > ../data/cosmjs_submission_signature.txt

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const required = createRequire(pathToFileURL(`${process.cwd()}/package.json`));
const { Secp256k1, sha256 } = required("@cosmjs/crypto");
const { DirectSecp256k1Wallet } = required("@cosmjs/proto-signing");

const wallet = await DirectSecp256k1Wallet.fromKey(new Uint8Array(32).fill(7), "remes");
const [{ address }] = await wallet.getAccounts();
const text = ["r3mes-test-1", address, "bafyartifact", "bafymodel", 5, 17, "ab".repeat(32), "cpu", 99].join("|");
const signature = await Secp256k1.createSignature(sha256(new TextEncoder().encode(text)), new Uint8Array(32).fill(8));
const fixed = signature.toFixedLength().slice(0, 64);
console.log(Buffer.from(fixed).toString("hex"));
