/**
 * Whom a Sigstore instance consists of: `trusted_root.json` (`TrustedRoot` in sigstore/protobuf-specs), or single keys and CAs of an
 * operator's own.
 */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { type Bytes, concatBytes } from "../base/bytes.ts";
import { encodeDer, TAG } from "../formats/der.ts";
import { FormatError, isFormatError } from "../formats/format-error.ts";
import { pemBlocks } from "../formats/pem.ts";
import { type Certificate, isSelfIssued, parseCertificate } from "../formats/x509.ts";
import { ALWAYS, type Authority, MAX_CHAIN, type Period } from "./chain.ts";
import { digestOf, type PublicKey, publicKeyOf } from "./keys.ts";
import type { LogKey } from "./log-keys.ts";
import { base64, maybe, parseShape, someBase64 } from "./shape.ts";

/** The public instance's has 7 KiB. Bytes. */
const MAX_TRUSTED_ROOT = 1024 * 1024;
/** Logs or authorities of one kind, past ones included. */
const MAX_MEMBERS = 100;

export interface TrustedRoot {
  certificateAuthorities: Authority[];
  timestampAuthorities: Authority[];
  /** Rekor. */
  logs: LogKey[];
  certificateLogs: LogKey[];
  /** What of the file cannot be used here, and why: newer kinds of keys must not make the rest useless. */
  unusable: string[];
}

const time = z.pipe(
  z.string().check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/)),
  z.transform((text) => new Date(text)),
);
// Without a beginning the file does not say for when a key is trusted: then it is for no time.
const period = z.object({ start: time, end: maybe(time) });
const keyId = z.object({ keyId: someBase64 });

// Unknown fields are let through: the file is the operator's own, and each year adds some.
const log = z.object({
  baseUrl: z.string(),
  hashAlgorithm: z.string(),
  publicKey: z.object({ rawBytes: someBase64, keyDetails: z.string(), validFor: period }),
  logId: keyId,
  checkpointKeyId: maybe(keyId),
});
const authority = z.object({
  certChain: z.object({ certificates: members(z.object({ rawBytes: base64 }), MAX_CHAIN, 1) }),
  validFor: period,
});
const schema = z.object({
  mediaType: z.string().check(
    z.regex(/^application\/vnd\.dev\.sigstore\.trustedroot(?:\+json;version=0\.[12]|\.v0\.2\+json)$/),
  ),
  tlogs: z._default(members(log), []),
  certificateAuthorities: z._default(members(authority), []),
  ctlogs: z._default(members(log), []),
  timestampAuthorities: z._default(members(authority), []),
});

function members<T extends z.ZodMiniType>(member: T, most = MAX_MEMBERS, least = 0) {
  return z.array(member).check(z.minLength(least), z.maxLength(most));
}

/** Throws `FormatError`. */
export async function parseTrustedRoot(bytes: Uint8Array): Promise<TrustedRoot> {
  const file = parseShape(schema, bytes, MAX_TRUSTED_ROOT), unusable: string[] = [];

  async function usable<I, T>(items: I[], what: string, make: (item: I) => T | Promise<T>): Promise<T[]> {
    const made: T[] = [];
    for (const item of items) {
      try {
        made.push(await make(item));
      } catch (thrown) {
        if (!isFormatError(thrown)) throw thrown;
        unusable.push(`${what}: ${thrown.message}`);
      }
    }
    return made;
  }

  return {
    certificateAuthorities: await usable(file.certificateAuthorities, "a certificate authority", authorityOf),
    timestampAuthorities: await usable(file.timestampAuthorities, "a timestamp authority", authorityOf),
    logs: await usable(file.tlogs, "a transparency log", logOf),
    certificateLogs: await usable(file.ctlogs, "a certificate log", logOf),
    unusable,
  };
}

function authorityOf({ certChain, validFor }: z.infer<typeof authority>): Authority {
  return authorityFrom(certChain.certificates.map(({ rawBytes }) => parseCertificate(rawBytes)), validFor);
}

/** @param chain from the issuing certificate (or the authority's own) up to the one that is trusted by itself. */
export function authorityFrom(chain: readonly Certificate[], validFor: Period): Authority {
  return { anchors: chain.slice(-1), intermediates: chain.slice(0, -1), validFor };
}

/**
 * The CAs of an operator's own PEM file: those that issued themselves are trusted, the others help to reach them.
 * Throws `FormatError`.
 */
export function authorityOfPem(pem: string): Authority {
  const certificates = pemBlocks(pem, "CERTIFICATE", MAX_CHAIN).map(parseCertificate),
    anchors = certificates.filter(isSelfIssued);
  if (anchors.length === 0) throw new FormatError("it holds no root certificate");
  return { anchors, intermediates: certificates.filter((certificate) => !isSelfIssued(certificate)), validFor: ALWAYS };
}

/** A log of which the operator has the key alone. */
export async function logOfKey(key: PublicKey): Promise<LogKey> {
  return { key, id: await digestOf("SHA-256", key.spki), validFor: ALWAYS };
}

async function logOf(member: z.infer<typeof log>): Promise<LogKey> {
  const { baseUrl, hashAlgorithm, publicKey, logId, checkpointKeyId } = member;
  if (hashAlgorithm !== "SHA2_256") {
    throw new FormatError(`its hash algorithm ${displayText(hashAlgorithm, 40)} is not supported`);
  }
  const { keyDetails, rawBytes, validFor } = publicKey;
  if (keyDetails.endsWith("_PH")) {
    throw new FormatError(`keys of the kind ${displayText(keyDetails, 40)} are not supported`);
  }
  const key = await publicKeyOf(keyDetails.startsWith("PKCS1_") ? spkiOfPkcs1(rawBytes) : rawBytes);
  return { key, id: (checkpointKeyId ?? logId).keyId, origin: originOf(baseUrl), validFor };
}

/** As a log names itself in its checkpoints: its address without the scheme. */
function originOf(baseUrl: string): string {
  const { host, pathname } = URL.parse(baseUrl) ?? { host: baseUrl, pathname: "" };
  return `${host}${pathname}`.replace(/\/$/, "");
}

/** RSAPublicKey (RFC 8017, A.1.1), which the first certificate log's key is written as. */
function spkiOfPkcs1(key: Bytes): Bytes {
  const rsaEncryption = Uint8Array.fromHex("06092a864886f70d0101010500");
  return encodeDer(
    TAG.sequence,
    encodeDer(TAG.sequence, rsaEncryption),
    encodeDer(TAG.bitString, concatBytes(new Uint8Array(1), key)),
  );
}
