/** Signatures by a certificate of the operator's own CA (`pki` in containers-policy.json(5)): valid now, for the name that is asked for. */
import type { Bytes } from "../base/bytes.ts";
import type { Certificate } from "../formats/x509.ts";
import { ALWAYS, parseChain, signerPath } from "./chain.ts";
import { notSignedBy, publicKeyOf, verifySignature } from "./keys.ts";
import { refuse, type Trusted } from "./verdict.ts";

export interface PkiPolicy {
  roots: readonly Certificate[];
  intermediates: readonly Certificate[];
  /** At least one of the two; where both are given, both must fit. */
  email?: string | undefined;
  hostname?: string | undefined;
  /** No log proves when it was signed, so the certificate must be valid now. */
  now: Date;
}

/** @param certificates the signer's, then those above it. DER. */
export async function verifyPki(
  signed: Bytes,
  signature: Bytes,
  certificates: readonly Bytes[],
  policy: PkiPolicy,
): Promise<Pick<Trusted, "signer">> {
  const { roots, intermediates, email, hostname, now } = policy, [leaf, ...above] = parseChain(certificates);
  if (leaf === undefined) return refuse("the signature brings no certificate");
  // Which certificates are roots is the policy's word, whoever issued them.
  const authority = { anchors: [...roots], intermediates: [...intermediates], validFor: ALWAYS };
  await signerPath(leaf, above, [authority], [now]);
  const names = (kind: "email" | "dns") =>
    leaf.alternativeNames.filter((name) => name.kind === kind).map(({ value }) => value);
  if (email !== undefined && !names("email").includes(email)) {
    refuse("the image was signed by another identity", email, names("email").join(", ") || "no e-mail address");
  }
  if (hostname !== undefined && !names("dns").some((name) => covers(name, hostname))) {
    refuse("the image was signed by another identity", hostname, names("dns").join(", ") || "no host name");
  }
  const key = await publicKeyOf(leaf.spki);
  if (!await verifySignature(key, signed, signature)) refuse(notSignedBy(key));
  return { signer: { identity: { san: email ?? hostname ?? "", issuer: "the policy's own CA" } } };
}

/** RFC 6125, 6.4.3: a star stands for the first label alone. */
function covers(name: string, hostname: string): boolean {
  const [one, other] = [name.toLowerCase(), hostname.toLowerCase()];
  return one === other ||
    one.startsWith("*.") && other.includes(".") && one.slice(2) === other.slice(other.indexOf(".") + 1);
}
