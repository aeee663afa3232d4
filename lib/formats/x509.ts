/** X.509 certificates (RFC 5280): what of them says who may sign what, and when. Whom to believe is decided in `lib/trust`. */
import { type Bytes, sameBytes } from "../base/bytes.ts";
import {
  bitOf,
  bitStringOf,
  booleanOf,
  children,
  type Der,
  expectTag,
  oidOf,
  readDer,
  sequence,
  smallNumberOf,
  TAG,
  timeOf,
} from "./der.ts";
import { FormatError } from "./format-error.ts";

/** The largest in use (Fulcio's, with all that it knows of a workflow) have 3 KiB. Bytes. */
const MAX_CERTIFICATE = 64 * 1024;

const EXTENSION = {
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extKeyUsage: "2.5.29.37",
} as const;
/** The extensions whose meaning is heeded here: another one that is marked critical makes a certificate unusable. */
const HEEDED = new Set<string>(Object.values(EXTENSION));

export interface Extension {
  critical: boolean;
  /** What stands in its OCTET STRING. */
  value: Bytes;
}

/** A name that the certificate speaks for; of those kinds that signers have. */
export interface AlternativeName {
  kind: "email" | "dns" | "uri" | "other";
  value: string;
}

export interface Certificate {
  der: Bytes;
  /** What its issuer signed: the element TBSCertificate. */
  signed: Bytes;
  signatureAlgorithm: AlgorithmIdentifier;
  signature: Bytes;
  serial: Bytes;
  /** Names as they are encoded; they are only ever compared. */
  issuer: Bytes;
  subject: Bytes;
  notBefore: Date;
  notAfter: Date;
  /** SubjectPublicKeyInfo. */
  spki: Bytes;
  extensions: ReadonlyMap<string, Extension>;
  isCa: boolean;
  pathLength: number | undefined;
  /** `undefined` where the certificate does not limit it. */
  keyUsage: { digitalSignature: boolean; certSign: boolean } | undefined;
  extKeyUsage: { purposes: string[]; critical: boolean } | undefined;
  alternativeNames: AlternativeName[];
  subjectKeyId: Bytes | undefined;
  authorityKeyId: Bytes | undefined;
}

export interface AlgorithmIdentifier {
  oid: string;
  parameters: Der | undefined;
}

export function algorithmOf(element: Der | undefined): AlgorithmIdentifier {
  const [oid, parameters, more] = sequence(element);
  if (more !== undefined) throw new FormatError("an algorithm has too many parts");
  return { oid: oidOf(oid), parameters };
}

/** Throws `FormatError`, also for an extension that is critical and not understood here, or there twice. */
export function parseCertificate(der: Bytes): Certificate {
  if (der.length > MAX_CERTIFICATE) throw new FormatError("the certificate is too large");
  const [signed, outer, signature, more] = sequence(readDer(der));
  if (signed === undefined || more !== undefined) throw new FormatError("it is no certificate");
  const [version, serial, inner, issuer, validity, subject, spki, ...rest] = sequence(signed);
  if (smallNumberOf(children(expectTag(version, 0xa0))[0]) !== 2) {
    throw new FormatError("the certificate is not of version 3");
  }
  // Otherwise the algorithm could be changed without breaking the signature.
  if (!sameBytes(algorithmBytes(inner), algorithmBytes(outer))) {
    throw new FormatError("the certificate names two algorithms");
  }
  const [notBefore, notAfter] = sequence(validity);
  const extensions = extensionsOf(rest.find(({ tag }) => tag === 0xa3));
  const unknown = [...extensions].find(([oid, { critical }]) => critical && !HEEDED.has(oid));
  if (unknown !== undefined) throw new FormatError(`the certificate has the unknown critical extension ${unknown[0]}`);
  return {
    der,
    signed: signed.bytes,
    signatureAlgorithm: algorithmOf(outer),
    signature: bitStringOf(signature),
    serial: expectTag(serial, TAG.integer).content,
    issuer: expectTag(issuer, TAG.sequence).bytes,
    subject: expectTag(subject, TAG.sequence).bytes,
    notBefore: timeOf(notBefore),
    notAfter: timeOf(notAfter),
    spki: expectTag(spki, TAG.sequence).bytes,
    extensions,
    ...constraintsOf(extensions),
    ...usageOf(extensions),
    alternativeNames: namesOf(extensions.get(EXTENSION.subjectAltName)),
    subjectKeyId: valueOf(extensions, EXTENSION.subjectKeyId, (value) => expectTag(value, TAG.octetString).content),
    authorityKeyId: valueOf(
      extensions,
      EXTENSION.authorityKeyId,
      (value) => sequence(value).find(({ tag }) => tag === 0x80)?.content,
    ),
  };
}

