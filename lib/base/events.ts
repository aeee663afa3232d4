/** What an operation says while it works. `lib/ui` turns events into lines for people or JSON for programs. */
import type { Digest } from "./digest.ts";

export type Phase =
  | "lock"
  | "repair"
  | "resolve"
  | "plan"
  | "prepare"
  | "unpack"
  | "hooks"
  | "check"
  | "switch"
  | "record"
  | "restart"
  | "undo";

export type CosEvent =
  | { kind: "phase"; phase: Phase; text: string }
  /** `done` and `total` are compressed bytes of all layers; `total` is 0 where it is not known. */
  | { kind: "progress"; done: number; total: number; layer: number; layers: number; entries: number }
  | { kind: "layer"; index: number; layers: number; digest: Digest; bytes: number }
  /** Nothing happens for so many seconds, on purpose: a server asked for it, or a connection is given time. */
  | { kind: "wait"; text: string; seconds: number }
  /** A line that a hook printed. */
  | { kind: "output"; program: string; text: string }
  /** `late`: what was asked is done, and something behind it failed. */
  | { kind: "warning"; text: string; late?: true };

export type Events = (event: CosEvent) => void;
