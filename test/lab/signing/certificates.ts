/** Certificates for signers, their CAs and timestamp authorities, with the promise of a certificate log where one is wanted. */
import { type Bytes, concatBytes } from "../../../lib/base/bytes.ts";
import { encodeDer } from "../../../lib/formats/der.ts";
import type { Hash } from "../../../lib/trust/keys.ts";
import * as der from "./der.ts";
import { type KeyKind, pem, sha256, sign, type SigningKey } from "./keys.ts";

export const OID = {
  codeSigning: "1.3.6.1.5.5.7.3.3",
  timeStamping: "1.3.6.1.5.5.7.3.8",
  fulcioIssuerRaw: "1.3.6.1.4.1.57264.1.1",
  fulcioIssuer: "1.3.6.1.4.1.57264.1.8",
} as const;

export interface Issued {
  der: Bytes;
  pem: string;
  key: SigningKey;
  /** Encoded Names. */
  name: Bytes;
  issuerName: Bytes;
  serial: Bytes;
}

export interface CertificateRequest {
  key: SigningKey;
  commonName: string;
  /** Of the name, before that: object identifiers and values. */
  attributes?: readonly (readonly [string, string])[];
  /** Undefined: it issues itself. */
  issuer?: Issued;
  notBefore: Date;
  notAfter: Date;
  extensions?: readonly Bytes[];
  /** Writes its promise into the certificate. */
  certificateLog?: SigningKey;
}

function extension(id: string, value: Uint8Array, critical = false): Bytes {
  return der.sequence(der.oid(id), ...(critical ? [der.TRUE] : []), der.octets(value));
}

const URL_OF_ISSUER = der.text("http://ca.lab.test", 0x86);

function usage(bits: readonly number[], critical: boolean): Bytes {
  const last = Math.max(...bits), bytes = new Uint8Array(last < 8 ? 1 : 2);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return extension("2.5.29.15", der.bits(bytes, 7 - (last & 7)), critical);
}

export const extensions = {
  ca: (pathLength?: number, critical = true) =>
    extension(
      "2.5.29.19",
      der.sequence(der.TRUE, ...(pathLength === undefined ? [] : [der.integer(pathLength)])),
      critical,
    ),
  /** digitalSignature is bit 0, keyCertSign bit 5. */
  usage: (...bits: number[]) => usage(bits, true),
  uncriticalUsage: (...bits: number[]) => usage(bits, false),
  purpose: (id: string, critical = false) => extension("2.5.29.37", der.sequence(der.oid(id)), critical),
  purposes: (...ids: string[]) => extension("2.5.29.37", der.sequence(...ids.map(der.oid))),
  /** Where the issuer tells what it took back: a list (cRLDistributionPoints), or an answer (OCSP in authorityInfoAccess). */
  revocationList: () => extension("2.5.29.31", der.sequence(der.sequence(der.tagged(0, der.tagged(0, URL_OF_ISSUER))))),
  authorityAccess: (method: string) =>
    extension("1.3.6.1.5.5.7.1.1", der.sequence(der.sequence(der.oid(method), URL_OF_ISSUER))),
  /** rfc822Name is [1], dNSName [2], URI [6]. */
  names: (...names: { tag: 1 | 2 | 6; value: string }[]) =>
    extension("2.5.29.17", der.sequence(...names.map(({ tag, value }) => der.text(value, 0x80 | tag))), true),
  subjectKeyId: (id: Uint8Array) => extension("2.5.29.14", der.octets(id)),
  authorityKeyId: (id: Uint8Array) => extension("2.5.29.35", der.sequence(encodeDer(0x80, id))),
  unknown: (id: string, critical: boolean) => extension(id, der.NULL, critical),
  fulcioIssuer: (issuer: string) => [
    extension(OID.fulcioIssuerRaw, new TextEncoder().encode(issuer)),
    extension(OID.fulcioIssuer, der.text(issuer)),
  ],
};

const HASHES: Partial<Record<KeyKind, Hash>> = { p384: "SHA-384", p521: "SHA-512" };
const ECDSA_WITH: Record<Hash, string> = {
  "SHA-256": "1.2.840.10045.4.3.2",
  "SHA-384": "1.2.840.10045.4.3.3",
  "SHA-512": "1.2.840.10045.4.3.4",
};

/** The AlgorithmIdentifier of a signature that the key makes. */
export function signatureAlgorithm({ kind }: SigningKey): Bytes {
  if (kind === "ed25519") return der.sequence(der.oid("1.3.101.112"));
  if (kind.startsWith("rsa")) return der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL);
  return der.sequence(der.oid(ECDSA_WITH[HASHES[kind] ?? "SHA-256"]));
}

let serials = 0x1000;

export async function makeCertificate(request: CertificateRequest): Promise<Issued> {
  const { key, commonName, issuer, certificateLog } = request, signer = issuer?.key ?? key;
  const attributes = [...request.attributes ?? [], ["2.5.4.3", commonName] as const];
  const name = der.sequence(...attributes.map(([id, value]) => der.set(der.sequence(der.oid(id), der.text(value)))));
  const serial = der.integer(++serials);
  const body = (all: readonly Uint8Array[]) =>
    der.sequence(
      der.tagged(0, der.integer(2)),
      serial,
      signatureAlgorithm(signer),
      issuer?.name ?? name,
      der.sequence(der.time(request.notBefore), der.time(request.notAfter)),
      name,
      key.spki,
      ...(all.length === 0 ? [] : [der.tagged(3, der.sequence(...all))]),
    );
  const all = [...request.extensions ?? []];
  if (certificateLog !== undefined) {
    all.push(await promiseExtension(body(all), signer.spki, certificateLog, request.notBefore));
  }
  const signed = body(all),
    certificate = der.sequence(signed, signatureAlgorithm(signer), der.bits(await sign(signer, signed)));
  return {
    der: certificate,
    pem: pem("CERTIFICATE", certificate),
    key,
    name,
    issuerName: issuer?.name ?? name,
    serial,
  };
}

/** RFC 6962, 3.2: the log signs the certificate without this extension. */
async function promiseExtension(precertificate: Bytes, issuerSpki: Bytes, log: SigningKey, at: Date): Promise<Bytes> {
  const timestamp = bigEndian(at.getTime(), 8), empty = bigEndian(0, 2);
  const signed = concatBytes(
    new Uint8Array([0, 0]),
    timestamp,
    new Uint8Array([0, 1]),
    await sha256(issuerSpki),
    bigEndian(precertificate.length, 3),
    precertificate,
    empty,
  );
  const signature = await sign(log, signed, { hash: "SHA-256" });
  const algorithm = new Uint8Array([4, log.kind.startsWith("rsa") ? 1 : 3]);
  const promise = concatBytes(
    new Uint8Array([0]),
    await sha256(log.spki),
    timestamp,
    empty,
    algorithm,
    bigEndian(signature.length, 2),
    signature,
  );
  const list = concatBytes(bigEndian(promise.length, 2), promise);
  return extension("1.3.6.1.4.1.11129.2.4.2", der.octets(bigEndian(list.length, 2), list));
}

export function bigEndian(value: number, size: number): Bytes {
  return Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** (size - 1 - i)) % 256);
}
