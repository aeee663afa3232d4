/** Documents of strangers: their shapes, checked before anything is taken from them. */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import type { Bytes } from "../base/bytes.ts";
import { decodeBase64 } from "../formats/base64.ts";
import { FormatError, isFormatError } from "../formats/format-error.ts";
import { parseStrictJson } from "../formats/strict-json.ts";
import type { Hash } from "./keys.ts";

/** Base64 in the document, bytes in the result. */
export const base64 = z.pipe(
  z.string(),
  z.transform((text, context): Bytes => decoded(context.issues, text, decodeBase64)),
);

/** As above, and at least one byte. */
export const someBase64 = base64.check(z.refine((bytes) => bytes.length > 0));

export const hex = z.pipe(
  z.string().check(z.regex(/^(?:[0-9a-f]{2})+$/)),
  z.transform((text): Bytes => Uint8Array.fromHex(text)),
);

/** Protocol Buffers write 64-bit numbers as texts. None here is near 2^53. */
export const count = z.pipe(
  z.union([z.string().check(z.regex(/^(?:0|[1-9]\d{0,15})$/)), z.int().check(z.nonnegative())]),
  z.transform(Number),
);

/** RFC 3339, as Go writes it: with nanoseconds, and the writer's own offset. */
export const time = z.pipe(
  z.string().check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/)),
  z.transform((text, context): Date => {
    const date = new Date(text), sameDay = new Date(`${text.slice(0, 10)}T00:00:00Z`);
    // What rolled over was no date: a 31st of April.
    if (!Number.isNaN(+date) && !Number.isNaN(+sameDay) && sameDay.toISOString().startsWith(text.slice(0, 10))) {
      return date;
    }
    context.issues.push({ code: "custom", input: text, message: "it is no time" });
    return new Date(0);
  }),
);

/** The names that Sigstore's messages have for hash algorithms (`HashAlgorithm` in sigstore/protobuf-specs). */
export const hashName = z.pipe(
  z.enum(["SHA2_256", "SHA2_384", "SHA2_512"]),
  z.transform((name) => `SHA-${name.slice(5)}` as Hash),
);

/** Protocol Buffers may write `null` for what is not there. */
export function maybe<T extends z.ZodMiniType>(type: T) {
  return z.pipe(z.optional(z.nullable(type)), z.transform((value) => value ?? undefined));
}

function decoded(issues: z.core.$ZodRawIssue[], text: string, decode: (text: string) => Bytes): Bytes {
  try {
    return decode(text);
  } catch (thrown) {
    if (!isFormatError(thrown)) throw thrown;
    issues.push({ code: "custom", input: text, message: thrown.message });
    return new Uint8Array();
  }
}

/** Throws `FormatError`. */
export function parseShape<T>(schema: z.ZodMiniType<T>, bytes: Uint8Array, maxBytes: number): T {
  return shaped(schema, parseStrictJson(bytes, maxBytes));
}

/** Throws `FormatError` with the place of the first fault. */
export function shaped<T>(schema: z.ZodMiniType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues, place = (issue?.path ?? []).map(String).join(".");
  if (issue?.code === "unrecognized_keys") {
    throw new FormatError(
      `it has the unknown field "${displayText([place, issue.keys[0]].filter(Boolean).join("."), 200)}"`,
    );
  }
  throw new FormatError(place === "" ? "it is of another shape" : `it is malformed at "${displayText(place, 200)}"`);
}
