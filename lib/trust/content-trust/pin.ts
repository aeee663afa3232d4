/** Whom the policy trusts at first contact: nobody is believed only because he came first. */
import { sameBytes } from "../../base/bytes.ts";
import type { Certificate } from "../../formats/x509.ts";
import { ALWAYS, findPath, PURPOSE } from "../chain.ts";
import { isFor } from "./common-name.ts";
import { keyIdOf, type RoleKey } from "./keys.ts";

/** Of a key, of a certificate, or by a CA that has issued the root keys' certificates. */
export type Pin = { keyIds: readonly string[] } | { certificates: readonly Certificate[] } | {
  authorities: readonly Certificate[];
};

/**
 * Whether a root key counts at all: metadata does not say which repository it is about, only its root keys' certificates do, so one
 * repository's could be served for another's.
 */
export function isRootKeyOf(gun: string): (key: RoleKey) => boolean {
  return ({ certificates }) => isFor(certificates[0], gun);
}

export async function isPinned(pin: Pin, { id, key, certificates }: RoleKey, now: Date): Promise<boolean> {
  const [leaf, ...untrusted] = certificates;
  if (leaf === undefined) return false;
  // Notary's own lists show a root key by the id that it has without its certificate.
  if ("keyIds" in pin) return pin.keyIds.includes(id) || pin.keyIds.includes(await keyIdOf(key.kind, key.spki));
  if ("certificates" in pin) return pin.certificates.some(({ der }) => sameBytes(der, leaf.der));
  const authority = { anchors: [...pin.authorities], intermediates: [], validFor: ALWAYS };
  const request = { leaf, untrusted, authority, purpose: PURPOSE.codeSigning, times: [now] };
  return await findPath(request, () => undefined) !== undefined;
}
