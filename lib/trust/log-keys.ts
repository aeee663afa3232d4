/** Keys of transparency logs: of Rekor, and of the logs of certificates. */
import { type Bytes, sameBytes } from "../base/bytes.ts";
import { contains, type Period } from "./chain.ts";
import type { PublicKey } from "./keys.ts";

export interface LogKey {
  key: PublicKey;
  /** By which entries name the log: mostly the SHA-256 of its key. */
  id: Bytes;
  /** The log's name in its checkpoints; undefined where only its key is known: then any name will do. */
  origin?: string;
  validFor: Period;
}

/** The keys of the log with that name that were valid at all times given. */
export function keysOf(logs: readonly LogKey[], id: Bytes, times: readonly Date[]): LogKey[] {
  return logs.filter((log) => sameBytes(log.id, id) && times.every((time) => contains(log.validFor, time)));
}
