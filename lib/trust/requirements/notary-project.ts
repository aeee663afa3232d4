/** Notary Project signatures: as Notation's own policy and trust store ask, or by authorities and identities named here. */
import * as z from "zod/mini";
import { FormatError } from "../../formats/format-error.ts";
import type { ImageReference } from "../../formats/reference.ts";
import { path, paths, placed, present } from "../key-files.ts";
import { identitiesText, parseIdentities } from "../notary/identities.ts";
import { parseRevocationList } from "../notary/revoked.ts";
import { parseTrustPolicy, statementFor, STRICT } from "../notary/trust-policy.ts";
import { certificatesAt, storesNamed } from "../notary/trust-store.ts";
import { type NotaryPolicy, verifyNotary } from "../notary/verify.ts";
import type { PolicyFiles, RequirementKind, Waived } from "../requirement.ts";
import { refusal } from "../verdict.ts";
import { annotationsSchema, anySigned, withAnnotations } from "./any-of.ts";

const schema = z.strictObject({
  type: z.literal("notaryProject"),
  trustPolicyPath: z.optional(path),
  trustStorePath: z.optional(path),
  caPaths: z.optional(paths),
  signingAuthorityPaths: z.optional(paths),
  tsaPaths: z.optional(paths),
  trustedIdentities: z.optional(z.array(z.string()).check(z.minLength(1), z.maxLength(100))),
  verifyTimestamp: z.optional(z.enum(["always", "afterCertExpiry"])),
  revokedPath: z.optional(path),
  annotations: z.optional(annotationsSchema),
});
type Value = z.infer<typeof schema>;

interface Asked {
  /** Goes on with "signed in the Notary Project's form". */
  who: string;
  /** What is asked of an image; undefined where the trust policy has no statement for it. */
  policyFor(image: ImageReference): NotaryPolicy | Waived | undefined;
  doubt?: string | undefined;
}

export const notaryProject: RequirementKind<Value> = {
  type: "notaryProject",
  own: true,
  schema,
  prepare: async (value, files) => {
    const { trustPolicyPath, annotations } = value;
    const { who, policyFor, doubt } = trustPolicyPath === undefined
      ? await inline(value, files)
      : await filed(value, files);
    return {
      type: "notaryProject",
      words: `signed in the Notary Project's form${who}`,
      proves: true,
      doubt,
      needs: ["notary"],
      verify: async (material, context) => {
        const policy = policyFor(context.reference);
        if (policy === undefined) return refusal(`${trustPolicyPath} has no policy for it`);
        if ("waived" in policy) return policy;
        return await anySigned(material, "notary", context, [policy], async (layer, subject) => {
          return withAnnotations(annotations, await verifyNotary(layer, subject, policy, context.now));
        });
      },
    };
  },
};

async function inline(value: Value, files: PolicyFiles): Promise<Asked> {
  const { caPaths = [], signingAuthorityPaths = [], tsaPaths = [], trustedIdentities, trustStorePath } = value;
  if (trustStorePath !== undefined) throw new FormatError("a trustStorePath has no meaning without a trustPolicyPath");
  if (caPaths.length + signingAuthorityPaths.length === 0) {
    throw new FormatError("it names neither a trustPolicyPath nor authorities (caPaths or signingAuthorityPaths)");
  }
  if (trustedIdentities === undefined) throw new FormatError('it names no trustedIdentities; for everybody, say ["*"]');
  if (value.verifyTimestamp !== undefined && tsaPaths.length === 0) {
    throw new FormatError("verifyTimestamp has no meaning without tsaPaths");
  }
  const identities = parseIdentities(trustedIdentities);
  const policy: NotaryPolicy = {
    store: {
      ca: await certificatesAt("ca", caPaths, files.read),
      signingAuthority: await certificatesAt("signingAuthority", signingAuthorityPaths, files.read),
      tsa: await certificatesAt("tsa", tsaPaths, files.read),
    },
    identities,
    verifyTimestamp: value.verifyTimestamp ?? "always",
    actions: STRICT,
    revoked: await revokedOf(value, files),
  };
  return { who: ` by ${identitiesText(identities)}`, policyFor: () => policy };
}

/** Notation's own files, as they are. */
async function filed(value: Value, files: PolicyFiles): Promise<Asked> {
  const { trustPolicyPath = "", trustStorePath, revokedPath: _, type: __, annotations: ___, ...others } = value;
  if (trustStorePath === undefined) throw new FormatError("a trustPolicyPath needs a trustStorePath");
  const other = Object.keys(others)[0];
  if (other !== undefined) throw new FormatError(`it names a trustPolicyPath, which decides on ${other}`);
  const bytes = await present(trustPolicyPath, files.read), revoked = await revokedOf(value, files);
  const statements = await placed(trustPolicyPath, () => parseTrustPolicy(bytes)), prepared: PreparedStatement[] = [];
  for (const { name, level, scopes, actions, verifyTimestamp, trustStores, trustedIdentities } of statements) {
    // Who made the image is all that a proof is for: without that, nothing is proven.
    if (actions.authenticity !== "enforce") {
      prepared.push({ scopes, policy: { waived: `notaryProject (level ${level}, "${name}" in ${trustPolicyPath})` } });
      continue;
    }
    const identities = await placed(trustPolicyPath, () => parseIdentities(trustedIdentities));
    const store = await storesNamed(trustStorePath, trustStores, files);
    prepared.push({ scopes, policy: { store, identities, verifyTimestamp, actions, revoked } });
  }
  const waived = prepared.flatMap(({ scopes, policy }) => "waived" in policy ? scopes : []);
  return {
    who: `, as ${trustPolicyPath} asks`,
    policyFor: (image) => statementFor(prepared, image)?.policy,
    doubt: waived.length === 0 ? undefined : `${trustPolicyPath} verifies nothing for ${waived.join(", ")}.`,
  };
}

interface PreparedStatement {
  scopes: readonly string[];
  policy: NotaryPolicy | Waived;
}

async function revokedOf({ revokedPath }: Value, { read }: PolicyFiles) {
  if (revokedPath === undefined) return undefined;
  const bytes = await present(revokedPath, read);
  return await placed(revokedPath, () => parseRevocationList(new TextDecoder().decode(bytes)));
}
