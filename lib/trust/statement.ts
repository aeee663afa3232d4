/** DSSE envelopes, and the in-toto statements in them (secure-systems-lab/dsse, in-toto/attestation). */
import * as z from "zod/mini";
import { type Bytes, concatBytes } from "../base/bytes.ts";
import { type Digest, digestAlgorithm, digestHex } from "../base/digest.ts";
import { parseShape } from "./shape.ts";
import { reading, refuse } from "./verdict.ts";

/** The largest are attestations of large builds; those that sign an image have some hundred bytes. Bytes. */
export const MAX_PAYLOAD = 1024 * 1024;

const PAYLOAD_TYPE = "application/vnd.in-toto+json";

/** What `cosign sign` writes: "this image is signed", and nothing more. */
export const SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1";

const statement = z.object({
  _type: z.enum(["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"]),
  subject: z.array(z.object({
    digest: z.record(z.string(), z.string()),
    annotations: z.optional(z.nullable(z.record(z.string(), z.unknown()))),
  })).check(z.minLength(1), z.maxLength(1000)),
  predicateType: z.string(),
});

/** What an envelope's signatures are over: both the type and the payload, with their lengths. */
export function preAuthEncoding(payloadType: string, payload: Bytes): Bytes {
  const encoder = new TextEncoder(), type = encoder.encode(payloadType);
  return concatBytes(
    encoder.encode(`DSSEv1 ${type.length} `),
    type,
    encoder.encode(` ${payload.length} `),
    payload,
  );
}

/**
 * Whether the statement is about the image, and of a kind that counts: the same key may have signed that the image has
 * such parts, or such holes. Returns what the signer added. To be called once the signature is known to be good.
 */
export function verifyStatement(
  payloadType: string,
  payload: Bytes,
  digest: Digest,
  predicateTypes: readonly string[],
): Record<string, string> {
  if (payloadType !== PAYLOAD_TYPE) refuse("the envelope holds no statement", PAYLOAD_TYPE, payloadType);
  const { subject, predicateType } = reading("the statement", () => parseShape(statement, payload, MAX_PAYLOAD));
  if (!predicateTypes.includes(predicateType)) {
    refuse(
      "the statement says something other than that the image is signed",
      predicateTypes.join(" or "),
      predicateType,
    );
  }
  const algorithm = digestAlgorithm(digest), hex = digestHex(digest);
  const found = subject.find((item) => Object.hasOwn(item.digest, algorithm) && item.digest[algorithm] === hex);
  if (found === undefined) {
    const [first] = subject;
    refuse("the statement is about another image", digest, `${algorithm}:${first?.digest[algorithm] ?? "nothing"}`);
  }
  return textsOf(found.annotations ?? {});
}

export function textsOf(values: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
