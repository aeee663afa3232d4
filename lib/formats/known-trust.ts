/**
 * What a machine has seen of a repository's content trust, and never goes back behind: `cOS/trust/ID.json`, beside the install
 * record. Without it an old state of the repository, signed and not yet expired, would pass for the newest one.
 */
import * as z from "zod/mini";
import { parseStrictJson } from "./strict-json.ts";
import { isFormatError } from "./format-error.ts";

/** A newer major version may demand more than this program knows of. */
export const KNOWN_TRUST_VERSION = 1;
/** Bytes; real ones have some hundred. */
export const MAX_KNOWN_TRUST = 64 * 1024;

// Zod's own for this brings its patterns of all other formats along.
const time = z.string().check(
  z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
  z.refine((text) => !Number.isNaN(Date.parse(text))),
);
const version = z.int().check(z.positive());

const schema = z.looseObject({
  schemaVersion: z.number(),
  /** The repository: `registry.example.org/os/base`. */
  gun: z.string(),
  /** When all of this was last verified, by this machine's clock. ISO 8601. */
  at: time,
  root: z.looseObject({ version, sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)) }),
  timestamp: version,
  snapshot: version,
  targets: version,
  /** Of the delegation `targets/releases`, where there is one. */
  releases: z.optional(version),
});
export type KnownTrust = z.infer<typeof schema>;

/** What a file of this kind says; empty where there is none. */
export interface Remembered {
  known?: KnownTrust;
  /** The file, where it cannot be understood. */
  damaged?: string;
}

/** Undefined where the bytes are none of this form, of a newer one, or about another repository. */
export function parseKnownTrust(bytes: Uint8Array, gun: string): KnownTrust | undefined {
  try {
    const { success, data } = schema.safeParse(parseStrictJson(bytes, MAX_KNOWN_TRUST));
    return success && data.gun === gun && Math.floor(data.schemaVersion) === KNOWN_TRUST_VERSION ? data : undefined;
  } catch (thrown) {
    if (isFormatError(thrown)) return undefined;
    throw thrown;
  }
}

export function printKnownTrust(known: KnownTrust): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(known, undefined, 2)}\n`);
}
