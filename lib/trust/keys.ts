/**
 * Public keys, and whether a signature is theirs. The key says which algorithm counts, never what comes with the signature.
 *
 * Web Crypto verifies: it is the one part of the runtime that takes every curve with every hash (`node:crypto` calls a good
 * signature by P-521 over SHA-256 bad).
 */
import { type Bytes, concatBytes } from "../base/bytes.ts";
import { bitStringOf, oidOf, readDer, sequence, smallNumberOf, unsignedOf } from "../formats/der.ts";
import { FormatError, isFormatError } from "../formats/format-error.ts";
import { pemBlocks } from "../formats/pem.ts";
import { algorithmOf } from "../formats/x509.ts";

export type Hash = "SHA-256" | "SHA-384" | "SHA-512";

export interface PublicKey {
  kind: "ecdsa" | "ed25519" | "rsa";
  /** For people: `ECDSA P-256`, `Ed25519`, `RSA 3072`. */
  label: string;
  /** SubjectPublicKeyInfo, DER. */
  spki: Bytes;
  /** `sha256:` and hex, of the SubjectPublicKeyInfo. */
  fingerprint: string;
  curve?: Curve;
  /** Of an RSA key's modulus. */
  bits?: number;
}

type Curve = keyof typeof CURVES;

/** `size` is of each of a signature's two numbers, in bytes; `hash` is the one that the curve's strength asks for. */
const CURVES = {
  "P-256": { oid: "1.2.840.10045.3.1.7", size: 32, hash: "SHA-256" },
  "P-384": { oid: "1.3.132.0.34", size: 48, hash: "SHA-384" },
  "P-521": { oid: "1.3.132.0.35", size: 66, hash: "SHA-512" },
} as const;

const OID = { ec: "1.2.840.10045.2.1", ed25519: "1.3.101.112", rsa: "1.2.840.113549.1.1.1" } as const;

/** Below 2048 bits a key can be broken; above 8192 nothing is in use, and verifying becomes slow. */
const RSA_BITS = { least: 2048, most: 8192 } as const;

/** A PEM file with one block `PUBLIC KEY`. Throws `FormatError`. */
export async function parsePublicKey(pem: string): Promise<PublicKey> {
  return await publicKeyOf(pemBlocks(pem, "PUBLIC KEY", 1)[0] ?? new Uint8Array());
}

/** Throws `FormatError` for kinds of keys that are not supported, weak ones, and points that are not on their curve. */
export async function publicKeyOf(spki: Bytes): Promise<PublicKey> {
  const [algorithm, bits, more] = sequence(readDer(spki));
  if (more !== undefined) throw new FormatError("it is no public key");
  const { oid, parameters } = algorithmOf(algorithm),
    fingerprint = `sha256:${(await digestOf("SHA-256", spki)).toHex()}`;
  const key = { spki, fingerprint };
  switch (oid) {
    case OID.ec: {
      const named = oidOf(parameters), [curve] = Object.entries(CURVES).find(([, c]) => c.oid === named) ?? [];
      if (curve === undefined) {
        throw new FormatError(`its elliptic curve (${named}) is not supported: only P-256, P-384, P-521`);
      }
      return await usable({ ...key, kind: "ecdsa", label: `ECDSA ${curve}`, curve: curve as Curve });
    }
    case OID.ed25519:
      if (parameters !== undefined) throw new FormatError("it is no Ed25519 key");
      return await usable({ ...key, kind: "ed25519", label: "Ed25519" });
    case OID.rsa: {
      const [modulus, exponent] = sequence(readDer(bitStringOf(bits)));
      const size = bitLength(unsignedOf(modulus)), e = smallNumberOf(exponent);
      if (size < RSA_BITS.least || size > RSA_BITS.most) {
        throw new FormatError(
          `its RSA modulus has ${size} bits: only ${RSA_BITS.least} to ${RSA_BITS.most} are accepted`,
        );
      }
      // FIPS 186-5, 5.4: larger than 2^16, and odd.
      if (e <= 65536 || e % 2 === 0) {
        throw new FormatError(`its RSA exponent is ${e}: only odd ones from 65537 on are accepted`);
      }
      return await usable({ ...key, kind: "rsa", label: `RSA ${size}`, bits: size });
    }
  }
  throw new FormatError(`its algorithm (${oid}) is not supported: only ECDSA, Ed25519 and RSA`);
}

