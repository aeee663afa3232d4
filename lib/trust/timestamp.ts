/** Timestamps of an authority (RFC 3161; CMS is RFC 5652): proof that a signature existed at a time. */
import { type Bytes, concatBytes, sameBytes } from "../base/bytes.ts";
import { children, type Der, expectTag, oidOf, readDer, sequence, smallNumberOf, TAG, timeOf } from "../formats/der.ts";
import { FormatError } from "../formats/format-error.ts";
import { algorithmOf, type Certificate, parseCertificate } from "../formats/x509.ts";
import { type Authority, findPath, MAX_CHAIN, PURPOSE, signedBy } from "./chain.ts";
import { digestOf, type Hash } from "./keys.ts";
import { reading, refuse } from "./verdict.ts";

/** With all certificates in it one has some 6 KiB. Bytes. */
const MAX_TIMESTAMP = 64 * 1024;

const OID = {
  signedData: "1.2.840.113549.1.7.2",
  tstInfo: "1.2.840.113549.1.9.16.1.4",
  contentType: "1.2.840.113549.1.9.3",
  messageDigest: "1.2.840.113549.1.9.4",
  signingCertificateV2: "1.2.840.113549.1.9.16.2.47",
} as const;

const HASHES: Record<string, Hash> = {
  "2.16.840.1.101.3.4.2.1": "SHA-256",
  "2.16.840.1.101.3.4.2.2": "SHA-384",
  "2.16.840.1.101.3.4.2.3": "SHA-512",
};

export interface ProvenTime {
  time: Date;
  /** How far the authority's clock may be off, either way. Milliseconds. */
  accuracy: number;
  /** The authority's own certificate, and those above it up to a trusted one. */
  path: readonly Certificate[];
}

interface Token {
  /** What the authority stamped: TSTInfo. */
  info: Bytes;
  imprint: { hash: Hash; digest: Bytes };
  proven: Omit<ProvenTime, "path">;
  certificates: Certificate[];
  signer: Signer;
}

interface Signer {
  issuer: Bytes;
  serial: Bytes;
  hash: Hash;
  /** As they are signed: a SET. */
  signedAttributes: Bytes;
  attributes: Map<string, Der>;
  algorithm: string;
  signature: Bytes;
}

/** The token of a TimeStampResp, which is what Sigstore keeps; Notary keeps the token alone. */
export function tokenOfResponse(response: Bytes): Bytes {
  return reading("a timestamp", () => {
    if (response.length > MAX_TIMESTAMP) throw new FormatError("it is too large");
    const [status, token, more] = sequence(readDer(response));
    // 0 is "granted"; others say that it is not, or not as it was asked for.
    if (smallNumberOf(sequence(status)[0]) !== 0 || token === undefined || more !== undefined) {
      throw new FormatError("the authority did not grant it");
    }
    return token.bytes;
  });
}

/** Refuses what none of the authorities made over the signature. */
export async function verifyTimestamp(
  token: Bytes,
  signature: Bytes,
  authorities: readonly Authority[],
): Promise<ProvenTime> {
  const parsed = reading("a timestamp", () => parseToken(token)), { imprint, info, signer } = parsed;
  if (!sameBytes(await digestOf(imprint.hash, signature), imprint.digest)) {
    refuse("a timestamp was made over something other than the signature");
  }
  const told = signer.attributes.get(OID.messageDigest);
  if (
    !sameBytes(
      await digestOf(signer.hash, info),
      reading("a timestamp", () => expectTag(told, TAG.octetString).content),
    )
  ) {
    refuse("a timestamp's content is not what its authority signed");
  }
  let reason = "its authority is not among the trusted ones";
  for (const authority of authorities) {
    for (const certificate of await signingCertificates(parsed, authority)) {
      if (!await signedBy(certificate, signer.algorithm, signer.signedAttributes, signer.signature)) {
        reason = "its signature is not its authority's";
        continue;
      }
      const request = {
        leaf: certificate,
        untrusted: parsed.certificates,
        authority,
        times: [parsed.proven.time],
        purpose: PURPOSE.timeStamping,
      };
      const path = await findPath(request, (why) => reason = why);
      if (path !== undefined) return { ...parsed.proven, path };
    }
  }
  return refuse(`a timestamp cannot be trusted: ${reason}`);
}

/** Those that the token names as its signer's, by issuer and number and by hash. */
async function signingCertificates({ signer, certificates }: Token, authority: Authority): Promise<Certificate[]> {
  // An authority that lists its own signing certificate is trusted for that one alone.
  const listed = [...authority.intermediates, ...authority.anchors];
  const pool = listed.some(({ isCa }) => !isCa) ? listed : certificates, fitting: Certificate[] = [];
  for (const certificate of pool) {
    if (!sameBytes(certificate.issuer, signer.issuer) || !sameBytes(certificate.serial, signer.serial)) continue;
    // RFC 3161, 2.3: this use, no other, and critical.
    const usage = certificate.extKeyUsage;
    if (usage?.critical !== true || usage.purposes.length !== 1) continue;
    const named = reading("a timestamp", () => signingCertificate(signer));
    if (sameBytes(await digestOf(named.hash, certificate.der), named.digest)) fitting.push(certificate);
  }
  return fitting;
}

