/** What a chain of a Notary Project signature must be, whoever is trusted (signature-specification.md, "Certificate Requirements"). */
import { type Bytes, sameBytes } from "../../base/bytes.ts";
import { bitOf, oidOf, readDer, sequence } from "../../formats/der.ts";
import { formatDistinguishedName, nameAttributes } from "../../formats/distinguished-name.ts";
import type { Certificate } from "../../formats/x509.ts";
import { PURPOSE, signedBy } from "../chain.ts";
import { reading, refuse } from "../verdict.ts";

const BASIC_CONSTRAINTS = "2.5.29.19", KEY_USAGE = "2.5.29.15";
const CRL_PLACES = "2.5.29.31", AUTHORITY_ACCESS = "1.3.6.1.5.5.7.1.1", OCSP = "1.3.6.1.5.5.7.48.1";
/** Bits that a signer's certificate must not have set. */
const OTHER_USES = {
  2: "keyEncipherment",
  3: "dataEncipherment",
  4: "keyAgreement",
  5: "keyCertSign",
  6: "cRLSign",
  7: "encipherOnly",
  8: "decipherOnly",
} as const;
const OTHER_PURPOSES: Record<string, string> = {
  "2.5.29.37.0": "anyExtendedKeyUsage",
  "1.3.6.1.5.5.7.3.1": "serverAuth",
  "1.3.6.1.5.5.7.3.2": "clientAuth",
  [PURPOSE.codeSigning]: "codeSigning",
  "1.3.6.1.5.5.7.3.4": "emailProtection",
  [PURPOSE.timeStamping]: "timeStamping",
};

export function subjectOf({ subject }: Certificate): string {
  return nameText(subject);
}

function nameText(name: Bytes): string {
  return reading("a certificate's name", () => formatDistinguishedName(nameAttributes(name)));
}

/** Each is issued by the one behind it, the last by itself, and nothing else is among them. */
export async function verifyOrder(chain: readonly Certificate[]): Promise<void> {
  for (const [i, certificate] of chain.entries()) {
    const next = chain[i + 1], issuer = next ?? certificate;
    if (next !== undefined && sameBytes(certificate.der, next.der)) {
      refuse(`the chain of certificates has that of ${subjectOf(next)} twice`);
    }
    if (!sameBytes(certificate.issuer, issuer.subject)) {
      const why = next === undefined ? "ends before its root" : "is not in order", found = next && subjectOf(next);
      refuse(`the chain of certificates ${why}`, `a certificate of ${nameText(certificate.issuer)}`, found ?? "none");
    }
    const { oid } = certificate.signatureAlgorithm;
    if (!await signedBy(issuer, oid, certificate.signed, certificate.signature)) {
      refuse(`the certificate of ${subjectOf(certificate)} was not signed by the one behind it`);
    }
  }
}

/** What the extensions of each must allow. A signer that issued itself is held to what a signer must be. */
export function verifyUsage(chain: readonly Certificate[], purpose: string): void {
  for (const [i, certificate] of chain.entries()) {
    if (i === 0) verifyLeaf(certificate, purpose);
    else verifyAuthority(certificate, i - 1);
  }
}

/** @param below how many authorities stand between it and the signer. */
function verifyAuthority(certificate: Certificate, below: number): void {
  const who = `the authority ${subjectOf(certificate)}`;
  if (!isCritical(certificate, BASIC_CONSTRAINTS) || !certificate.isCa) {
    refuse(`${who} is none by its certificate`, "basicConstraints, critical, with CA:TRUE", "another");
  }
  if (!isCritical(certificate, KEY_USAGE) || !certificate.keyUsage?.certSign) {
    refuse(`${who} may not sign certificates`, "keyUsage, critical, with keyCertSign", "another");
  }
  const { pathLength } = certificate;
  if (pathLength !== undefined && below > pathLength) {
    refuse(`${who} may have fewer authorities below it`, `at most ${pathLength}`, String(below));
  }
}

function verifyLeaf(certificate: Certificate, purpose: string): void {
  const who = `the signer's certificate (${subjectOf(certificate)})`;
  if (certificate.isCa) refuse(`${who} is an authority's`, "basicConstraints without CA:TRUE", "CA:TRUE");
  if (!isCritical(certificate, KEY_USAGE) || !certificate.keyUsage?.digitalSignature) {
    refuse(`${who} is not for signatures`, "keyUsage, critical, with digitalSignature", "another");
  }
  const usage = reading(
    "a certificate",
    () => readDer(certificate.extensions.get(KEY_USAGE)?.value ?? new Uint8Array()),
  );
  const other = Object.entries(OTHER_USES).find(([bit]) => reading("a certificate", () => bitOf(usage, Number(bit))));
  if (other !== undefined) refuse(`${who} is for other uses too`, "digitalSignature alone", other[1]);
  // It may say nothing of purposes.
  const purposes = certificate.extKeyUsage?.purposes ?? [purpose], wanted = OTHER_PURPOSES[purpose] ?? purpose;
  const foreign = purposes.find((one) => one !== purpose && Object.hasOwn(OTHER_PURPOSES, one));
  if (foreign !== undefined) refuse(`${who} is for another purpose`, wanted, OTHER_PURPOSES[foreign]);
  if (!purposes.includes(purpose)) refuse(`${who} is for another purpose`, wanted, purposes.join(", "));
}

function isCritical({ extensions }: Certificate, oid: string): boolean {
  return extensions.get(oid)?.critical === true;
}

/** Whether its issuer offers to say, over the network, that it is revoked. */
export function offersRevocation({ extensions }: Certificate): boolean {
  if (extensions.has(CRL_PLACES)) return true;
  const access = extensions.get(AUTHORITY_ACCESS);
  if (access === undefined) return false;
  return reading(
    "a certificate",
    () => sequence(readDer(access.value)).some((one) => oidOf(sequence(one)[0]) === OCSP),
  );
}
