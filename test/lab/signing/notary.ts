/** Signatures of the Notary Project, in both envelopes, as Notation makes them. */
import { type Bytes, concatBytes } from "../../../lib/base/bytes.ts";
import type { Hash } from "../../../lib/trust/keys.ts";
import { cbor, type CborValue } from "./cbor.ts";
import { extensions, type Issued, makeCertificate, OID } from "./certificates.ts";
import { keyIds, SIGNED_AT } from "./instance.ts";
import { jsonBytes, type KeyKind, makeKey, type SigningKey, signRaw } from "./keys.ts";
import { makeTimestampToken, type TimestampOptions } from "./timestamps.ts";

export const NOTARY_SIGNATURE = "application/vnd.cncf.notary.signature";
export const ENVELOPES = { jws: "application/jose+json", cose: "application/cose" } as const;
export type EnvelopeKind = keyof typeof ENVELOPES;
export const ENVELOPE_KINDS = Object.keys(ENVELOPES) as EnvelopeKind[];

const ALGORITHMS: Partial<Record<KeyKind, { jws: string; cose: number; hash: Hash }>> = {
  rsa2048: { jws: "PS256", cose: -37, hash: "SHA-256" },
  rsa3072: { jws: "PS384", cose: -38, hash: "SHA-384" },
  rsa4096: { jws: "PS512", cose: -39, hash: "SHA-512" },
  p256: { jws: "ES256", cose: -7, hash: "SHA-256" },
  p384: { jws: "ES384", cose: -35, hash: "SHA-384" },
  p521: { jws: "ES512", cose: -36, hash: "SHA-512" },
};
export const NOTARY_KEY_KINDS = Object.keys(ALGORITHMS) as KeyKind[];

const YEAR = 365 * 86_400_000;
/** Of the names: C, ST, O. */
export const ORGANIZATION = [["2.5.4.6", "DE"], ["2.5.4.8", "Bavaria"], ["2.5.4.10", "Lab, Inc."]] as const;
export const SUBJECT = "C=DE, ST=Bavaria, O=Lab\\, Inc., CN=lab release";

/** An organization's authorities for signers and for timestamps. */
export interface NotarySite {
  root: Issued;
  intermediate: Issued;
  timestampRoot: Issued;
  timestampAuthority: Issued;
}

export async function makeNotarySite(): Promise<NotarySite> {
  const root = await issue("lab root", { extensions: CA }),
    timestampRoot = await issue("lab clock root", { extensions: CA });
  return {
    root,
    intermediate: await issue("lab intermediate", { issuer: root, extensions: CA }),
    timestampRoot,
    timestampAuthority: await issue("lab clock", {
      issuer: timestampRoot,
      extensions: [extensions.usage(0), extensions.purpose(OID.timeStamping, true)],
    }),
  };
}

export const CA = [extensions.ca(), extensions.usage(5)];
export const LEAF = [extensions.usage(0), extensions.purpose(OID.codeSigning)];

export interface IssueRequest {
  issuer?: Issued;
  kind?: KeyKind;
  key?: SigningKey;
  notBefore?: Date;
  notAfter?: Date;
  attributes?: readonly (readonly [string, string])[];
  extensions: readonly Bytes[];
}

export async function issue(commonName: string, request: IssueRequest): Promise<Issued> {
  const { issuer, kind = "p256", attributes = ORGANIZATION } = request, key = request.key ?? await makeKey(kind);
  return await makeCertificate({
    key,
    commonName,
    attributes,
    ...issuer && { issuer },
    notBefore: request.notBefore ?? new Date(+SIGNED_AT - YEAR),
    notAfter: request.notAfter ?? new Date(+SIGNED_AT + 9 * YEAR),
    extensions: [...request.extensions, ...await keyIds(key, issuer)],
  });
}

/** The header by JWS's names, times as dates; tests change it. */
export type NotaryHeader = Map<string, unknown>;

export interface NotaryRequest {
  envelope: EnvelopeKind;
  /** The signer's certificate and those above it, the root included. */
  chain: readonly [Issued, ...Issued[]];
  target: { mediaType: string; digest: string; size: number; annotations?: Record<string, string> };
  scheme?: "notary.x509" | "notary.x509.signingAuthority";
  at?: Date;
  expiry?: Date;
  stampedBy?: Pick<NotarySite, "timestampAuthority">;
  stampedAt?: Date;
  /** COSE only: the certificates stand in the signed header. */
  chainSigned?: boolean;
  /** Of the timestamp. */
  stamp?: TimestampOptions;
  /** Before it is signed. */
  change?: (header: NotaryHeader) => void;
  /** Signs this in place of the target. */
  payload?: Uint8Array;
  /** Signs in place of the certificate's. */
  key?: SigningKey;
  /** Of RSA-PSS, in bytes, in place of the hash's. */
  saltLength?: number;
}

