/** What is said to be signed: `targetArtifact`, an OCI descriptor (signature-specification.md, "Payload"). */
import * as z from "zod/mini";
import type { Bytes } from "../../base/bytes.ts";
import { parseShape } from "../shape.ts";
import type { Subject } from "../sigstore-bundle.ts";
import { MAX_PAYLOAD } from "../statement.ts";
import { reading, refuse } from "../verdict.ts";

const schema = z.object({
  targetArtifact: z.object({
    mediaType: z.string(),
    digest: z.string(),
    size: z.int().check(z.nonnegative()),
    annotations: z.optional(z.nullable(z.record(z.string(), z.string()))),
  }),
});

/** Whether it is the image. Returns what the signer added. To be called once the signature is known to be good. */
export function verifyPayload(payload: Bytes, subject: Subject): Record<string, string> {
  const { targetArtifact: target } = reading("what is signed", () => parseShape(schema, payload, MAX_PAYLOAD));
  const mediaType = mediaTypeOf(subject), size = subject.bytes.length;
  if (target.digest !== subject.digest) refuse("the signature is of another image", subject.digest, target.digest);
  if (target.size !== size) refuse("the signature is of an image of another size", String(size), String(target.size));
  if (target.mediaType !== mediaType) {
    refuse("the signature is of something of another type", mediaType, target.mediaType);
  }
  return target.annotations ?? {};
}

/** A manifest's own word is part of its digest, what a registry calls it is not; but manifests may leave it out. */
function mediaTypeOf({ bytes, mediaType }: Subject): string {
  const own = (JSON.parse(new TextDecoder().decode(bytes)) as { mediaType?: unknown }).mediaType;
  return typeof own === "string" ? own : mediaType?.split(";")[0]?.trim() ?? "none";
}
