/**
 * Docker Content Trust: that a server of Notary's first generation has the image's digest, signed by the repository's keys, under
 * the image's tag. The keys of its root are pinned by the policy.
 */
import * as z from "zod/mini";
import { sameBytes } from "../../base/bytes.ts";
import { FormatError } from "../../formats/format-error.ts";
import type { Pin } from "../content-trust/pin.ts";
import { contentTrustSource, type FoundTrust } from "../content-trust/source.ts";
import { certificatesOfFiles, path } from "../key-files.ts";
import { digestOf } from "../keys.ts";
import type { Context, ReadFile, RequirementKind } from "../requirement.ts";
import { refusal, type Verdict } from "../verdict.ts";

const MAX_ROOTS = 50;

const schema = z.strictObject({
  type: z.literal("dockerContentTrust"),
  // Plain HTTP is for a server on this very machine.
  server: z.optional(
    z.string().check(
      z.regex(/^(?:https:\/\/[A-Za-z0-9.-]+|https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?$/),
    ),
  ),
  rootKeyIds: z.optional(
    z.array(z.string().check(z.regex(/^[0-9a-f]{64}$/))).check(z.minLength(1), z.maxLength(50)),
  ),
  rootCertificatePath: z.optional(path),
  caPath: z.optional(path),
  maxRoots: z.optional(z.int().check(z.gte(1), z.lte(1000))),
});
type Value = z.infer<typeof schema>;

export const dockerContentTrust: RequirementKind<Value> = {
  type: "dockerContentTrust",
  own: true,
  schema,
  prepare: async (value, { read }) => {
    const pin = await pinOf(value, read), source = contentTrustSource(value.server, pin, value.maxRoots ?? MAX_ROOTS);
    return {
      type: "dockerContentTrust",
      words: `signed in Docker Content Trust, its root ${pinInWords(value)}`,
      proves: true,
      needs: ["contentTrust"],
      contentTrust: [source],
      verify: async (material, context) => await verifyTarget(material.contentTrust?.get(source), context),
    };
  },
};

async function pinOf({ rootKeyIds, rootCertificatePath, caPath }: Value, read: ReadFile): Promise<Pin> {
  if ([rootKeyIds, rootCertificatePath, caPath].filter((one) => one !== undefined).length !== 1) {
    throw new FormatError("it must name whom to trust in exactly one way: rootKeyIds, rootCertificatePath or caPath");
  }
  if (rootKeyIds !== undefined) return { keyIds: rootKeyIds };
  if (rootCertificatePath !== undefined) {
    return { certificates: await certificatesOfFiles("rootCertificate", { path: rootCertificatePath }, read) };
  }
  return { authorities: await certificatesOfFiles("ca", { path: caPath }, read) };
}

function pinInWords({ rootKeyIds, rootCertificatePath, caPath }: Value): string {
  if (rootKeyIds !== undefined) return `by the key ${rootKeyIds.join(" or ")}`;
  if (rootCertificatePath !== undefined) return `by the certificate in ${rootCertificatePath}`;
  return `by a certificate for its repository from the CA in ${caPath}`;
}

async function verifyTarget(found: FoundTrust | undefined, { reference, subjects }: Context): Promise<Verdict> {
  if (reference.kind !== "registry") {
    return refusal("Docker Content Trust is about repositories of registries, and this image is not from one");
  }
  const { tag } = reference;
  if (tag === undefined) {
    return refusal(
      "Docker Content Trust signs tags, and the image is asked for by its digest alone: name the tag too (NAME:TAG@DIGEST)",
    );
  }
  if (found === undefined) return refusal("nothing was asked of Docker Content Trust");
  if ("reason" in found) return found;
  const target = found.find(tag);
  if (target === undefined) return refusal(`the tag ${tag} is not signed in Docker Content Trust`);
  for (const { bytes } of subjects) {
    if (bytes.length === target.length && sameBytes(await digestOf("SHA-256", bytes), target.sha256)) {
      return { trusted: true, scheme: "content-trust", signer: { key: target.key } };
    }
  }
  const [top] = subjects.slice(-1), digest = top === undefined ? "" : (await digestOf("SHA-256", top.bytes)).toHex();
  return refusal(
    `another image is signed for the tag ${tag} (${target.role})`,
    `sha256:${target.sha256.toHex()} of ${target.length} bytes`,
    `sha256:${digest} of ${top?.bytes.length ?? 0} bytes`,
  );
}
