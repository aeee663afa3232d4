/** Requirements as a policy file holds them, asked of material that was made for them. */
import assert from "node:assert/strict";
import type { Bytes } from "../../lib/base/bytes.ts";
import { type Digest, parseDigest } from "../../lib/base/digest.ts";
import { parseReference } from "../../lib/formats/reference.ts";
import {
  type Context,
  type Decision,
  evaluate,
  type Material,
  parsePolicy,
  prepareScope,
  type Requirement,
} from "../../lib/trust/mod.ts";
import { makeAttachment, simpleSigning } from "../lab/signing/attachments.ts";
import { type BundleJson, makeBundle, statement } from "../lab/signing/bundles.ts";
import { extensions, makeCertificate, OID } from "../lab/signing/certificates.ts";
import { IDENTITY, makeInstance, makeSigner, SIGNED_AT, trustedRoot } from "../lab/signing/instance.ts";
import { makeKey } from "../lab/signing/keys.ts";

const DIGEST = parseDigest(`sha256:${"1f".repeat(32)}`) as Digest;
const IMAGE = "registry.example.org/os:v1", DAY = 86_400_000;
const encode = (text: string): Bytes => new TextEncoder().encode(text);
const key = await makeKey("p256"), other = await makeKey("p256");

interface Asked {
  files?: Record<string, string>;
  material?: Material;
  context?: Partial<Context>;
  image?: string;
}

async function prepare(requirements: unknown[], files: Record<string, string>, image = IMAGE): Promise<Requirement[]> {
  const policy = parsePolicy(encode(JSON.stringify({ default: requirements })), true);
  const scope = policy.scopeOf(parseReference(image));
  assert.ok(scope);
  return await prepareScope(scope, {
    read: (path) => Promise.resolve(files[path] === undefined ? undefined : encode(files[path])),
    list: () => Promise.resolve(undefined),
  });
}

async function decide(
  requirements: unknown[],
  { files = {}, material = {}, context, image = IMAGE }: Asked,
): Promise<Decision> {
  return await evaluate(await prepare(requirements, files, image), material, {
    reference: parseReference(image),
    subjects: [{ digest: DIGEST, bytes: encode("manifest") }],
    labels: {},
    now: new Date(SIGNED_AT.getTime() + DAY),
    ...context,
  });
}

/** What the policy with these requirements says: "trusted by WHOM", "waived", or why not. */
async function ask(requirements: unknown[], asked: Asked): Promise<string> {
  const decision = await decide(requirements, asked);
  if (decision.kind === "refused") return decision.asked.flatMap(({ refusal }) => refusal?.reason ?? []).join("; ");
  if (decision.kind === "waived") return "waived";
  const { signer } = decision.proofs[0];
  return `trusted by ${"key" in signer ? signer.key.slice(0, 7) : signer.identity.san}`;
}

function found(
  need: "attachments" | "bundles",
  ...layers: { bytes: Bytes; annotations: Readonly<Record<string, string>> }[]
): Material {
  return { [need]: new Map([[DIGEST, { layers, faults: [] }]]) };
}

const attachment = (more: Partial<Parameters<typeof makeAttachment>[0]> = {}) =>
  makeAttachment({ payload: simpleSigning(DIGEST, IMAGE), key, ...more });
const bundle = async (more = {}) => ({
  bytes: encode(
    JSON.stringify(await makeBundle({ version: "0.3", key, statement: statement(DIGEST.slice(7)), ...more })),
  ),
  annotations: {},
});

const KEYED = { type: "sigstoreSigned", keyPath: "/k" }, BUNDLED = { type: "sigstoreBundle", keyPath: "/k" };
const KEY_FILE = { "/k": key.pem }, OTHER_FILE = { "/k": other.pem };

