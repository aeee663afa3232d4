/** Signatures as flattened JSON (RFC 7515, 7.2.2; notaryproject/specifications, signature-envelope-jws.md). */
import * as z from "zod/mini";
import { decodeBase64Url } from "../../formats/base64.ts";
import { FormatError } from "../../formats/format-error.ts";
import { MAX_CHAIN } from "../chain.ts";
import { parseShape, someBase64, time } from "../shape.ts";
import { type Envelope, headerSchema, MAX_ENVELOPE, NAME } from "./envelope.ts";

const header = headerSchema(time);
const envelope = z.strictObject({
  payload: z.string(),
  protected: z.string(),
  header: z.looseObject({
    x5c: z.array(someBase64).check(z.minLength(1), z.maxLength(MAX_CHAIN)),
    [NAME.timestamp]: z.optional(someBase64),
  }),
  signature: z.string(),
});

/** Throws `FormatError`. */
export function parseJws(bytes: Uint8Array): Envelope {
  const { payload, protected: signedHeader, header: unsigned, signature } = parseShape(envelope, bytes, MAX_ENVELOPE);
  const told = parseShape(header, decodeBase64Url(signedHeader), MAX_ENVELOPE);
  // RFC 7515, 4: otherwise it would be open which of the two counts.
  const twin = Object.keys(unsigned).find((name) => Object.hasOwn(told, name));
  if (twin !== undefined) throw new FormatError("a parameter is in both of its headers");
  return {
    header: told,
    signed: new TextEncoder().encode(`${signedHeader}.${payload}`),
    signature: decodeBase64Url(signature),
    payload: decodeBase64Url(payload),
    certificates: unsigned.x5c,
    timestamp: unsigned[NAME.timestamp],
  };
}