/** Some faults of a key the runtime finds only when it is used. */
async function usable(key: PublicKey): Promise<PublicKey> {
  try {
    for (const algorithm of algorithmsOf(key, {})) await check(key, algorithm, new Uint8Array(), new Uint8Array());
    return key;
  } catch (cause) {
    throw new FormatError(`it is no ${key.label} key`, { cause });
  }
}

export interface SignatureOptions {
  /** Only these; without it a curve's own hash, then SHA-256, which older cosign takes for every curve. */
  hashes?: readonly Hash[];
  /** RSA with the padding PSS in place of PKCS #1 v1.5: only where the policy says so. */
  pss?: boolean;
}

/** EC signatures are DER. */
export async function verifySignature(
  key: PublicKey,
  signed: Bytes,
  signature: Bytes,
  options: SignatureOptions = {},
): Promise<boolean> {
  const raw = key.curve === undefined ? signature : rawSignature(signature, CURVES[key.curve].size);
  if (raw === undefined) return false;
  for (const algorithm of algorithmsOf(key, options)) if (await check(key, algorithm, raw, signed)) return true;
  return false;
}

/**
 * As JOSE and COSE have them: EC signatures are the two numbers side by side, and RSA's have the padding PSS with a salt as long as
 * the hash (RFC 7518, 3.4 and 3.5; RFC 8230, 2).
 */
export async function verifyRawSignature(
  key: PublicKey,
  hash: Hash,
  signed: Bytes,
  signature: Bytes,
): Promise<boolean> {
  if (key.curve !== undefined) {
    return await check(key, { name: "ECDSA", namedCurve: key.curve, hash }, signature, signed);
  }
  const saltLength = Number(hash.slice(4)) / 8;
  return key.kind === "rsa" && await check(key, { name: "RSA-PSS", hash, saltLength }, signature, signed);
}

type Algorithm = { name: string; hash?: Hash; namedCurve?: string; saltLength?: number };

function algorithmsOf(key: PublicKey, { hashes, pss }: SignatureOptions): Algorithm[] {
  if (key.kind === "ed25519") return [{ name: "Ed25519" }];
  if (key.curve !== undefined) {
    const own = new Set<Hash>([CURVES[key.curve].hash, "SHA-256"]);
    return (hashes ?? [...own]).map((hash) => ({ name: "ECDSA", namedCurve: key.curve, hash }));
  }
  return (hashes ?? ["SHA-256"]).flatMap((hash): Algorithm[] => {
    if (!pss) return [{ name: "RSASSA-PKCS1-v1_5", hash }];
    // As long as the hash, or as long as there is room, which is Go's way of signing: others no tool makes.
    const size = Number(hash.slice(4)) / 8, most = Math.ceil(((key.bits ?? 0) - 1) / 8) - size - 2;
    return [size, most].map((saltLength) => ({ name: "RSA-PSS", hash, saltLength }));
  });
}

async function check(key: PublicKey, algorithm: Algorithm, signature: Bytes, signed: Bytes): Promise<boolean> {
  const imported = await crypto.subtle.importKey("spki", key.spki, algorithm, false, ["verify"]);
  return await crypto.subtle.verify(algorithm, imported, signature, signed);
}

/** ECDSA-Sig-Value (RFC 3279, 2.2.3) as the two numbers side by side, which Web Crypto wants. */
function rawSignature(der: Bytes, size: number): Bytes | undefined {
  try {
    const [r, s, more] = sequence(readDer(der)).map((part) => unsignedOf(part));
    if (r === undefined || s === undefined || more !== undefined || r.length > size || s.length > size) {
      return undefined;
    }
    return concatBytes(new Uint8Array(size - r.length), r, new Uint8Array(size - s.length), s);
  } catch (thrown) {
    if (isFormatError(thrown)) return undefined;
    throw thrown;
  }
}

function bitLength(bytes: Bytes): number {
  return bytes.length === 0 ? 0 : bytes.length * 8 - Math.clz32(bytes[0] ?? 0) + 24;
}

export async function digestOf(hash: Hash, bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest(hash, bytes));
}

/**
 * What to say where a signature is not the key's. Ed25519ph signs a hash in place of the content, and nothing in a signature
 * tells it from a plain one.
 */
export function notSignedBy(key: PublicKey): string {
  const ph = key.kind === "ed25519"
    ? " (Ed25519ph, which cosign 3 makes with Ed25519 keys, is not supported: sign with an ECDSA key)"
    : "";
  return `the signature was not made by the ${key.label} key ${key.fingerprint}${ph}`;
}
