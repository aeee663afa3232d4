/**
 * Sigstore's own verifier for JavaScript (`@sigstore/verify`), so that the lab's signer and this program's verifier do not share a
 * misunderstanding. Why it is not the program's verifier: docs/dependencies.md.
 */
import { bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toSignedEntity, toTrustMaterial, Verifier } from "@sigstore/verify";
import { Buffer } from "node:buffer";
import nodeCrypto from "node:crypto";

// It lets Node choose the hash of a signature, which Deno's `node:crypto` does not.
type Verify = (algorithm: string | null | undefined, ...rest: unknown[]) => boolean;
const patched = nodeCrypto as unknown as { verify: Verify }, original = patched.verify;
patched.verify = (algorithm, data, key, ...rest) => {
  const chosen = algorithm ??
    ((key as { asymmetricKeyType?: string }).asymmetricKeyType === "ed25519" ? null : "sha256");
  return original(chosen, data, key, ...rest);
};

/** Its answer to a bundle by an identity: what it says is wrong, or undefined. */
export function faultOf(bundle: unknown, artifact: Uint8Array, root: unknown): string | undefined {
  try {
    const material = toTrustMaterial(TrustedRoot.fromJSON(root));
    new Verifier(material).verify(toSignedEntity(bundleFromJSON(bundle), Buffer.from(artifact)));
    return undefined;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}
