/** A Sigstore instance of the lab's own: a CA that vouches for identities, its logs, and a timestamp authority. */
import type { Bytes } from "../../../lib/base/bytes.ts";
import { extensions, type Issued, makeCertificate, OID } from "./certificates.ts";
import { type KeyKind, makeKey, sha256, type SigningKey } from "./keys.ts";
import { type LabLog, makeLog } from "./log.ts";

export const SIGNED_AT = new Date("2026-11-20T12:00:00Z");
const YEAR = 365 * 86_400_000, MINUTE = 60_000;

export interface Instance {
  root: Issued;
  intermediate: Issued;
  certificateLog: SigningKey;
  rekor: LabLog;
  rekor2: LabLog;
  timestampRoot: Issued;
  timestampAuthority: Issued;
}

export async function makeInstance(): Promise<Instance> {
  const notBefore = new Date(SIGNED_AT.getTime() - YEAR), notAfter = new Date(SIGNED_AT.getTime() + 9 * YEAR);
  const authority = async (commonName: string, kind: KeyKind, issuer?: Issued, more: Bytes[] = []) => {
    const key = await makeKey(kind);
    return await makeCertificate({
      key,
      commonName,
      ...(issuer === undefined ? {} : { issuer }),
      notBefore,
      notAfter,
      extensions: [extensions.ca(), extensions.usage(5), ...await keyIds(key, issuer), ...more],
    });
  };
  const root = await authority("lab root", "p384");
  const intermediate = await authority("lab intermediate", "p384", root, [extensions.purpose(OID.codeSigning)]);
  const timestampRoot = await authority("lab timestamp root", "p384");
  const timestampAuthority = await makeCertificate({
    key: await makeKey("p256"),
    commonName: "lab timestamps",
    issuer: timestampRoot,
    notBefore,
    notAfter,
    extensions: [extensions.usage(0), extensions.purpose(OID.timeStamping, true)],
  });
  return {
    root,
    intermediate,
    certificateLog: await makeKey("p256"),
    rekor: await makeLog(await makeKey("p256"), "rekor.lab.test - 1193050959916656506", 1),
    rekor2: await makeLog(await makeKey("ed25519"), "log2026.rekor.lab.test", 2),
    timestampRoot,
    timestampAuthority,
  };
}

export async function keyIds({ spki }: SigningKey, issuer?: Issued): Promise<Bytes[]> {
  const id = async (of: Bytes) => (await sha256(of)).subarray(0, 20);
  return [
    extensions.subjectKeyId(await id(spki)),
    ...(issuer === undefined ? [] : [extensions.authorityKeyId(await id(issuer.key.spki))]),
  ];
}

export const IDENTITY = {
  san: "https://git.lab.test/os/.github/workflows/release.yml@refs/heads/main",
  issuer: "https://token.lab.test",
};

export interface SignerRequest {
  kind?: KeyKind;
  /** In place of a new one. */
  key?: SigningKey;
  san?: string;
  issuer?: string;
  at?: Date;
  withoutCertificateLog?: boolean;
  /** In place of, or besides, those that a signer's certificate has. */
  replace?: Bytes[];
  more?: Bytes[];
}

/** A certificate as Fulcio issues them: ten minutes, one identity. */
export async function makeSigner(instance: Instance, request: SignerRequest = {}): Promise<Issued> {
  const { kind = "p256", san = IDENTITY.san, issuer = IDENTITY.issuer, at = SIGNED_AT } = request;
  const key = request.key ?? await makeKey(kind);
  return await makeCertificate({
    key,
    commonName: "",
    issuer: instance.intermediate,
    notBefore: at,
    notAfter: new Date(at.getTime() + 10 * MINUTE),
    extensions: request.replace ?? [
      extensions.usage(0),
      extensions.purpose(OID.codeSigning),
      ...await keyIds(key, instance.intermediate),
      extensions.names({ tag: san.includes("://") ? 6 : 1, value: san }),
      ...extensions.fulcioIssuer(issuer),
      ...request.more ?? [],
    ],
    ...(request.withoutCertificateLog ? {} : { certificateLog: instance.certificateLog }),
  });
}

/** `trusted_root.json`. */
export async function trustedRoot(instance: Instance): Promise<Record<string, unknown>> {
  const start = new Date(SIGNED_AT.getTime() - YEAR).toISOString();
  const details = { p256: "PKIX_ECDSA_P256_SHA_256", ed25519: "PKIX_ED25519" } as Partial<Record<KeyKind, string>>;
  const log = (baseUrl: string, key: SigningKey, id: Bytes) => ({
    baseUrl,
    hashAlgorithm: "SHA2_256",
    publicKey: { rawBytes: key.spki.toBase64(), keyDetails: details[key.kind], validFor: { start } },
    logId: { keyId: id.toBase64() },
  });
  const authority = (...chain: Issued[]) => ({
    subject: { organization: "lab", commonName: "lab" },
    uri: "https://ca.lab.test",
    certChain: { certificates: chain.map((certificate) => ({ rawBytes: certificate.der.toBase64() })) },
    validFor: { start },
  });
  const { rekor, rekor2, certificateLog } = instance;
  return {
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    tlogs: [
      log("https://rekor.lab.test", rekor.key, rekor.id),
      log(`https://${rekor2.origin}`, rekor2.key, rekor2.id),
    ],
    certificateAuthorities: [authority(instance.intermediate, instance.root)],
    ctlogs: [log("https://ct.lab.test", certificateLog, await sha256(certificateLog.spki))],
    timestampAuthorities: [authority(instance.timestampAuthority, instance.timestampRoot)],
  };
}