/** Of the names of attributes. */
export const NAMESPACE = "io.cncf.notary.";

export async function makeNotary(request: NotaryRequest): Promise<{ mediaType: string; bytes: Bytes }> {
  const { envelope, chain: [leaf], target, scheme = "notary.x509", at = SIGNED_AT, expiry } = request;
  const key = request.key ?? leaf.key, algorithm = ALGORITHMS[key.kind] ?? { jws: "EdDSA", cose: -8, hash: "SHA-512" };
  const timeName = NAMESPACE + (scheme === "notary.x509" ? "signingTime" : "authenticSigningTime");
  const critical = [
    "signingScheme",
    ...scheme === "notary.x509" ? [] : ["authenticSigningTime"],
    ...expiry ? ["expiry"] : [],
  ];
  const header: NotaryHeader = new Map<string, unknown>([
    ["alg", envelope === "jws" ? algorithm.jws : algorithm.cose],
    ["crit", critical.map((name) => NAMESPACE + name)],
    ["cty", "application/vnd.cncf.notary.payload.v1+json"],
    [`${NAMESPACE}signingScheme`, scheme],
    [timeName, at],
    ...expiry ? [[`${NAMESPACE}expiry`, expiry] as const] : [],
  ]);
  request.change?.(header);
  const payload = request.payload ?? jsonBytes({ targetArtifact: target });
  const saltLength = request.saltLength ?? Number(algorithm.hash.slice(4)) / 8;
  const signer = (signed: Bytes) =>
    signRaw(key, signed, { hash: algorithm.hash, ...key.kind.startsWith("rsa") && { saltLength } });
  const stamp = (signature: Bytes) =>
    request.stampedBy && makeTimestampToken(request.stampedBy.timestampAuthority, signature, request.stampedAt ?? at, {
      embed: [request.stampedBy.timestampAuthority],
      ...request.stamp,
    });
  const bytes = await (envelope === "jws" ? jws : cose)({ ...request, header, payload, sign: signer, stamp });
  return { mediaType: ENVELOPES[envelope], bytes };
}

interface Parts {
  header: NotaryHeader;
  payload: Uint8Array;
  chain: readonly Issued[];
  chainSigned?: boolean;
  sign(signed: Bytes): Promise<Bytes>;
  stamp(signature: Bytes): Promise<Bytes> | undefined;
}

async function jws({ header, payload, chain, sign, stamp }: Parts): Promise<Bytes> {
  const text = (value: unknown) => value instanceof Date ? value.toISOString().replace(".000", "") : value;
  const base64Url = (bytes: Uint8Array) => bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  const signedHeader = base64Url(
    jsonBytes(Object.fromEntries([...header].map(([name, value]) => [name, text(value)]))),
  );
  const signature = await sign(new TextEncoder().encode(`${signedHeader}.${base64Url(payload)}`)),
    token = await stamp(signature);
  return jsonBytes({
    payload: base64Url(payload),
    protected: signedHeader,
    header: {
      x5c: chain.map((issued) => issued.der.toBase64()),
      ...token && { [`${NAMESPACE}timestampSignature`]: token.toBase64() },
      [`${NAMESPACE}signingAgent`]: "lab/1.0",
    },
    signature: base64Url(signature),
  });
}

const LABELS: Record<string, number> = { alg: 1, crit: 2, cty: 3 };

async function cose({ header, payload, chain, chainSigned, sign, stamp }: Parts): Promise<Bytes> {
  const value = (given: unknown) => given instanceof Date ? { tag: 1, value: +given / 1000 } : given as CborValue;
  const certificates = [33, chain.map((issued) => issued.der)] as [number, CborValue];
  const parameters = [...header].map((
    [name, given],
  ): [string | number, CborValue] => [LABELS[name] ?? name, value(given)]);
  const signedHeader = cbor(new Map(chainSigned ? [...parameters, certificates] : parameters));
  const signature = await sign(cbor(["Signature1", signedHeader, new Uint8Array(), payload])),
    token = await stamp(signature);
  const unsigned = new Map<string | number, CborValue>([
    ...chainSigned ? [] : [certificates],
    [`${NAMESPACE}signingAgent`, "lab/1.0"],
  ]);
  if (token !== undefined) unsigned.set(`${NAMESPACE}timestampSignature`, token);
  return concatBytes(cbor({ tag: 18, value: [signedHeader, unsigned, payload, signature] }));
}
