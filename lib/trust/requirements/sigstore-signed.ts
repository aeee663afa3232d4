/** `sigstoreSigned` of containers-policy.json(5): signatures that cosign 1 and 2, skopeo and podman attach. */
import * as z from "zod/mini";
import { FormatError } from "../../formats/format-error.ts";
import { type AttachmentPolicy, verifyAttachment } from "../cosign-attachment.ts";
import { certificatesOfFiles, contentsOf, datas, keysOfFiles, type Named, path, paths, placed } from "../key-files.ts";
import type { PkiPolicy } from "../pki.ts";
import type { ReadFile, RequirementKind } from "../requirement.ts";
import { someBase64 } from "../shape.ts";
import { checkIdentity, DEFAULT_IDENTITY, identityRefusal, signedIdentitySchema } from "../signed-identity.ts";
import { authorityOfPem, logOfKey } from "../trusted-root.ts";
import { annotationsSchema, anySigned, withAnnotations } from "./any-of.ts";

type Timed = AttachmentPolicy["signer"];
/** The time of verifying is not known yet. */
type Signer = Exclude<Timed, PkiPolicy> | Omit<PkiPolicy, "now">;

const fulcio = z.strictObject({
  caPath: z.optional(path),
  caData: z.optional(someBase64),
  oidcIssuer: z.string().check(z.minLength(1)),
  subjectEmail: z.string().check(z.minLength(1)),
});
const pki = z.strictObject({
  caRootsPath: z.optional(path),
  caRootsData: z.optional(someBase64),
  caIntermediatesPath: z.optional(path),
  caIntermediatesData: z.optional(someBase64),
  subjectEmail: z.optional(z.string().check(z.minLength(1))),
  subjectHostname: z.optional(z.string().check(z.minLength(1))),
});
const fields = {
  type: z.literal("sigstoreSigned"),
  keyPath: z.optional(path),
  keyPaths: z.optional(paths),
  keyData: z.optional(someBase64),
  keyDatas: z.optional(datas),
  fulcio: z.optional(fulcio),
  pki: z.optional(pki),
  rekorPublicKeyPath: z.optional(path),
  rekorPublicKeyPaths: z.optional(paths),
  rekorPublicKeyData: z.optional(someBase64),
  rekorPublicKeyDatas: z.optional(datas),
  signedIdentity: z.optional(signedIdentitySchema),
};
const schema = z.strictObject({
  ...fields,
  rsaPss: z.optional(z.boolean()),
  annotations: z.optional(annotationsSchema),
});
type Value = z.infer<typeof schema>;

export const sigstoreSigned: RequirementKind<Value> = {
  type: "sigstoreSigned",
  own: false,
  ownFields: ["rsaPss", "annotations"],
  schema,
  prepare: async (value, { read }) => {
    const { signedIdentity = DEFAULT_IDENTITY, annotations, fulcio, pki } = value;
    checkIdentity(signedIdentity);
    const signers = await signersOf(value, read);
    const who = fulcio?.subjectEmail ?? pki?.subjectEmail ?? pki?.subjectHostname ??
      signers.flatMap((signer) => "key" in signer ? `the key ${signer.key.fingerprint}` : []).join(" or ");
    return {
      type: "sigstoreSigned",
      words: `signed with cosign or skopeo by ${who}`,
      proves: true,
      doubt: value.signedIdentity === undefined
        ? "cosign signs the repository's name without a tag, and the whole name is compared here: " +
          'say "signedIdentity": {"type": "matchRepository"} for its signatures.'
        : undefined,
      needs: ["attachments"],
      verify: (material, context) => {
        const { reference, now } = context;
        const acceptReference = (signed: string) => identityRefusal(signedIdentity, reference, signed);
        return anySigned(material, "attachments", context, signers, async (layer, { digest }, signer) => {
          const policy = { signer: timed(signer, now), acceptReference };
          return withAnnotations(annotations, await verifyAttachment(layer, digest, policy));
        });
      },
    };
  },
};

function timed(signer: Signer, now: Date): Timed {
  return "roots" in signer ? { ...signer, now } : signer;
}

async function signersOf(value: Value, read: ReadFile): Promise<Signer[]> {
  const { keyPath, keyPaths, keyData, keyDatas, fulcio, pki, rsaPss } = value;
  const keys: Named = { path: keyPath, paths: keyPaths, data: keyData, datas: keyDatas };
  const rekor: Named = {
    path: value.rekorPublicKeyPath,
    paths: value.rekorPublicKeyPaths,
    data: value.rekorPublicKeyData,
    datas: value.rekorPublicKeyDatas,
  };
  const isNamed = (named: Named) => Object.values(named).some((one) => one !== undefined);
  if ([isNamed(keys), fulcio !== undefined, pki !== undefined].filter(Boolean).length !== 1) {
    throw new FormatError("it must name keys, or fulcio, or pki: exactly one of them");
  }
  const logs = isNamed(rekor) ? await logsOf(rekor, read) : undefined;
  if (pki !== undefined) {
    if (logs !== undefined) throw new FormatError("a Rekor key has no meaning with pki");
    return [await pkiSigner(pki, read)];
  }
  if (fulcio !== undefined) {
    if (logs === undefined) throw new FormatError("fulcio needs a Rekor key (rekorPublicKeyPath or its like)");
    const { caPath, caData, oidcIssuer, subjectEmail } = fulcio;
    const [ca] = await contentsOf("ca", { path: caPath, data: caData }, read);
    const authority = await placed(ca?.from ?? "ca", () => authorityOfPem(ca?.text ?? ""));
    const root = {
      certificateAuthorities: [authority],
      timestampAuthorities: [],
      logs,
      certificateLogs: [],
      unusable: [],
    };
    const identity = { san: subjectEmail, issuer: oidcIssuer, kind: "email" as const };
    return [{ root, identity, withoutCertificateLog: true }];
  }
  return (await keysOfFiles("key", keys, read)).map((key) => ({
    key,
    ...rsaPss && { pss: true },
    ...logs && { logs },
  }));
}

async function logsOf(rekor: Named, read: ReadFile) {
  const logs = [];
  for (const key of await keysOfFiles("rekorPublicKey", rekor, read)) logs.push(await logOfKey(key));
  return logs;
}

async function pkiSigner(value: z.infer<typeof pki>, read: ReadFile): Promise<Signer> {
  const { subjectEmail, subjectHostname } = value;
  if (subjectEmail === undefined && subjectHostname === undefined) {
    throw new FormatError("pki needs subjectEmail or subjectHostname");
  }
  const roots = await certificatesOfFiles("caRoots", { path: value.caRootsPath, data: value.caRootsData }, read);
  const between: Named = { path: value.caIntermediatesPath, data: value.caIntermediatesData };
  const hasBetween = between.path !== undefined || between.data !== undefined;
  const intermediates = hasBetween ? await certificatesOfFiles("caIntermediates", between, read) : [];
  return { roots, intermediates, email: subjectEmail, hostname: subjectHostname };
}
