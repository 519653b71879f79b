// Checks the types of the element in JSX, and those of its methods and of the engine.

import type {} from "r3mes-miner/jsx";
import type { OfflineSigner, R3mesMiner, State } from "r3mes-miner";
import { Engine } from "r3mes-miner/engine";
import { Miner } from "r3mes-miner/react";
import { BitLinear, verify } from "r3mes-miner/wasm";

export const element = <r3mes-miner node="https://node.example" intensity={0.5} backend="auto" />;
// @ts-expect-error there is no such backend
export const wrong = <r3mes-miner backend="abacus" />;
// @ts-expect-error a reward has no loss
export const alsoWrong = <Miner onReward={({ loss }) => loss} />;

export async function use(miner: R3mesMiner, signer: OfflineSigner): Promise<State> {
  miner.signer = signer;
  await miner.start();
  miner.finish();
  const verdict = await new Engine().verify("{}", { node: "https://node.example", backend: "cpu" });
  return verdict.ok ? miner.state : "error";
}

export const exported = [BitLinear, verify];
