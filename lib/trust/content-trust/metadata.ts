/**
 * The metadata of Docker Content Trust: Notary's dialect of TUF (The Update Framework). Its names and types differ from the
 * standard's (`_type` "Root", roles without ".json", no versions in the list of files), so that readers of the one refuse the other.
 */
import { canonicalize } from "@tufjs/canonical-json";
import * as z from "zod/mini";
import type { Bytes } from "../../base/bytes.ts";
import { FormatError } from "../../formats/format-error.ts";
import { parseStrictJson } from "../../formats/strict-json.ts";
import { maybe, shaped, someBase64, time } from "../shape.ts";

/** Keys of one role, and signatures under one document; real ones have one to five. */
const MAX_KEYS = 64;
/** Targets are the tags of a repository; the largest have some ten thousand. */
export const MOST = {
  root: 512 * 1024,
  timestamp: 64 * 1024,
  snapshot: 1024 * 1024,
  targets: 16 * 1024 * 1024,
} as const;

const keyId = z.string().check(z.regex(/^[0-9a-f]{64}$/));
const count = z.int().check(z.positive());
const keyIds = z.array(keyId).check(z.minLength(1), z.maxLength(MAX_KEYS));

const key = z.strictObject({
  keytype: z.string(),
  keyval: z.strictObject({ private: maybe(z.null()), public: someBase64 }),
});
/** A key as a document holds it. */
export type WrittenKey = z.infer<typeof key>;

const role = z.strictObject({ keyids: keyIds, threshold: count });
/** Who may sign for a role, and how many of them must. */
export type Role = z.infer<typeof role>;

const delegation = z.strictObject({
  ...role.shape,
  name: z.string(),
  paths: maybe(z.array(z.string())),
});

const fileSchema = z.strictObject({
  hashes: z.strictObject({ sha256: someBase64, sha512: z.optional(someBase64) }),
  length: z.int().check(z.nonnegative()),
  custom: z.optional(z.unknown()),
});
/** What a parent says of a file: a target's is the manifest of an image. */
export type FileEntry = z.infer<typeof fileSchema>;

const keys = z.record(keyId, key);
const common = { expires: time, version: count };

const SCHEMAS = {
  root: z.strictObject({
    ...common,
    _type: z.literal("Root"),
    consistent_snapshot: z.boolean(),
    keys,
    roles: z.strictObject({
      root: role,
      targets: role,
      snapshot: role,
      timestamp: role,
      // Of older repositories; nobody reads what they sign.
      mirrors: z.optional(z.unknown()),
    }),
  }),
  timestamp: z.strictObject({
    ...common,
    _type: z.literal("Timestamp"),
    meta: z.strictObject({ snapshot: fileSchema }),
  }),
  snapshot: z.strictObject({
    ...common,
    _type: z.literal("Snapshot"),
    meta: z.record(z.string(), fileSchema),
  }),
  targets: z.strictObject({
    ...common,
    _type: z.literal("Targets"),
    delegations: maybe(z.strictObject({ keys: maybe(keys), roles: maybe(z.array(delegation)) })),
    targets: z.record(z.string(), fileSchema),
  }),
};
type Schemas = typeof SCHEMAS;
export type Kind = keyof Schemas;

export interface Document<K extends Kind> {
  /** As it was fetched. */
  bytes: Bytes;
  /** What is signed: its canonical form. */
  canonical: Bytes;
  signatures: readonly { keyid: string; method: string; sig: Bytes }[];
  signed: z.infer<Schemas[K]>;
}

const envelope = z.strictObject({
  signed: z.record(z.string(), z.unknown()),
  signatures: z.array(z.strictObject({ keyid: keyId, method: z.string(), sig: someBase64 })).check(
    z.maxLength(MAX_KEYS),
  ),
});

/** The document in its shape; its signatures are not looked at. Throws `FormatError`. */
export function parseDocument<K extends Kind>(kind: K, bytes: Bytes): Document<K> {
  const { signed, signatures } = shaped(envelope, parseStrictJson(bytes, MOST[kind]));
  return {
    bytes,
    canonical: canonicalBytes(signed),
    signatures,
    signed: shaped(SCHEMAS[kind] as unknown as z.ZodMiniType<z.infer<Schemas[K]>>, signed),
  };
}

/** Throws `FormatError` for what has no canonical form: numbers that are not whole, texts that are no Unicode. */
export function canonicalBytes(value: unknown): Bytes {
  let text: string;
  try {
    text = canonicalize(value);
  } catch (cause) {
    throw new FormatError("it has no canonical form", { cause });
  }
  // What is not well-formed would be encoded as another text is.
  if (!text.isWellFormed()) throw new FormatError("it has no canonical form");
  return new TextEncoder().encode(text);
}