Deno.test("all requirements must hold, and one of them must say who signed", async () => {
  const files = KEY_FILE, both = { ...found("attachments", await attachment()), ...found("bundles", await bundle()) };
  assert.equal(await ask([KEYED], { files, material: both }), "trusted by sha256:");
  assert.equal(await ask([KEYED, BUNDLED], { files, material: both }), "trusted by sha256:");
  assert.equal(
    await ask([KEYED, BUNDLED], { files, material: found("attachments", await attachment()) }),
    "it has no such signature",
  );
  assert.equal(
    await ask([KEYED, { type: "reject" }], { files, material: both }),
    "the policy rejects all images of this scope",
  );
  assert.equal(
    await ask([{ type: "insecureAcceptAnything" }, KEYED], { files, material: {} }),
    "it has no such signature",
  );
  assert.equal(await ask([{ type: "insecureAcceptAnything" }], {}), "waived");
  assert.match(
    await ask([{ type: "signedBy", keyType: "GPGKeys" }], {}),
    /OpenPGP signature \(signedBy\), which cos does not read/,
  );
  assert.match(
    await ask([{ type: "imageLabels", labels: { a: "b" } }], { context: { labels: { a: "b" } } }),
    /asks for no signature/,
  );
  assert.match(
    await ask([{ type: "freshness", maxAge: "1d" }], { context: { created: SIGNED_AT } }),
    /asks for no signature/,
  );
});

Deno.test("one way of several, one key of several, one signature of several is enough", async () => {
  const any = [{ type: "anyOf", requirements: [KEYED, BUNDLED] }], files = KEY_FILE;
  assert.equal(await ask(any, { files, material: found("bundles", await bundle()) }), "trusted by sha256:");
  assert.equal(await ask(any, { files, material: found("attachments", await attachment()) }), "trusted by sha256:");
  assert.match(
    await ask(any, { files }),
    /^it is signed in none of the accepted ways: sigstoreSigned: it has no such signature; sigstoreBundle: /,
  );
  const two = [{ type: "sigstoreSigned", keyPaths: ["/other", "/k"] }], keys = { "/other": other.pem, "/k": key.pem };
  const bad = await attachment({ key: await makeKey("p256") });
  assert.equal(
    await ask(two, { files: keys, material: found("attachments", bad, await attachment()) }),
    "trusted by sha256:",
  );
  assert.match(
    await ask(two, { files: keys, material: found("attachments", bad) }),
    /^none of its signatures counts: .*was not made by the ECDSA P-256 key/,
  );
  assert.match(
    await ask([KEYED], { files: OTHER_FILE, material: found("attachments", await attachment()) }),
    /was not made by the ECDSA P-256 key/,
  );
});

Deno.test("products and channels: signed annotations, and labels of the image", async () => {
  const payload = simpleSigning(DIGEST, IMAGE, { product: "edge" }),
    material = found("attachments", await attachment({ payload }));
  const wanting = (product: string) => [{ ...KEYED, annotations: { product } }];
  assert.equal(await ask(wanting("edge"), { files: KEY_FILE, material }), "trusted by sha256:");
  assert.equal(
    await ask(wanting("core"), { files: KEY_FILE, material }),
    "the signed annotation product is another: expected core, found edge",
  );
  const labelled = [KEYED, { type: "imageLabels", labels: { channel: "stable" } }];
  const channel = (labels: Record<string, string>) => ask(labelled, { files: KEY_FILE, material, context: { labels } });
  assert.equal(await channel({ channel: "stable" }), "trusted by sha256:");
  assert.equal(await channel({ channel: "beta" }), "the image's label channel is another: expected stable, found beta");
  assert.equal(await channel({}), "the image's label channel is another: expected stable, found none");
});

