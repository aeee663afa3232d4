/** Content digests: OCI image-spec, descriptor.md, "Digests". */

declare const digestBrand: unique symbol;

/** `sha256:` or `sha512:` and lower-case hex of the right length; nothing else is ever a `Digest`. */
export type Digest = string & { readonly [digestBrand]: true };

export type DigestAlgorithm = "sha256" | "sha512";

// The expression is applied before a digest gets near a file name or a URL (CVE-2024-3727 was a digest with "../" in it).
const PATTERN = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isDigest(text: string): text is Digest {
  return PATTERN.test(text);
}

/** Undefined for anything that is not a well-formed digest of a known algorithm. */
export function parseDigest(text: string): Digest | undefined {
  return isDigest(text) ? text : undefined;
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith("sha512:") ? "sha512" : "sha256";
}

export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** For people: the algorithm's name is left out, twelve digits stay. */
export function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1, digest.indexOf(":") + 13);
}
