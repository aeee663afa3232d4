/** Bytes that are those that their digest names, or an error. */
import { CosError } from "../base/errors.ts";
import { type Digest, digestAlgorithm } from "../base/digest.ts";
import { hasher } from "../system/codecs.ts";
import type { Descriptor } from "../formats/manifest.ts";

/** Passes bytes on and throws `DIGEST_MISMATCH` at the end, or as soon as there are too many. */
export async function* verified(
  chunks: AsyncIterable<Uint8Array>,
  descriptor: Pick<Descriptor, "digest" | "size">,
  what: string,
): AsyncGenerator<Uint8Array> {
  const hash = await hasher(digestAlgorithm(descriptor.digest));
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > descriptor.size) throw mismatch(what, `${descriptor.size} bytes`, "more");
    hash.update(chunk);
    yield chunk;
  }
  if (size < descriptor.size) throw mismatch(what, `${descriptor.size} bytes`, `${size}`);
  const found = `${digestAlgorithm(descriptor.digest)}:${hash.hex()}`;
  if (found !== descriptor.digest) throw mismatch(what, descriptor.digest, found);
}

/** All of a small blob, proven. */
export async function verifiedBytes(
  chunks: AsyncIterable<Uint8Array>,
  descriptor: Pick<Descriptor, "digest" | "size">,
  what: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(descriptor.size);
  let at = 0;
  for await (const chunk of verified(chunks, descriptor, what)) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Throws `DIGEST_MISMATCH` where `bytes` are not what `expected` names. */
export async function verifyBytes(bytes: Uint8Array, expected: Digest, what: string): Promise<void> {
  const found = await digestOf(bytes, expected);
  if (found !== expected) throw mismatch(what, expected, found);
}

/** The digest of `bytes`, with the algorithm of `like`, else SHA-256. */
export async function digestOf(bytes: Uint8Array, like?: Digest): Promise<Digest> {
  const algorithm = like === undefined ? "sha256" : digestAlgorithm(like);
  const hash = await hasher(algorithm);
  hash.update(bytes);
  return `${algorithm}:${hash.hex()}` as Digest;
}

export function mismatch(what: string, expected: string, found: string): CosError {
  return new CosError("DIGEST_MISMATCH", `Refused ${what}: expected ${expected}, got ${found}.`, {
    hint:
      "The bytes were changed or damaged where they are kept or on their way; try again, then ask whoever runs the registry, or make the files anew.",
    details: { expected, found },
  });
}
