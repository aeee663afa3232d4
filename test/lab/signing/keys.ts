/** Keys that sign: every kind that signers of images have. */
import type { Bytes } from "../../../lib/base/bytes.ts";
import type { Hash } from "../../../lib/trust/keys.ts";
import * as der from "./der.ts";

export const KEY_KINDS = ["p256", "p384", "p521", "ed25519", "rsa2048", "rsa3072", "rsa4096"] as const;
export type KeyKind = typeof KEY_KINDS[number];

export interface SigningKey {
  kind: KeyKind;
  /** SubjectPublicKeyInfo. */
  spki: Bytes;
  /** The public key, PEM. */
  pem: string;
  pkcs8: Bytes;
}

export interface SigningOptions {
  /** Without it: the curve's own, SHA-256 for RSA. */
  hash?: Hash;
  /** RSA-PSS with a salt of so many bytes. */
  saltLength?: number;
}

const CURVES = {
  p256: { namedCurve: "P-256", hash: "SHA-256" },
  p384: { namedCurve: "P-384", hash: "SHA-384" },
  p521: { namedCurve: "P-521", hash: "SHA-512" },
} as const;

export async function makeKey(kind: KeyKind): Promise<SigningKey> {
  const algorithm = kind === "ed25519"
    ? { name: "Ed25519" }
    : kind in CURVES
    ? { name: "ECDSA", namedCurve: CURVES[kind as keyof typeof CURVES].namedCurve }
    : {
      name: "RSASSA-PKCS1-v1_5",
      hash: "SHA-256",
      modulusLength: Number(kind.slice(3)),
      publicExponent: new Uint8Array([1, 0, 1]),
    };
  const { publicKey, privateKey } = await crypto.subtle.generateKey(algorithm, true, [
    "sign",
    "verify",
  ]) as CryptoKeyPair;
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", publicKey));
  return {
    kind,
    spki,
    pem: pem("PUBLIC KEY", spki),
    pkcs8: new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey)),
  };
}

/** EC signatures are DER, as everybody but Notary and JOSE wants them. */
export async function sign(key: SigningKey, content: Uint8Array, options: SigningOptions = {}): Promise<Bytes> {
  const signature = await signRaw(key, content, options);
  if (!(key.kind in CURVES)) return signature;
  const half = signature.length / 2;
  return der.sequence(der.integer(signature.subarray(0, half)), der.integer(signature.subarray(half)));
}

/** EC signatures are the two numbers side by side. */
export async function signRaw(key: SigningKey, content: Uint8Array, options: SigningOptions = {}): Promise<Bytes> {
  const algorithm = algorithmOf(key.kind, options);
  const imported = await crypto.subtle.importKey("pkcs8", key.pkcs8, algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign(algorithm, imported, content as Bytes));
}

function algorithmOf(kind: KeyKind, { hash, saltLength }: SigningOptions) {
  if (kind === "ed25519") return { name: "Ed25519" };
  if (kind in CURVES) {
    const curve = CURVES[kind as keyof typeof CURVES];
    return { name: "ECDSA", namedCurve: curve.namedCurve, hash: hash ?? curve.hash };
  }
  return saltLength === undefined
    ? { name: "RSASSA-PKCS1-v1_5", hash: hash ?? "SHA-256" }
    : { name: "RSA-PSS", hash: hash ?? "SHA-256", saltLength };
}

export function pem(label: string, content: Uint8Array): string {
  const lines = content.toBase64().match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

export async function sha256(content: Uint8Array): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", content as Bytes));
}

/** A value as JSON text. */
export const jsonBytes = (value: unknown): Bytes => new TextEncoder().encode(JSON.stringify(value));
