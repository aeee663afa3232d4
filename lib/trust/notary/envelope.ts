/** What both envelopes of a Notary Project signature hold, and what its header must say (signature-specification.md). */
import * as z from "zod/mini";
import type { Bytes } from "../../base/bytes.ts";
import { refuse } from "../verdict.ts";

/** Real ones, with chain and timestamp, have some 10 KiB. Bytes. */
export const MAX_ENVELOPE = 1024 * 1024;

export interface Envelope {
  header: Header;
  /** What the signature is over. */
  signed: Bytes;
  signature: Bytes;
  payload: Bytes;
  /** The signer's first, the root last. */
  certificates: Bytes[];
  /** A TimeStampToken. */
  timestamp?: Bytes | undefined;
}

/** The names of the header's parameters: JWS's own for those that COSE numbers. */
export const NAME = {
  algorithm: "alg",
  contentType: "cty",
  critical: "crit",
  scheme: "io.cncf.notary.signingScheme",
  signingTime: "io.cncf.notary.signingTime",
  authenticSigningTime: "io.cncf.notary.authenticSigningTime",
  expiry: "io.cncf.notary.expiry",
  plugin: "io.cncf.notary.verificationPlugin",
  timestamp: "io.cncf.notary.timestampSignature",
} as const;

export const PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json";

export type Scheme = "notary.x509" | "notary.x509.signingAuthority";

/** @param time how the envelope writes it. */
export function headerSchema(time: z.ZodMiniType<Date>) {
  // Attributes that are unknown and not critical say nothing that has to be understood.
  return z.looseObject({
    [NAME.algorithm]: z.string(),
    [NAME.contentType]: z.string(),
    [NAME.critical]: z.array(z.string()).check(z.minLength(1), z.maxLength(20)),
    [NAME.scheme]: z.string(),
    [NAME.signingTime]: z.optional(time),
    [NAME.authenticSigningTime]: z.optional(time),
    [NAME.expiry]: z.optional(time),
  });
}
export type Header = z.infer<ReturnType<typeof headerSchema>>;

/** Critical attributes that this program acts upon. */
const HEEDED: readonly string[] = [NAME.scheme, NAME.authenticSigningTime, NAME.expiry];

/** What the signer wants to have understood, said as it must be said. Returns the scheme that the rest depends on. */
export function verifyHeader(header: Header): Scheme {
  const scheme = header[NAME.scheme], critical = header[NAME.critical];
  if (header[NAME.contentType] !== PAYLOAD_TYPE) {
    refuse("the signature is over content of another type", PAYLOAD_TYPE, header[NAME.contentType]);
  }
  // A plugin would have to judge it (plugin-extensibility.md): a verifier that has none must fail.
  const plugin = Object.keys(header).find((name) => name.startsWith(NAME.plugin));
  if (plugin !== undefined) {
    refuse("the signature can only be verified by a plugin, and cos has none", "no verificationPlugin", plugin);
  }
  if (scheme !== "notary.x509" && scheme !== "notary.x509.signingAuthority") {
    return refuse("the signing scheme is unknown", "notary.x509 or notary.x509.signingAuthority", scheme);
  }
  const unknown = critical.find((name) => !HEEDED.includes(name));
  if (unknown !== undefined) refuse("a critical attribute is unknown", HEEDED.join(", "), unknown);
  for (const name of HEEDED) {
    const present = header[name] !== undefined, count = critical.filter((other) => other === name).length;
    if (count !== (present ? 1 : 0)) {
      refuse(`the attribute ${name} is ${present ? "there" : "not there"}`, listed(present ? 1 : 0), listed(count));
    }
  }
  const [own, other] = scheme === "notary.x509"
    ? [NAME.signingTime, NAME.authenticSigningTime]
    : [NAME.authenticSigningTime, NAME.signingTime];
  if (header[own] === undefined) refuse(`the signing scheme ${scheme} wants a time`, own, "none");
  if (header[other] !== undefined) refuse(`the signing scheme ${scheme} has another time`, own, other);
  return scheme;
}

function listed(times: number): string {
  return times === 0 ? "not listed as critical" : times === 1 ? "listed as critical" : `listed ${times} times`;
}
