/** Whether a Notary Project signature counts (trust-store-trust-policy.md, "Signature Verification"). No network is asked. */
import { type Bytes, sameBytes } from "../../base/bytes.ts";
import type { Certificate } from "../../formats/x509.ts";
import { ALWAYS, parseChain, PURPOSE } from "../chain.ts";
import { notSignedBy, publicKeyOf, verifyRawSignature } from "../keys.ts";
import type { Subject } from "../sigstore-bundle.ts";
import { verifyTimestamp } from "../timestamp.ts";
import { attempt, reading, type Refusal, refuse, refuseWith, type Verdict, verdictOf } from "../verdict.ts";
import { algorithmFor } from "./algorithm.ts";
import { offersRevocation, subjectOf, verifyOrder, verifyUsage } from "./certificates.ts";
import { parseCose } from "./cose.ts";
import { type Envelope, NAME, type Scheme, verifyHeader } from "./envelope.ts";
import { type Identities, verifySubject } from "./identities.ts";
import { parseJws } from "./jws.ts";
import { verifyPayload } from "./payload.ts";
import { type RevocationList, revokedAs } from "./revoked.ts";
import type { Action, Actions } from "./trust-policy.ts";
import type { TrustStore } from "./trust-store.ts";

export interface NotaryPolicy {
  store: TrustStore;
  identities: Identities;
  /** With authorities for timestamps in the store there must be one; or only once the signer's certificates have expired. */
  verifyTimestamp: "always" | "afterCertExpiry";
  actions: Omit<Actions, "authenticity">;
  /** What it names is refused, whatever the actions are. */
  revoked?: RevocationList | undefined;
}

/** Readers by the type of the artifact's layer. */
const ENVELOPES: Record<string, (bytes: Bytes) => Envelope> = {
  "application/jose+json": parseJws,
  "application/cose": parseCose,
};

export async function verifyNotary(
  { mediaType = "", bytes }: { mediaType?: string; bytes: Bytes },
  subject: Subject,
  policy: NotaryPolicy,
  now: Date,
): Promise<Verdict> {
  return await verdictOf("the signature cannot be used", async () => {
    const parse = Object.hasOwn(ENVELOPES, mediaType) ? ENVELOPES[mediaType] : undefined;
    if (parse === undefined) {
      return refuse("the signature's envelope is of an unknown type", Object.keys(ENVELOPES).join(" or "), mediaType);
    }
    const envelope = reading("the signature", () => parse(bytes)), chain = parseChain(envelope.certificates);
    await verifyIntegrity(envelope, chain);
    const scheme = verifyHeader(envelope.header);
    await verifyOrder(chain);
    verifyUsage(chain, PURPOSE.codeSigning);
    const trusted = trustedOf(chain, scheme, policy.store);
    verifySubject(chain[0] as Certificate, policy.identities);
    const { time, overlooked } = await verifyTimes(envelope, chain, scheme, policy, now);
    const annotations = verifyPayload(envelope.payload, subject);
    return {
      trusted: true,
      scheme: "notary",
      signer: { identity: { san: subjectOf(chain[0] as Certificate), issuer: subjectOf(trusted) } },
      ...time && { time: time.toISOString() },
      annotations,
      ...overlooked.length > 0 && { overlooked },
    };
  });
}

async function verifyIntegrity({ header, signed, signature }: Envelope, [leaf]: readonly Certificate[]): Promise<void> {
  const key = await publicKeyOf((leaf as Certificate).spki), { hash } = algorithmFor(key, header[NAME.algorithm]);
  if (!await verifyRawSignature(key, hash, signed, signature)) refuse(notSignedBy(key));
}

/** The certificate that the policy trusts for the scheme; an authority of one scheme cannot speak in another. */
function trustedOf(chain: readonly Certificate[], scheme: Scheme, store: TrustStore): Certificate {
  const kind = scheme === "notary.x509" ? "ca" : "signingAuthority";
  const found = chain.find(({ der }) => store[kind].some((one) => sameBytes(one.der, der)));
  if (found !== undefined) return found;
  return refuse(
    `no certificate of the signer's is trusted for the scheme ${scheme}`,
    store[kind].map(subjectOf).join(" or ") || `something in a store of the kind ${kind}`,
    chain.map(subjectOf).at(-1),
  );
}

