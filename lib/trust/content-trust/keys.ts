/** The keys of a role: kinds, ids, and whether enough of them have signed a document. */
import { type Bytes, concatBytes } from "../../base/bytes.ts";
import { FormatError, isFormatError } from "../../formats/format-error.ts";
import { pemBlocks } from "../../formats/pem.ts";
import { type Certificate, parseCertificate } from "../../formats/x509.ts";
import { MAX_CHAIN } from "../chain.ts";
import { digestOf, type PublicKey, publicKeyOf, verifyRawSignature, verifySignature } from "../keys.ts";
import { refuse } from "../verdict.ts";
import { canonicalBytes, type Document, type Kind, type Role, type WrittenKey } from "./metadata.ts";

export interface RoleKey {
  /** Its id in the document. */
  id: string;
  key: PublicKey;
  /** Of kinds that end in `-x509`: the certificate that holds it, then what came with that. */
  certificates: readonly Certificate[];
}

/** SubjectPublicKeyInfo of an Ed25519 key, up to the key itself (RFC 8410, section 4). */
const ED25519 = Uint8Array.fromHex("302a300506032b6570032100");
const ED25519_SIZE = 32;

/** SHA-256 of the canonical form, in hex. */
export async function keyIdOf(keytype: string, publicPart: Bytes): Promise<string> {
  const written = { keytype, keyval: { private: null, public: publicPart.toBase64() } };
  return (await digestOf("SHA-256", canonicalBytes(written))).toHex();
}

/** Kinds of keys, and how each signs: what a signature says of its method only has to agree. */
const METHODS: Record<string, readonly string[]> = {
  ecdsa: ["ecdsa"],
  rsa: ["rsapss", "rsapkcs1v15"],
  ed25519: ["eddsa"],
};

/** Throws `FormatError`, also where the id is not that of the key. */
async function readKey(id: string, { keytype, keyval }: WrittenKey): Promise<RoleKey> {
  if (await keyIdOf(keytype, keyval.public) !== id) throw new FormatError(`the key ${id} has another id`);
  if (keytype.endsWith("-x509")) {
    const text = new TextDecoder("latin1").decode(keyval.public);
    const certificates = pemBlocks(text, "CERTIFICATE", MAX_CHAIN).map((der) => parseCertificate(der));
    return { id, key: await keyOf(keytype.slice(0, -5), (certificates[0] as Certificate).spki), certificates };
  }
  if (keytype === "ed25519") {
    if (keyval.public.length !== ED25519_SIZE) throw new FormatError(`the key ${id} is no Ed25519 key`);
    return { id, key: await keyOf(keytype, concatBytes(ED25519, keyval.public)), certificates: [] };
  }
  return { id, key: await keyOf(keytype, keyval.public), certificates: [] };
}

async function keyOf(kind: string, spki: Bytes): Promise<PublicKey> {
  const key = await publicKeyOf(spki);
  if (key.kind !== kind) throw new FormatError(`a key is said to be of the kind ${kind}, and is ${key.label}`);
  return key;
}

export interface Signed {
  signers: readonly RoleKey[];
  /** Why they are not enough; undefined: they are. */
  shortfall?: string;
}

/**
 * The role's keys that have signed the document: one key counts once, under how many ids ever it stands.
 * @param what names the document. @param counts which of the role's keys count; without it, all.
 */
export async function signersOf(
  what: string,
  { canonical, signatures }: Document<Kind>,
  { keyids, threshold }: Role,
  keys: Readonly<Record<string, WrittenKey>>,
  counts: (key: RoleKey) => boolean | Promise<boolean> = () => true,
): Promise<Signed> {
  const signers = new Map<string, RoleKey>();
  let fault = "";
  for (const { keyid, method, sig } of signatures) {
    const written = keyids.includes(keyid) && Object.hasOwn(keys, keyid) ? keys[keyid] : undefined;
    if (written === undefined) continue;
    try {
      const key = await readKey(keyid, written);
      if (!await counts(key)) continue;
      if (await isSignature(key.key, method, canonical, sig)) signers.set(key.key.fingerprint, key);
      else fault = `; the signature by ${keyid} is wrong`;
    } catch (thrown) {
      if (!isFormatError(thrown)) throw thrown;
      fault = `; ${thrown.message}`;
    }
  }
  const found = [...signers.values()];
  if (found.length >= threshold) return { signers: found };
  return {
    signers: found,
    shortfall: `${what} is signed by ${found.length} of the keys that count, and needs ${threshold}${fault}`,
  };
}

/** As above; refuses where they are not enough. */
export async function requireSigners(...request: Parameters<typeof signersOf>): Promise<readonly RoleKey[]> {
  const { signers, shortfall } = await signersOf(...request);
  return shortfall === undefined ? signers : refuse(shortfall);
}

async function isSignature(key: PublicKey, method: string, signed: Bytes, signature: Bytes): Promise<boolean> {
  if (METHODS[key.kind]?.includes(method) !== true) return false;
  if (method === "ecdsa" || method === "rsapss") return await verifyRawSignature(key, "SHA-256", signed, signature);
  return await verifySignature(key, signed, signature);
}
