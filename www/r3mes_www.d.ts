// Types of the engine's functions that the page uses, for the type checker. A build of the engine writes another
// `r3mes_www.d.ts`, with the types that wasm-bindgen infers.
//
// `tests/browser/engine-types.mjs` extracts `engine-declarations.d.ts` from the engine's Rust sources.

import type {
  AminoUnsigned,
  BenchEvent,
  BenchOptions,
  Carried,
  ClosingSession,
  Granted,
  MinerEvent,
  MinerOptions,
  OpeningSession,
  Revoked,
  Unsigned,
} from "./engine-declarations.js";

export * from "./engine-declarations.js";

/** Loads and initializes the WebAssembly module. */
export default function init(options?: { module_or_path: Uint8Array }): Promise<unknown>;

export class Bench {
  private constructor();
  static create(options: BenchOptions, onEvent: (event: BenchEvent) => void): Promise<Bench>;
  round(onEvent: (event: BenchEvent) => void): Promise<void>;
  free(): void;
}

export class Miner {
  private constructor();
  static create(options: MinerOptions, onEvent: (event: MinerEvent) => void): Promise<Miner>;
  readonly address: string;
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  finish(): void;
  stop(): void;
  setIntensity(intensity: number): void;
}

export function sessionAddress(secret: Uint8Array): string;
export function addressOf(publicKey: Uint8Array): string;
export function sessionGrant(options: Granted): Unsigned;
export function sessionRevoke(options: Revoked): Unsigned;
export function assemble(bodyBytes: Uint8Array, authInfoBytes: Uint8Array, signature: Uint8Array): Uint8Array;
export function inAmino(bodyBytes: Uint8Array, authInfoBytes: Uint8Array, chainId: string): AminoUnsigned;
export function assembleAmino(
  bodyBytes: Uint8Array,
  authInfoBytes: Uint8Array,
  chainId: string,
  signed: string,
  signature: Uint8Array,
): Uint8Array;
export function openingStatement(opening: OpeningSession): string;
export function openSession(opening: OpeningSession, carried: Carried): Uint8Array;
export function closingStatement(closing: ClosingSession): string;
export function closeSession(closing: ClosingSession, carried: Carried): Uint8Array;
