/** Documents of strangers: their shapes, checked before anything is taken from them. */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import type { Bytes } from "../base/bytes.ts";
import { decodeBase64 } from "../formats/base64.ts";
import { FormatError, isFormatError } from "../formats/format-error.ts";
import { parseStrictJson } from "../formats/strict-json.ts";

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
