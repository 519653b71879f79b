// Checks the types of the element in Vue's templates.

import type {} from "r3mes-miner/vue";
import type { GlobalComponents } from "vue";

type Props = InstanceType<GlobalComponents["r3mes-miner"]>["$props"];

export const props: Props = { node: "https://node.example", "onR3mes:reward": ({ detail }) => detail.balance };
// @ts-expect-error there is no such backend
export const wrong: Props = { backend: "abacus" };
