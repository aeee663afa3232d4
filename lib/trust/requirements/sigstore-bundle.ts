/** Bundles as cosign 3 attaches them: by a key of the operator's, or by an identity that a Sigstore instance vouches for. */
import * as z from "zod/mini";
import { FormatError } from "../../formats/format-error.ts";
import { datas, keysOfFiles, path, paths, placed, present } from "../key-files.ts";
import type { KeylessPolicy } from "../keyless.ts";
import type { ReadFile, RequirementKind } from "../requirement.ts";
import { someBase64 } from "../shape.ts";
import { type KeyPolicy, verifyBundle } from "../sigstore-bundle.ts";
import { parseTrustedRoot, type TrustedRoot } from "../trusted-root.ts";
import { annotationsSchema, anySigned, withAnnotations } from "./any-of.ts";

const schema = z.strictObject({
  type: z.literal("sigstoreBundle"),
  keyPath: z.optional(path),
  keyPaths: z.optional(paths),
  keyData: z.optional(someBase64),
  keyDatas: z.optional(datas),
  rsaPss: z.optional(z.boolean()),
  trustedRootPath: z.optional(path),
  trustedRootData: z.optional(someBase64),
  identity: z.optional(z.strictObject({
    subject: z.string().check(z.minLength(1)),
    issuer: z.string().check(z.minLength(1)),
  })),
  predicateTypes: z.optional(z.array(z.string()).check(z.minLength(1))),
  annotations: z.optional(annotationsSchema),
});
type Value = z.infer<typeof schema>;

export const sigstoreBundle: RequirementKind<Value> = {
  type: "sigstoreBundle",
  own: true,
  schema,
  prepare: async (value, { read }) => {
    const { predicateTypes, annotations } = value, root = await rootOf(value, read);
    const signers = await signersOf(value, root, read), unusable = [...new Set(root?.unusable)];
    return {
      type: "sigstoreBundle",
      words: `signed in a Sigstore bundle by ${value.identity?.subject ?? signers.map(nameOf).join(" or ")}`,
      proves: true,
      doubt: unusable.length === 0 ? undefined : `Of its trusted root is not used: ${unusable.join("; ")}.`,
      needs: ["bundles"],
      verify: (material, context) =>
        anySigned(material, "bundles", context, signers, async ({ bytes }, subject, signer) => {
          const policy = { signer, ...predicateTypes && { predicateTypes } };
          return withAnnotations(annotations, await verifyBundle(bytes, subject, policy));
        }),
    };
  },
};

const nameOf = (signer: KeyPolicy | KeylessPolicy) =>
  "identity" in signer ? signer.identity.san : `the key ${signer.key.fingerprint}`;

async function rootOf({ trustedRootPath, trustedRootData }: Value, read: ReadFile): Promise<TrustedRoot | undefined> {
  const named = [trustedRootPath, trustedRootData].filter((one) => one !== undefined).length;
  if (named > 1) throw new FormatError("the trusted root must be named in one way, trustedRootPath or trustedRootData");
  const bytes = trustedRootPath !== undefined ? await present(trustedRootPath, read) : trustedRootData;
  if (bytes === undefined) return undefined;
  return await placed(trustedRootPath ?? "trustedRootData", () => parseTrustedRoot(bytes));
}

async function signersOf(
  { keyPath, keyPaths, keyData, keyDatas, identity, rsaPss }: Value,
  root: TrustedRoot | undefined,
  read: ReadFile,
): Promise<(KeyPolicy | KeylessPolicy)[]> {
  if (identity !== undefined) {
    if (root === undefined) {
      throw new FormatError("an identity needs a trusted root (trustedRootPath or trustedRootData)");
    }
    if (keyPath ?? keyPaths ?? keyData ?? keyDatas ?? rsaPss) {
      throw new FormatError("it names keys and an identity at once");
    }
    return [{ root, identity: { san: identity.subject, issuer: identity.issuer } }];
  }
  const keys = await keysOfFiles("key", { path: keyPath, paths: keyPaths, data: keyData, datas: keyDatas }, read);
  return keys.map((key) => ({ key, ...rsaPss && { pss: true }, ...root && { root } }));
}
