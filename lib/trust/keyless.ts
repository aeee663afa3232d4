/**
 * Signatures by a certificate that lived for minutes: a CA vouched for an identity, and a log or a timestamp authority for the
 * time. The order is the one in which each step may rest on the steps before it.
 */
import type { Bytes } from "../base/bytes.ts";
import { parseChain, signerPath } from "./chain.ts";
import { verifyIdentity, type WantedIdentity } from "./identity.ts";
import { notSignedBy, publicKeyOf, verifySignature } from "./keys.ts";
import { compareEntry, type Logged } from "./log-body.ts";
import { type LogEntry, verifyInclusion, verifyPromise } from "./log-entry.ts";
import { verifyPromises } from "./sct.ts";
import { tokenOfResponse, verifyTimestamp } from "./timestamp.ts";
import type { TrustedRoot } from "./trusted-root.ts";
import { type Identity, refuse } from "./verdict.ts";

/** Log entries, and timestamps, of one signature; real ones have one or two of each. */
export const MAX_WITNESSES = 10;

export interface KeylessPolicy {
  root: TrustedRoot;
  identity: WantedIdentity;
  /** Where the operator's own CA writes into no log of certificates: said in the policy, never taken from what is verified. */
  withoutCertificateLog?: boolean;
}

export interface Witnesses {
  entries: (LogEntry & { told?: { kind: string; version: string } })[];
  /** TimeStampResp each. */
  timestamps: Bytes[];
  /** A proof of inclusion must be there; else the log's promise is enough. */
  proofNeeded: boolean;
}

export interface Certified {
  signature: Bytes;
  signed: Bytes;
  payload?: Bytes;
  /** The signer's certificate, then those above it. DER. */
  certificates: readonly Bytes[];
}

export async function verifyKeyless(
  signature: Certified,
  witnesses: Witnesses,
  policy: KeylessPolicy,
): Promise<{ identity: Identity; time: string }> {
  const { root } = policy, [leaf, ...above] = parseChain(signature.certificates);
  if (leaf === undefined) return refuse("the signature brings no certificate");
  if (witnesses.entries.length === 0) refuse("the signature is in no transparency log");
  const logged: Logged = { ...signature, verifier: { certificate: leaf.der } };

  const times = await provenTimes(signature.signature, witnesses, root);
  const [time] = times;
  if (time === undefined) return refuse("nothing proves when the signature was made");
  const path = await signerPath(leaf, above, root.certificateAuthorities, times);
  if (!policy.withoutCertificateLog) await verifyPromises(leaf, path[1] ?? leaf, root.certificateLogs);
  const identity = verifyIdentity(leaf, policy.identity);
  await verifyEntries(logged, witnesses, root, times);
  const key = await publicKeyOf(leaf.spki);
  if (!await verifySignature(key, signature.signed, signature.signature)) refuse(notSignedBy(key));
  return { identity, time: time.toISOString() };
}

/** Each time that a log or an authority signed; one that does not prove true is no time at all. */
export async function provenTimes(signature: Bytes, witnesses: Witnesses, root: TrustedRoot): Promise<Date[]> {
  const { entries, timestamps } = witnesses, times: Date[] = [];
  if (entries.length > MAX_WITNESSES || timestamps.length > MAX_WITNESSES) {
    refuse(`the signature brings more than ${MAX_WITNESSES} log entries or timestamps`);
  }
  for (const entry of entries) {
    if (entry.promise !== undefined) times.push(await verifyPromise(entry, root.logs));
  }
  for (const response of timestamps) {
    times.push((await verifyTimestamp(tokenOfResponse(response), signature, root.timestampAuthorities)).time);
  }
  return times;
}

/** All entries must stand in their log, and be about this signature. */
export async function verifyEntries(
  logged: Logged,
  { entries, proofNeeded }: Witnesses,
  root: TrustedRoot,
  times: readonly Date[],
): Promise<void> {
  for (const entry of entries) {
    // The promise, where there is one, was verified with the times.
    if (proofNeeded || entry.proof !== undefined || entry.promise === undefined) {
      await verifyInclusion(entry, root.logs, times);
    }
    await compareEntry(entry.body, logged, entry.told);
  }
}
