/** A timestamp authority (RFC 3161). */
import type { Bytes } from "../../../lib/base/bytes.ts";
import { tokenOfResponse } from "../../../lib/trust/timestamp.ts";
import { type Issued, signatureAlgorithm } from "./certificates.ts";
import * as der from "./der.ts";
import { sha256, sign } from "./keys.ts";

const SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"));
const TST_INFO = "1.2.840.113549.1.9.16.1.4";

export interface TimestampOptions {
  /** Puts these into the token. */
  embed?: readonly Issued[];
  /** Under which it stamps. */
  policy?: string;
  /** Seconds that its clock may be off; undefined: it does not say. */
  accuracy?: number | undefined;
}

/** A TimeStampResp that says: these bytes were there at that time. The authority's key signs with SHA-256. */
export async function makeTimestamp(
  authority: Issued,
  content: Uint8Array,
  at: Date,
  options: TimestampOptions = {},
): Promise<Bytes> {
  const { embed = [], policy = "1.3.6.1.4.1.57264.2", accuracy } = { accuracy: 1, ...options };
  const info = der.sequence(
    der.integer(1),
    der.oid(policy),
    der.sequence(SHA256, der.octets(await sha256(content))),
    der.integer(4711),
    der.time(at, true),
    ...accuracy === undefined ? [] : [der.sequence(der.integer(accuracy))],
  );
  const attribute = (id: string, value: Uint8Array) => der.sequence(der.oid(id), der.set(value));
  const attributes = [
    attribute("1.2.840.113549.1.9.3", der.oid(TST_INFO)),
    attribute("1.2.840.113549.1.9.5", der.time(at)),
    attribute("1.2.840.113549.1.9.4", der.octets(await sha256(info))),
    // SigningCertificateV2; SHA-256 is its default and left out.
    attribute(
      "1.2.840.113549.1.9.16.2.47",
      der.sequence(der.sequence(der.sequence(der.octets(await sha256(authority.der))))),
    ),
  ].sort(byBytes);
  const signature = await sign(authority.key, der.set(...attributes));
  const signer = der.sequence(
    der.integer(1),
    der.sequence(authority.issuerName, authority.serial),
    SHA256,
    der.tagged(0, ...attributes),
    signatureAlgorithm(authority.key),
    der.octets(signature),
  );
  const signedData = der.sequence(
    der.integer(3),
    der.set(SHA256),
    der.sequence(der.oid(TST_INFO), der.tagged(0, der.octets(info))),
    ...(embed.length === 0 ? [] : [der.tagged(0, ...embed.map((certificate) => certificate.der))]),
    der.set(signer),
  );
  const token = der.sequence(der.oid("1.2.840.113549.1.7.2"), der.tagged(0, signedData));
  return der.sequence(der.sequence(der.integer(0)), token);
}

/** The token alone, which is what Notary keeps. */
export async function makeTimestampToken(...request: Parameters<typeof makeTimestamp>): Promise<Bytes> {
  return tokenOfResponse(await makeTimestamp(...request));
}

/** DER wants the members of a SET in the order of their bytes. */
function byBytes(one: Uint8Array, other: Uint8Array): number {
  return one.toHex() < other.toHex() ? -1 : 1;
}
