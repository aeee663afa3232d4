/** The algorithm that a key signs with: the key alone decides (signature-specification.md, "Algorithm Selection"). */
import type { Hash, PublicKey } from "../keys.ts";
import { refuse } from "../verdict.ts";

export interface Algorithm {
  /** As JWS's header calls it (RFC 7518, 3.1). */
  name: string;
  hash: Hash;
}

const ALGORITHMS: Record<string, Algorithm & { cose: number }> = {
  "RSA 2048": { name: "PS256", cose: -37, hash: "SHA-256" },
  "RSA 3072": { name: "PS384", cose: -38, hash: "SHA-384" },
  "RSA 4096": { name: "PS512", cose: -39, hash: "SHA-512" },
  "ECDSA P-256": { name: "ES256", cose: -7, hash: "SHA-256" },
  "ECDSA P-384": { name: "ES384", cose: -35, hash: "SHA-384" },
  "ECDSA P-521": { name: "ES512", cose: -36, hash: "SHA-512" },
};

/** COSE's numbers for the same (RFC 9053, 2.1; RFC 8230, 2). */
export const COSE_ALGORITHMS: ReadonlyMap<unknown, string> = new Map(
  Object.values(ALGORITHMS).map(({ cose, name }) => [cose, name]),
);

/** @param told by the header, which must say the same. */
export function algorithmFor(key: PublicKey, told: string): Algorithm {
  const algorithm = ALGORITHMS[key.label];
  if (algorithm === undefined) {
    return refuse("the signer's key is of a kind that is not allowed", Object.keys(ALGORITHMS).join(", "), key.label);
  }
  if (algorithm.name !== told) {
    refuse(`the signature names an algorithm that is not its ${key.label} key's`, algorithm.name, told);
  }
  return algorithm;
}
