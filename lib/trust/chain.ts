/** From a certificate to one that is trusted (RFC 5280, section 6, of it what signers' certificates use). */
import { type Bytes, sameBytes } from "../base/bytes.ts";
import { displayText } from "../base/byte-string.ts";
import { FormatError, isFormatError } from "../formats/format-error.ts";
import { type Certificate, isSelfIssued, parseCertificate } from "../formats/x509.ts";
import { type Hash, publicKeyOf, verifySignature } from "./keys.ts";
import { reading, refuse } from "./verdict.ts";

/** Certificates of one chain; real ones have two or three. */
export const MAX_CHAIN = 10;
/** Signatures checked for one chain: enough for any that has no twins of names in it, and few enough to be quick. */
const MAX_CHECKS = 50;

/** Object identifiers of extended key usages. */
export const PURPOSE = { codeSigning: "1.3.6.1.5.5.7.3.3", timeStamping: "1.3.6.1.5.5.7.3.8" } as const;

/** What a period of validity is; both ends are part of it. */
export interface Period {
  start: Date;
  end?: Date;
}

export const ALWAYS: Period = { start: new Date(0) };

/** Who is trusted to vouch: the last certificates count by themselves, what stands between must be signed by them. */
export interface Authority {
  anchors: Certificate[];
  intermediates: Certificate[];
  validFor: Period;
}

export function contains({ start, end }: Period, time: Date): boolean {
  return start <= time && (end === undefined || time <= end);
}

export function parseChain(ders: readonly Bytes[]): Certificate[] {
  if (ders.length > MAX_CHAIN) refuse(`it brings ${ders.length} certificates; at most ${MAX_CHAIN} are read`);
  return ders.map((der) => reading("a certificate", () => parseCertificate(der)));
}

/** Algorithms of a certificate's own signature. With RSASSA-PSS none that issues signers' certificates signs. */
const ALGORITHMS: Record<string, { kind: string; hash?: Hash }> = {
  "1.2.840.10045.4.3.2": { kind: "ecdsa", hash: "SHA-256" },
  "1.2.840.10045.4.3.3": { kind: "ecdsa", hash: "SHA-384" },
  "1.2.840.10045.4.3.4": { kind: "ecdsa", hash: "SHA-512" },
  "1.2.840.113549.1.1.11": { kind: "rsa", hash: "SHA-256" },
  "1.2.840.113549.1.1.12": { kind: "rsa", hash: "SHA-384" },
  "1.2.840.113549.1.1.13": { kind: "rsa", hash: "SHA-512" },
  "1.3.101.112": { kind: "ed25519" },
};

/** Whether the issuer's key made a signature that names its algorithm by an object identifier. */
export async function signedBy(issuer: Certificate, oid: string, signed: Bytes, signature: Bytes): Promise<boolean> {
  const algorithm = ALGORITHMS[oid];
  if (algorithm === undefined) throw new FormatError(`the signature algorithm ${oid} is not supported`);
  const key = await publicKeyOf(issuer.spki);
  if (key.kind !== algorithm.kind) return false;
  return await verifySignature(
    key,
    signed,
    signature,
    algorithm.hash === undefined ? {} : { hashes: [algorithm.hash] },
  );
}

export interface ChainRequest {
  leaf: Certificate;
  /** What came with the signature: proves nothing by itself. */
  untrusted: readonly Certificate[];
  authority: Authority;
  /** An extended key usage that the leaf must have, and no CA above it may leave out of its own. */
  purpose: string;
  /** All certificates must be valid at each of them, and the authority trusted. */
  times: readonly Date[];
}

/**
 * The path from the leaf to a trusted certificate, both included. Undefined where there is none; `why` then hears what was in the
 * way, the last of it.
 */
export async function findPath(
  request: ChainRequest,
  why: (reason: string) => void,
): Promise<Certificate[] | undefined> {
  const { leaf, untrusted, authority, times, purpose } = request;
  const outside = times.find((time) => !contains(authority.validFor, time));
  if (outside !== undefined) return void why(`the authority is not trusted for ${outside.toISOString()}`);
  if (leaf.extKeyUsage?.purposes.includes(purpose) !== true) {
    return void why("the certificate is not made for this purpose");
  }
  if (leaf.keyUsage?.digitalSignature === false) return void why("the certificate is not made for signatures");
  const pool = [...authority.anchors, ...authority.intermediates, ...untrusted];
  let checks = 0;

  async function extend(path: Certificate[]): Promise<Certificate[] | undefined> {
    const last = path.at(-1) as Certificate;
    const untimely = times.find((time) => time < last.notBefore || time > last.notAfter);
    if (untimely !== undefined) {
      const period = `${last.notBefore.toISOString()} to ${last.notAfter.toISOString()}`;
      return void why(`a certificate is valid from ${period}, not at ${untimely.toISOString()}`);
    }
    if (authority.anchors.some(({ der }) => sameBytes(der, last.der))) return path;
    if (path.length === MAX_CHAIN) return void why("the chain of certificates is too long");
    for (const issuer of pool) {
      if (!mayIssue(issuer, last, path, purpose) || path.some(({ der }) => sameBytes(der, issuer.der))) continue;
      if (++checks > MAX_CHECKS) return void why("there are too many certificates of one name");
      if (!await signedBy(issuer, last.signatureAlgorithm.oid, last.signed, last.signature)) {
        why("a certificate's signature is not its issuer's");
        continue;
      }
      const found = await extend([...path, issuer]);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  why("no trusted certificate issued it");
  try {
    return await extend([leaf]);
  } catch (thrown) {
    if (isFormatError(thrown)) return void why(displayText(thrown.message));
    throw thrown;
  }
}

/** From a signer's certificate by the first authority that it leads to. */
export async function signerPath(
  leaf: Certificate,
  untrusted: readonly Certificate[],
  authorities: readonly Authority[],
  times: readonly Date[],
): Promise<Certificate[]> {
  let reason = "no certificate authority is trusted";
  for (const authority of authorities) {
    const request = { leaf, untrusted, authority, times, purpose: PURPOSE.codeSigning };
    const path = await findPath(request, (why) => reason = why);
    if (path !== undefined) return path;
  }
  return refuse(`the signer's certificate cannot be trusted: ${reason}`);
}

/** Whether its names, constraints and usages allow a certificate to be the issuer of the path's last one. */
function mayIssue(issuer: Certificate, last: Certificate, path: readonly Certificate[], purpose: string): boolean {
  if (!sameBytes(issuer.subject, last.issuer)) return false;
  const named = last.authorityKeyId, own = issuer.subjectKeyId;
  if (named !== undefined && own !== undefined && !sameBytes(named, own)) return false;
  if (!issuer.isCa || issuer.keyUsage?.certSign === false) return false;
  // What is self-issued does not count (RFC 5280, 4.2.1.9), nor does the leaf.
  const between = path.slice(1).filter((certificate) => !isSelfIssued(certificate)).length;
  if (issuer.pathLength !== undefined && between > issuer.pathLength) return false;
  return issuer.extKeyUsage === undefined || issuer.extKeyUsage.purposes.includes(purpose);
}