function algorithmBytes(element: Der | undefined): Bytes {
  return expectTag(element, TAG.sequence).bytes;
}

function extensionsOf(wrapped: Der | undefined): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  if (wrapped === undefined) return extensions;
  const [list, more] = children(wrapped);
  if (more !== undefined) throw new FormatError("the certificate's extensions are malformed");
  for (const element of sequence(list)) {
    const parts = sequence(element), oid = oidOf(parts[0]), critical = parts.length === 3 && booleanOf(parts[1]);
    if (parts.length > 3) throw new FormatError("the certificate's extensions are malformed");
    if (extensions.has(oid)) throw new FormatError(`the certificate has the extension ${oid} twice`);
    extensions.set(oid, { critical, value: expectTag(parts.at(-1), TAG.octetString).content });
  }
  return extensions;
}

function valueOf<T>(extensions: Map<string, Extension>, oid: string, read: (value: Der) => T): T | undefined {
  const extension = extensions.get(oid);
  return extension === undefined ? undefined : read(readDer(extension.value));
}

function constraintsOf(extensions: Map<string, Extension>): Pick<Certificate, "isCa" | "pathLength"> {
  const constraints = valueOf(extensions, EXTENSION.basicConstraints, (value) => {
    const parts = sequence(value), isCa = parts[0]?.tag === TAG.boolean && booleanOf(parts[0]);
    const limit = parts.find(({ tag }) => tag === TAG.integer);
    return { isCa, pathLength: limit === undefined ? undefined : smallNumberOf(limit) };
  });
  return constraints ?? { isCa: false, pathLength: undefined };
}

function usageOf(extensions: Map<string, Extension>): Pick<Certificate, "keyUsage" | "extKeyUsage"> {
  return {
    keyUsage: valueOf(extensions, EXTENSION.keyUsage, (value) => ({
      digitalSignature: bitOf(value, 0),
      certSign: bitOf(value, 5),
    })),
    extKeyUsage: valueOf(extensions, EXTENSION.extKeyUsage, (value) => ({
      purposes: sequence(value).map(oidOf),
      critical: extensions.get(EXTENSION.extKeyUsage)?.critical ?? false,
    })),
  };
}

const NAME_KINDS: Record<number, AlternativeName["kind"]> = { 0x81: "email", 0x82: "dns", 0x86: "uri" };

function namesOf(extension: Extension | undefined): AlternativeName[] {
  if (extension === undefined) return [];
  return sequence(readDer(extension.value)).map(({ tag, content }) => {
    const kind = NAME_KINDS[tag] ?? "other";
    return { kind, value: kind === "other" ? "" : asciiOf(content) };
  });
}

/** IA5String. A zero byte in a name has made two of one before (CVE-2009-2408). */
function asciiOf(bytes: Bytes): string {
  if (!bytes.every((byte) => byte >= 0x20 && byte < 0x7f)) {
    throw new FormatError("a name in the certificate is not plain text");
  }
  return new TextDecoder().decode(bytes);
}

/** Whether a certificate names itself as its issuer. */
export function isSelfIssued(certificate: Certificate): boolean {
  return sameBytes(certificate.issuer, certificate.subject);
}

/** The value of an extension that holds a UTF8String. */
export function textExtension(certificate: Certificate, oid: string): string | undefined {
  const extension = certificate.extensions.get(oid);
  if (extension === undefined) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readDer(extension.value, TAG.utf8String).content);
  } catch (cause) {
    throw new FormatError(`the certificate's extension ${oid} is no text`, { cause });
  }
}