/** SigningCertificateV2 (RFC 5035): which certificate is meant, so that no other one of its name takes its place. */
function signingCertificate(signer: Signer): { hash: Hash; digest: Bytes } {
  const attribute = signer.attributes.get(OID.signingCertificateV2);
  if (attribute === undefined) throw new FormatError("it does not say which certificate signed it");
  const [list] = sequence(attribute);
  const parts = sequence(sequence(list)[0]), told = parts[0]?.tag === TAG.sequence ? parts.shift() : undefined;
  return { hash: told === undefined ? "SHA-256" : hashOf(told), digest: expectTag(parts[0], TAG.octetString).content };
}

function hashOf(element: Der | undefined): Hash {
  const { oid } = algorithmOf(element), hash = HASHES[oid];
  if (hash === undefined) throw new FormatError(`its hash algorithm ${oid} is not supported`);
  return hash;
}

function parseToken(bytes: Bytes): Token {
  if (bytes.length > MAX_TIMESTAMP) throw new FormatError("it is too large");
  const [type, wrapped] = sequence(readDer(bytes));
  if (oidOf(type) !== OID.signedData) throw new FormatError("it is not signed");
  const [version, digests, content, ...rest] = sequence(children(expectTag(wrapped, 0xa0))[0]);
  const [contentType, octets] = sequence(content);
  if (oidOf(contentType) !== OID.tstInfo) throw new FormatError("it is no timestamp");
  const info = expectTag(children(expectTag(octets, 0xa0))[0], TAG.octetString).content;
  const embedded = rest.find(({ tag }) => tag === 0xa0);
  const certificates = (embedded === undefined ? [] : children(embedded)).map(({ bytes: der }) =>
    parseCertificate(der)
  );
  if (certificates.length > MAX_CHAIN) throw new FormatError("it brings too many certificates");
  const signers = children(expectTag(rest.at(-1), TAG.set));
  if (signers.length !== 1) throw new FormatError(`it has ${signers.length} signers instead of one`);
  const signer = parseSigner(signers[0]), named = children(expectTag(digests, TAG.set)).map(hashOf);
  if (smallNumberOf(version) !== 3 || !named.includes(signer.hash)) throw new FormatError("it contradicts itself");
  return { info, certificates, signer, ...parseInfo(info) };
}

/** TSTInfo: RFC 3161, 2.4.2. */
function parseInfo(info: Bytes): Pick<Token, "imprint" | "proven"> {
  const [version, policy, imprint, , time, ...rest] = sequence(readDer(info));
  if (smallNumberOf(version) !== 1) throw new FormatError("its version is not 1");
  const [algorithm, digest] = sequence(imprint);
  const accuracy = rest.find(({ tag }) => tag === TAG.sequence);
  return {
    imprint: { hash: hashOf(algorithm), digest: expectTag(digest, TAG.octetString).content },
    proven: { time: timeOf(time), accuracy: accuracy === undefined ? accuracyOf(policy) : millisecondsOf(accuracy) },
  };
}

/** Where the token does not say: the baseline policy promises a second (RFC 3628, 5.2). */
function accuracyOf(policy: Der | undefined): number {
  return oidOf(policy) === "0.4.0.2023.1.1" ? 1000 : 0;
}

/** Accuracy: seconds, milliseconds [0], microseconds [1], each optional. */
function millisecondsOf(accuracy: Der): number {
  const parts = sequence(accuracy), part = (tag: number) => parts.find((p) => p.tag === tag);
  const value = (tag: number) => part(tag) === undefined ? 0 : smallNumberOf(part(tag), tag);
  return value(TAG.integer) * 1000 + value(0x80) + Math.ceil(value(0x81) / 1000);
}

function parseSigner(element: Der | undefined): Signer {
  const [version, identifier, digestAlgorithm, signed, algorithm, signature] = sequence(element);
  // With 1 the signer is named by issuer and number, with 3 by the hash of its key: no timestamp is known to have that.
  if (smallNumberOf(version) !== 1) throw new FormatError("its signer is named in a way that is not supported");
  const [issuer, serial] = sequence(identifier);
  const attributes = new Map<string, Der>();
  for (const attribute of children(expectTag(signed, 0xa0))) {
    const [type, values] = sequence(attribute), [value, more] = children(expectTag(values, TAG.set)), oid = oidOf(type);
    if (value === undefined || more !== undefined || attributes.has(oid)) {
      throw new FormatError(`its attribute ${oid} is malformed`);
    }
    attributes.set(oid, value);
  }
  if (oidOf(attributes.get(OID.contentType)) !== OID.tstInfo) {
    throw new FormatError("its signature is not over a timestamp");
  }
  const hash = hashOf(digestAlgorithm), { oid } = algorithmOf(algorithm);
  return {
    issuer: expectTag(issuer, TAG.sequence).bytes,
    serial: expectTag(serial, TAG.integer).content,
    hash,
    // The tag [0] stands in for SET in the message only (RFC 5652, 5.4).
    signedAttributes: concatBytes(new Uint8Array([TAG.set]), (signed as Der).bytes.subarray(1)),
    attributes,
    algorithm: oid === "1.2.840.113549.1.1.1" ? RSA_WITH[hash] : oid,
    signature: expectTag(signature, TAG.octetString).content,
  };
}

/** CMS may name RSA alone, and means RSA with the hash of the digest (RFC 3370, 3.2). */
const RSA_WITH: Record<Hash, string> = {
  "SHA-256": "1.2.840.113549.1.1.11",
  "SHA-384": "1.2.840.113549.1.1.12",
  "SHA-512": "1.2.840.113549.1.1.13",
};
