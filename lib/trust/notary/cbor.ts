/** CBOR (RFC 8949) in its one shortest form, and of it what COSE uses of it. */
import { decode, encode, Tagged, Tokenizer } from "cborg";
import type { Bytes } from "../../base/bytes.ts";
import { displayText } from "../../base/byte-string.ts";
import { FormatError } from "../../formats/format-error.ts";
import { MAX_ENVELOPE } from "./envelope.ts";

/** Values in one document, which also bounds how deeply they nest; a header has some twenty. */
const MAX_VALUES = 200;

/** Floating-point numbers, null and the like have no place here, and so no form of them can be taken for something else. */
const KINDS = new Set(["uint", "negint", "bytes", "string", "array", "map", "tag"]);

const OPTIONS = {
  strict: true,
  useMaps: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowBigInt: false,
};

/** Maps are `Map`, tags `Tagged`. Throws `FormatError`, also for tags other than those given. */
export function decodeCbor(bytes: Uint8Array, tags: readonly number[]): unknown {
  if (bytes.length > MAX_ENVELOPE) {
    throw new FormatError(`it has ${bytes.length} bytes; at most ${MAX_ENVELOPE} are read`);
  }
  const all = new Tokenizer(bytes, OPTIONS);
  let count = 0;
  const tokenizer = {
    done: () => all.done(),
    pos: () => all.pos(),
    next: () => {
      if (++count > MAX_VALUES) throw new FormatError(`it has more than ${MAX_VALUES} values`);
      const token = all.next();
      if (!KINDS.has(token.type.name)) throw new FormatError(`it has a value of the kind ${token.type.name}`);
      return token;
    },
  };
  try {
    return decode(bytes, { ...OPTIONS, tokenizer, tags: Tagged.preserve(...tags) });
  } catch (cause) {
    if (cause instanceof FormatError || !(cause instanceof Error)) throw cause;
    throw new FormatError(`it is no CBOR in its shortest form: ${displayText(cause.message, 100)}`, { cause });
  }
}

/** The content of a value that has this tag; undefined for any other. */
export function tagged(value: unknown, tag: number): unknown {
  return value instanceof Tagged && value.tag === tag ? value.value : undefined;
}

export function encodeCbor(value: unknown): Bytes {
  return new Uint8Array(encode(value));
}
