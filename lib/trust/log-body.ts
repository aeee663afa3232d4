/**
 * Whether a log entry is about this signature. An entry that is in the log proves nothing else: programs that did not compare it
 * could be given any entry (CVE-2022-36056, CVE-2026-22703).
 */
import * as z from "zod/mini";
import { displayText } from "../base/byte-string.ts";
import { type Bytes, sameBytes } from "../base/bytes.ts";
import { decodeBase64 } from "../formats/base64.ts";
import { FormatError } from "../formats/format-error.ts";
import { pemBlocks } from "../formats/pem.ts";
import { digestOf, type Hash } from "./keys.ts";
import { MAX_ENTRY } from "./log-entry.ts";
import { base64, hashName, hex, parseShape } from "./shape.ts";
import { reading, refuse } from "./verdict.ts";

/** What an entry must be about. */
export interface Logged {
  signature: Bytes;
  /** The bytes that the signature is over. */
  signed: Bytes;
  /** Of a DSSE envelope: its payload, which entries name instead. */
  payload?: Bytes;
  /** The certificate (DER), or the key (SubjectPublicKeyInfo). */
  verifier: { certificate: Bytes } | { key: Bytes };
}

/** An entry's own words, whichever kind it is of. */
interface Entry {
  signature: Bytes;
  digest: Bytes;
  hash: Hash;
  /** Of what the digest is. */
  of: "signed" | "payload";
  verifier: Logged["verifier"];
}

const hexDigest = z.object({ algorithm: z.literal("sha256"), value: hex });
const digest = z.object({ algorithm: hashName, digest: base64 });
const raw = z.object({ rawBytes: base64 });
const verifier = z.object({ keyDetails: z.string(), x509Certificate: z.optional(raw), publicKey: z.optional(raw) });
const signature = z.object({ content: base64, verifier });

/** By kind and version. Rekor's second version has those of 0.0.2 but `intoto`. */
const bodies = z.union([
  z.object({
    kind: z.literal("hashedrekord"),
    apiVersion: z.literal("0.0.1"),
    spec: z.object({
      data: z.object({ hash: z.object({ algorithm: z.enum(["sha256", "sha384", "sha512"]), value: hex }) }),
      signature: z.object({ content: base64, publicKey: z.object({ content: base64 }) }),
    }),
  }),
  z.object({
    kind: z.literal("hashedrekord"),
    apiVersion: z.literal("0.0.2"),
    spec: z.object({ hashedRekordV002: z.object({ data: digest, signature }) }),
  }),
  z.object({
    kind: z.literal("dsse"),
    apiVersion: z.literal("0.0.1"),
    spec: z.object({
      payloadHash: hexDigest,
      signatures: z.tuple([z.object({ signature: base64, verifier: base64 })]),
    }),
  }),
  z.object({
    kind: z.literal("dsse"),
    apiVersion: z.literal("0.0.2"),
    spec: z.object({ dsseV002: z.object({ payloadHash: digest, signatures: z.tuple([signature]) }) }),
  }),
  z.object({
    kind: z.literal("intoto"),
    apiVersion: z.literal("0.0.2"),
    spec: z.object({
      content: z.object({
        payloadHash: hexDigest,
        envelope: z.object({ signatures: z.tuple([z.object({ publicKey: base64, sig: base64 })]) }),
      }),
    }),
  }),
]);

/** @param told the kind and version that the bundle gives, where it gives them. */
export async function compareEntry(
  body: Bytes,
  logged: Logged,
  told?: { kind: string; version: string },
): Promise<void> {
  const parsed = reading("the log entry", () => parseShape(bodies, body, MAX_ENTRY));
  if (told !== undefined && (told.kind !== parsed.kind || told.version !== parsed.apiVersion)) {
    refuse("the log entry is of another kind", `${told.kind} ${told.version}`, `${parsed.kind} ${parsed.apiVersion}`);
  }
  const entry = reading("the log entry", () => entryOf(parsed));
  if (!sameBytes(entry.signature, logged.signature)) refuse("the log entry is of another signature");
  if (!sameVerifier(entry.verifier, logged.verifier)) refuse("the log entry names another key or certificate");
  if (entry.of === "payload" && logged.payload === undefined) {
    refuse("the log entry is of an envelope, and the signature of none");
  }
  const content = entry.of === "payload" ? logged.payload : logged.signed;
  if (!sameBytes(entry.digest, await digestOf(entry.hash, content ?? new Uint8Array()))) {
    refuse("the log entry is of another content");
  }
}

function entryOf(body: z.infer<typeof bodies>): Entry {
  switch (body.kind) {
    case "hashedrekord":
      if (body.apiVersion === "0.0.1") {
        const { data: { hash }, signature: { content, publicKey } } = body.spec;
        return {
          signature: content,
          digest: hash.value,
          hash: `SHA-${hash.algorithm.slice(3)}` as Hash,
          of: "signed",
          verifier: verifierOfPem(publicKey.content),
        };
      }
      return entryOf2(body.spec.hashedRekordV002.data, body.spec.hashedRekordV002.signature, "signed");
    case "dsse":
      if (body.apiVersion === "0.0.1") {
        const { payloadHash, signatures: [{ signature, verifier }] } = body.spec;
        return ofPayload(payloadHash.value, signature, verifier);
      }
      return entryOf2(body.spec.dsseV002.payloadHash, body.spec.dsseV002.signatures[0], "payload");
    case "intoto": {
      const { payloadHash, envelope: { signatures: [{ publicKey, sig }] } } = body.spec.content;
      // Base64 of Base64: Rekor keeps the envelope's own text.
      return ofPayload(payloadHash.value, decodeBase64(new TextDecoder().decode(sig)), publicKey);
    }
  }
}

function ofPayload(digest: Bytes, signature: Bytes, pem: Bytes): Entry {
  return { signature, digest, hash: "SHA-256", of: "payload", verifier: verifierOfPem(pem) };
}

function entryOf2(
  data: z.infer<typeof digest>,
  { content, verifier }: z.infer<typeof signature>,
  of: Entry["of"],
): Entry {
  const { keyDetails, x509Certificate: certificate, publicKey: key } = verifier;
  if (keyDetails.endsWith("_PH")) {
    throw new FormatError(`signatures of the kind ${displayText(keyDetails, 40)} are not supported`);
  }
  if ((certificate === undefined) === (key === undefined)) throw new FormatError("it names no key, or two");
  return {
    signature: content,
    digest: data.digest,
    hash: data.algorithm,
    of,
    verifier: certificate === undefined
      ? { key: (key as typeof raw._zod.output).rawBytes }
      : { certificate: certificate.rawBytes },
  };
}

function verifierOfPem(bytes: Bytes): Logged["verifier"] {
  const pem = new TextDecoder().decode(bytes);
  if (pem.includes("-----BEGIN CERTIFICATE-----")) return { certificate: pemBlocks(pem, "CERTIFICATE", 1)[0] as Bytes };
  return { key: pemBlocks(pem, "PUBLIC KEY", 1)[0] as Bytes };
}

function sameVerifier(one: Logged["verifier"], other: Logged["verifier"]): boolean {
  if ("certificate" in one) return "certificate" in other && sameBytes(one.certificate, other.certificate);
  return "key" in other && sameBytes(one.key, other.key);
}