async function verifyTimes(
  envelope: Envelope,
  chain: readonly Certificate[],
  scheme: Scheme,
  policy: NotaryPolicy,
  now: Date,
): Promise<{ time: Date | undefined; overlooked: string[] }> {
  const { actions, revoked } = policy, overlooked: string[] = [];
  const heed = (action: Action, refusal: Refusal | undefined) => {
    if (refusal === undefined || action === "skip") return;
    if (action === "enforce") refuseWith(refusal);
    overlooked.push(refusal.reason);
  };
  heed(actions.expiry, (await attempt(() => verifyExpiry(envelope.header[NAME.expiry], now))).refusal);
  const signed = await attempt(() => verifySigningTime(envelope, chain, scheme, policy, now));
  heed(actions.authenticTimestamp, signed.refusal);
  const { time, stampers = [] } = signed.value ?? {};
  if (revoked !== undefined) {
    await verifyUnrevoked([...chain, ...stampers], revoked);
  } else {
    // A root is not taken back by an issuer, but by taking it out of the store.
    const status = await attempt(() => verifyNoStatus([...chain.slice(0, -1), ...stampers.slice(0, -1)]));
    heed(actions.revocation, status.refusal);
  }
  return { time, overlooked };
}

/** All certificates of the signer's must have been valid when it signed; where nothing proves the time, they must be now. */
async function verifySigningTime(
  { header, timestamp, signature }: Envelope,
  chain: readonly Certificate[],
  scheme: Scheme,
  policy: NotaryPolicy,
  now: Date,
): Promise<{ time?: Date; stampers?: readonly Certificate[] }> {
  if (scheme === "notary.x509.signingAuthority") {
    const time = header[NAME.authenticSigningTime] as Date;
    verifyValid(chain, [time], "when it signed");
    return { time };
  }
  if (!wantsTimestamp(chain, policy, now)) {
    verifyValid(chain, [now], "now, and no timestamp says that it signed earlier");
    return {};
  }
  if (timestamp === undefined) return refuse("the signature has no timestamp, and the policy wants one");
  const authority = { anchors: [...policy.store.tsa], intermediates: [], validFor: ALWAYS };
  const { time, accuracy, path: stampers } = await verifyTimestamp(timestamp, signature, [authority]);
  verifyUsage(stampers, PURPOSE.timeStamping);
  verifyValid(chain, [new Date(+time - accuracy), new Date(+time + accuracy)], "when it signed");
  return { time, stampers };
}

function verifyExpiry(expiry: Date | undefined, now: Date): void {
  if (expiry !== undefined && expiry <= now) {
    refuse("the signature has expired", `an expiry after ${now.toISOString()}`, expiry.toISOString());
  }
}

function wantsTimestamp(chain: readonly Certificate[], { store, verifyTimestamp }: NotaryPolicy, now: Date): boolean {
  return store.tsa.length > 0 && (verifyTimestamp === "always" || chain.some(({ notAfter }) => notAfter < now));
}

function verifyValid(chain: readonly Certificate[], times: readonly Date[], when: string): void {
  for (const certificate of chain) {
    const { notBefore, notAfter } = certificate, time = times.find((one) => one < notBefore || one > notAfter);
    if (time === undefined) continue;
    const period = `${notBefore.toISOString()} to ${notAfter.toISOString()}`;
    refuse(`the certificate of ${subjectOf(certificate)} is not valid ${when}`, period, time.toISOString());
  }
}

async function verifyUnrevoked(certificates: readonly Certificate[], revoked: RevocationList): Promise<void> {
  for (const certificate of certificates) {
    const named = await revokedAs(revoked, certificate);
    if (named !== undefined) {
      refuse(`the certificate of ${subjectOf(certificate)} is revoked: the policy's list has ${named}`);
    }
  }
}

/** Issuers may offer to say over the network what they took back: then nothing here can tell. */
function verifyNoStatus(certificates: readonly Certificate[]): void {
  const certificate = certificates.find(offersRevocation);
  if (certificate === undefined) return;
  refuse(
    `only the network could tell whether the certificate of ${subjectOf(certificate)} is revoked, and it is not asked`,
    "a list of revoked certificates (revokedPath)",
    "none",
  );
}