Deno.test("freshness counts from what is proven, else from the image's own word, and not from 1970", async () => {
  const fresh = [KEYED, { type: "freshness", maxAge: "30d" }],
    material = found("attachments", await attachment()),
    files = KEY_FILE;
  const at = (created: string | undefined, now = SIGNED_AT) =>
    ask(fresh, { files, material, context: { now, created: created === undefined ? undefined : new Date(created) } });
  assert.equal(await at("2026-11-01T00:00:00Z"), "trusted by sha256:");
  assert.match(
    await at("2026-10-01T00:00:00Z"),
    /^the image is older than 30d: expected 2026-10-21T12:00:00\.000Z or later, found 2026-10-01/,
  );
  assert.equal(await at("1970-01-01T00:00:00Z"), "nothing says when the image was signed or made");
  assert.equal(await at(undefined), "nothing says when the image was signed or made");
  assert.match(await at("2027-01-01T00:00:00Z"), /^the image is from the future, or this machine's clock is wrong/);
});

Deno.test("freshness counts from what is proven wherever it stands in the file, and the file's order is told", async () => {
  const instance = await makeInstance(), signer = await makeSigner(instance);
  const identity = { subject: IDENTITY.san, issuer: IDENTITY.issuer };
  const signed = { type: "sigstoreBundle", trustedRootPath: "/root", identity };
  const fresh = { type: "freshness", maxAge: "30d" }, labelled = { type: "imageLabels", labels: { a: "b" } };
  const files = { "/root": JSON.stringify(await trustedRoot(instance)), "/k": key.pem };
  const log = { kind: "dsse 0.0.1" as const, log: instance.rekor, promised: true, proven: true };
  const timed = await bundle({ key: signer.key, certificate: signer, log });
  const material = { ...found("bundles", timed), ...found("attachments", await attachment()) };
  // The image itself says nothing that counts.
  const context = { created: new Date(0), labels: { a: "b" } };
  const cases: [requirements: { type: string; requirements?: unknown[] }[], proofs: string[]][] = [
    [[signed, fresh, labelled, KEYED], ["sigstore-bundle", "cosign"]],
    [[fresh, KEYED, labelled, signed], ["cosign", "sigstore-bundle"]],
    [[labelled, fresh, { type: "anyOf", requirements: [signed, labelled] }], ["sigstore-bundle"]],
    [[{ type: "anyOf", requirements: [fresh, { type: "reject" }] }, signed], ["sigstore-bundle"]],
  ];
  for (const [requirements, proofs] of cases) {
    const decision = await decide(requirements, { files, material, context });
    assert.deepEqual(
      decision.asked.map(({ requirement: { type }, refusal }) => ({ type, refusal })),
      requirements.map(({ type }) => ({ type, refusal: undefined })),
    );
    assert.deepEqual(decision.kind === "trusted" && decision.proofs.map(({ scheme }) => scheme), proofs);
  }
});

Deno.test("what is most likely not meant is told of requirements within others too, and of a trusted root", async () => {
  const doubts = async (requirement: unknown, files: Record<string, string>) =>
    (await prepare([requirement], files)).map(({ doubt }) => doubt);
  const [whole] = await doubts(KEYED, KEY_FILE), repository = { type: "matchRepository" };
  assert.match(whole ?? "", /^cosign signs the repository's name without a tag/);
  assert.deepEqual(await doubts({ type: "anyOf", requirements: [BUNDLED, KEYED] }, KEY_FILE), [whole]);
  assert.deepEqual(
    await doubts({ type: "anyOf", requirements: [BUNDLED, { ...KEYED, signedIdentity: repository }] }, KEY_FILE),
    [undefined],
  );
  const root = await trustedRoot(await makeInstance()) as BundleJson;
  const rooted = { ...BUNDLED, trustedRootPath: "/root" };
  assert.deepEqual(await doubts(rooted, { ...KEY_FILE, "/root": JSON.stringify(root) }), [undefined]);
  root.tlogs[1].publicKey.keyDetails = "PKIX_ED25519_PH";
  root.tlogs.push(root.tlogs[1]);
  root.ctlogs[0].hashAlgorithm = "SHA2_512";
  const files = { ...KEY_FILE, "/root": JSON.stringify(root) };
  const told =
    "Of its trusted root is not used: a transparency log: keys of the kind PKIX_ED25519_PH are not supported; " +
    "a certificate log: its hash algorithm SHA2_512 is not supported.";
  assert.deepEqual(await doubts(rooted, files), [told]);
  assert.deepEqual(await doubts({ type: "anyOf", requirements: [rooted, KEYED] }, files), [`${told} ${whole}`]);
});

Deno.test("a fault in a requirement within others is told once, by its own place", () => {
  const fault = (path: string) => {
    const any = { type: "anyOf", requirements: [{ type: "freshness", maxAge: "soon" }] };
    const policy = { default: [{ type: "reject" }], transports: { oci: { [path]: [any] } } };
    let message = "";
    assert.throws(() => parsePolicy(encode(JSON.stringify(policy)), true), (thrown) => {
      message = (thrown as Error).message;
      return true;
    });
    return message;
  };
  assert.equal(fault("/os"), 'oci."/os"[0].requirements[0]: it is malformed at "maxAge"');
  // The place of the inner one, cut to 200 characters, does not go on where that of the outer one ends.
  const long = `/${"a".repeat(192)}`;
  assert.equal(fault(long), `oci."${long}"[…[0]: it is malformed at "maxAge"`);
});

Deno.test("fulcio: an e-mail address that an own CA vouches for, and Rekor's promise", async () => {
  const instance = await makeInstance(), san = "release@example.org", issuer = "https://token.example.org";
  const signer = await makeSigner(instance, { san, issuer, withoutCertificateLog: true });
  const made = (log: object) =>
    attachment({ key: signer.key, certificate: signer, chain: [instance.intermediate], ...log });
  const files = { "/ca": instance.root.pem, "/rekor": instance.rekor.key.pem };
  const fulcio = { caPath: "/ca", oidcIssuer: issuer, subjectEmail: san };
  const asking = (
    more = {},
  ) => [{ type: "sigstoreSigned", fulcio: { ...fulcio, ...more }, rekorPublicKeyPath: "/rekor" }];
  const material = found("attachments", await made({ log: instance.rekor }));
  assert.equal(await ask(asking(), { files, material }), `trusted by ${san}`);
  assert.match(
    await ask(asking({ subjectEmail: "other@example.org" }), { files, material }),
    /expected other@example\.org, found release@example\.org/,
  );
  assert.match(await ask(asking({ oidcIssuer: "https://x" }), { files, material }), /vouched for by another issuer/);
  assert.match(
    await ask(asking(), { files, material: found("attachments", await made({})) }),
    /in no transparency log/,
  );
  const uri = await makeSigner(instance, { san: "https://example.org/release", issuer, withoutCertificateLog: true });
  const byUri = await attachment({
    key: uri.key,
    certificate: uri,
    chain: [instance.intermediate],
    log: instance.rekor,
  });
  assert.match(
    await ask(asking({ subjectEmail: "https://example.org/release" }), {
      files,
      material: found("attachments", byUri),
    }),
    /an identity of another kind: expected email, found uri/,
  );
});

Deno.test("pki: a certificate of the operator's own CA, valid now, for the name that is asked for", async () => {
  const caKey = await makeKey("p384"),
    from = new Date(SIGNED_AT.getTime() - DAY),
    to = new Date(SIGNED_AT.getTime() + 30 * DAY);
  const ca = await makeCertificate({
    key: caKey,
    commonName: "own ca",
    notBefore: from,
    notAfter: to,
    extensions: [extensions.ca(), extensions.usage(5)],
  });
  const leaf = (purpose: string, notAfter = to) =>
    makeCertificate({
      key,
      commonName: "release",
      issuer: ca,
      notBefore: from,
      notAfter,
      extensions: [
        extensions.usage(0),
        extensions.purpose(purpose),
        extensions.names({ tag: 1, value: "release@example.org" }, { tag: 2, value: "*.build.example.org" }),
      ],
    });
  const files = { "/ca": ca.pem }, certificate = await leaf(OID.codeSigning);
  const asking = (more: Record<string, string>) => [{ type: "sigstoreSigned", pki: { caRootsPath: "/ca", ...more } }];
  const email = asking({ subjectEmail: "release@example.org" });
  const material = found("attachments", await attachment({ certificate }));
  assert.equal(await ask(email, { files, material }), "trusted by release@example.org");
  assert.equal(
    await ask(asking({ subjectHostname: "a.build.example.org" }), { files, material }),
    "trusted by a.build.example.org",
  );
  assert.match(
    await ask(asking({ subjectHostname: "build.example.org" }), { files, material }),
    /expected build\.example\.org/,
  );
  assert.match(
    await ask(asking({ subjectHostname: "a.b.build.example.org" }), { files, material }),
    /signed by another identity/,
  );
  assert.match(
    await ask(asking({ subjectEmail: "x@example.org" }), { files, material }),
    /expected x@example\.org, found release@example\.org/,
  );
  const late = { now: new Date(to.getTime() + DAY) };
  assert.match(await ask(email, { files, material, context: late }), /cannot be trusted: a certificate is valid from/);
  const server = found("attachments", await attachment({ certificate: await leaf("1.3.6.1.5.5.7.3.1") }));
  assert.match(await ask(email, { files, material: server }), /is not made for this purpose/);
  const stranger = {
    "/ca": (await makeCertificate({
      key: other,
      commonName: "own ca",
      notBefore: from,
      notAfter: to,
      extensions: [extensions.ca()],
    })).pem,
  };
  assert.match(await ask(email, { files: stranger, material }), /the signer's certificate cannot be trusted/);
});

Deno.test("what a policy says twice, or not at all, makes it unusable", async () => {
  const fault = async (requirement: unknown, files: Record<string, string> = KEY_FILE) => {
    try {
      await ask([requirement], { files });
    } catch (thrown) {
      return (thrown as Error).message;
    }
    throw new Error(`${JSON.stringify(requirement)} was read`);
  };
  const [a, b] = [{ keyPath: "/k" }, { keyPaths: ["/k"] }];
  assert.match(await fault({ type: "sigstoreSigned" }), /exactly one of them/);
  assert.match(await fault({ type: "sigstoreSigned", ...a, ...b }), /exactly one way .* not in 2/);
  assert.match(
    await fault({ type: "sigstoreSigned", ...a, pki: { caRootsPath: "/k", subjectEmail: "a@b" } }),
    /exactly one of them/,
  );
  assert.match(
    await fault({ type: "sigstoreSigned", fulcio: { caPath: "/k", oidcIssuer: "x", subjectEmail: "y" } }),
    /fulcio needs a Rekor key/,
  );
  assert.match(
    await fault({ type: "sigstoreSigned", fulcio: { caPath: "/k", oidcIssuer: "x" } }),
    /malformed at "fulcio\.subjectEmail"/,
  );
  assert.match(
    await fault({ type: "sigstoreSigned", pki: { caRootsPath: "/k" } }),
    /needs subjectEmail or subjectHostname/,
  );
  assert.match(await fault({ ...KEYED, keyPath: "relative" }), /malformed at "keyPath"/);
  assert.match(
    await fault({ ...KEYED, signedIdentity: { type: "exactReference", dockerReference: "a.example/os" } }),
    /needs a tag or a digest/,
  );
  assert.match(
    await fault({ ...KEYED, signedIdentity: { type: "exactRepository", dockerRepository: "a.example/os:v1" } }),
    /must be a repository/,
  );
  assert.match(await fault({ ...KEYED, signedIdentity: { type: "matchAnything" } }), /malformed at "signedIdentity/);
  assert.match(
    await fault({ type: "sigstoreBundle", identity: { subject: "a", issuer: "b" } }),
    /needs a trusted root/,
  );
  assert.match(await fault({ type: "freshness", maxAge: "soon" }), /malformed at "maxAge"/);
  assert.match(
    await fault({ type: "anyOf", requirements: [{ type: "anyOf", requirements: [{ type: "nothing" }] }] }),
    /of the unknown type "nothing"/,
  );
  assert.match(await fault({ type: "imageLabels", labels: {} }), /malformed at "labels"/);
});
