/**
 * Good signatures with one thing in them changed: each must be refused, but for what the scheme does not sign, which is listed here
 * by name. And damaged ones by the thousand: the answer is always a value.
 */
import assert from "node:assert/strict";
import { type Digest, parseDigest } from "../../lib/base/digest.ts";
import { isFormatError } from "../../lib/formats/format-error.ts";
import { type Attachment, type AttachmentPolicy, verifyAttachment } from "../../lib/trust/cosign-attachment.ts";
import { parsePublicKey } from "../../lib/trust/keys.ts";
import { type BundlePolicy, verifyBundle } from "../../lib/trust/sigstore-bundle.ts";
import { logOfKey, parseTrustedRoot } from "../../lib/trust/trusted-root.ts";
import type { Verdict } from "../../lib/trust/verdict.ts";
import { Random } from "../lab/random.ts";
import { makeAttachment, simpleSigning } from "../lab/signing/attachments.ts";
import { type BundleRequest, makeBundle, statement } from "../lab/signing/bundles.ts";
import { IDENTITY, makeInstance, makeSigner, trustedRoot } from "../lab/signing/instance.ts";
import { jsonBytes, makeKey, pem, sha256 } from "../lab/signing/keys.ts";
import { base64Fields, type BytesField, mutationsOf } from "../lab/signing/mutations.ts";

const MANIFEST = new TextEncoder().encode('{"schemaVersion":2}'), HEX = (await sha256(MANIFEST)).toHex();
const DIGEST = parseDigest(`sha256:${HEX}`) as Digest, SUBJECT = { digest: DIGEST, bytes: MANIFEST };

const instance = await makeInstance(),
  rootJson = await trustedRoot(instance),
  root = await parseTrustedRoot(jsonBytes(rootJson));
const signer = await makeSigner(instance), key = await makeKey("p256"), publicKey = await parsePublicKey(key.pem);
const { rekor, rekor2 } = instance, certified = { key: signer.key, certificate: signer }, said = statement(HEX);
const byIdentity: BundlePolicy = { signer: { root, identity: IDENTITY } };

/** Fields at which a change may pass, by the beginnings of the mutations' names; each of them must pass at least once. */
type Unsigned = readonly string[];

async function refusedBut(
  scheme: string,
  document: unknown,
  unsigned: Unsigned,
  flips: number,
  verify: (changed: unknown) => Promise<Verdict>,
) {
  const verdict = await verify(document);
  assert.ok(verdict.trusted, `the unchanged one: ${JSON.stringify(verdict)}`);
  const passed: string[] = [], seen = new Set<string>(), whole = JSON.stringify(document);
  let refused = 0;
  for (const { name, value } of mutationsOf(document, flips)) {
    if (JSON.stringify(value) === whole) continue;
    if (!(await verify(value)).trusted) {
      refused++;
      continue;
    }
    const field = unsigned.find((start) => name.startsWith(start));
    if (field === undefined) passed.push(name);
    else seen.add(field);
  }
  console.log(`${scheme}: ${refused} changes refused; fields that nothing signs: ${unsigned.length}`);
  assert.deepEqual(passed, []);
  assert.deepEqual([...seen].sort(), [...unsigned].sort(), "is signed after all");
}

const ENTRY = "verificationMaterial.tlogEntries.0";

/** Beside each kind what may change: what nobody signs, and what is proven twice so that one proof is enough. */
const BUNDLES: Record<string, { request: BundleRequest; policy?: BundlePolicy; unsigned: Unsigned; flips?: number }> = {
  "bundle 0.1, message, promise": {
    request: {
      version: "0.1",
      ...certified,
      message: MANIFEST,
      log: { kind: "hashedrekord 0.0.1", log: rekor, promised: true },
    },
    unsigned: [],
  },
  "bundle 0.2, statement (intoto), promise and proof, chain": {
    request: {
      ...{ version: "0.2", ...certified, statement: said, chain: [instance.intermediate] },
      log: { kind: "intoto 0.0.2", log: rekor, promised: true, proven: true },
    },
    // Other certificates are offers: the trusted root brings the CA itself.
    unsigned: ["verificationMaterial.x509CertificateChain.certificates.1"],
  },
  "bundle 0.3, statement, promise and proof": {
    request: {
      version: "0.3",
      ...certified,
      statement: said,
      log: { kind: "dsse 0.0.1", log: rekor, promised: true, proven: true },
    },
    unsigned: [],
    flips: 60,
  },
  "bundle 0.3, message, Rekor 2 and timestamp": {
    request: {
      ...{ version: "0.3", ...certified, message: MANIFEST, stampedBy: instance },
      log: { kind: "hashedrekord 0.0.2", log: rekor2, proven: true },
    },
    // Rekor 2 signs the place in the proof, and not this copy of it.
    unsigned: [`${ENTRY}.logIndex`],
    flips: 60,
  },
  "bundle 0.3, statement, Rekor 2 (dsse) and timestamp": {
    request: {
      ...{ version: "0.3", ...certified, statement: said, stampedBy: instance },
      log: { kind: "dsse 0.0.2", log: rekor2, proven: true },
    },
    unsigned: [`${ENTRY}.logIndex`],
  },
  "bundle 0.3, message, promise, proof and timestamp": {
    request: {
      ...{ version: "0.3", ...certified, message: MANIFEST, stampedBy: instance },
      log: { kind: "hashedrekord 0.0.1", log: rekor, promised: true, proven: true },
    },
    // Either of both proves the time.
    unsigned: [
      `${ENTRY}.inclusionPromise: left out`,
      "verificationMaterial.timestampVerificationData: left out",
      "verificationMaterial.timestampVerificationData.rfc3161Timestamps: left out",
      "verificationMaterial.timestampVerificationData.rfc3161Timestamps.0: left out",
    ],
  },
  "bundle 0.3, statement, by a key": {
    request: { version: "0.3", key, statement: said },
    policy: { signer: { key: publicKey } },
    unsigned: ["verificationMaterial.publicKey.hint", "verificationMaterial.tlogEntries: left out"],
    flips: Infinity,
  },
  "bundle 0.3, message, by a key, promise and proof": {
    request: {
      version: "0.3",
      key,
      message: MANIFEST,
      log: { kind: "hashedrekord 0.0.1", log: rekor, promised: true, proven: true },
    },
    policy: { signer: { key: publicKey, root } },
    // Nobody asks a key for the time.
    unsigned: ["verificationMaterial.publicKey.hint", `${ENTRY}.inclusionPromise: left out`],
  },
};

for (const [scheme, { request, policy = byIdentity, unsigned, flips = 12 }] of Object.entries(BUNDLES)) {
  Deno.test(`each change is refused: ${scheme}`, async () => {
    await refusedBut(
      scheme,
      await makeBundle(request),
      unsigned,
      flips,
      (bundle) => verifyBundle(jsonBytes(bundle), SUBJECT, policy),
    );
  });
}

/** Attachments as a document: Base64 where there are bytes, and the annotations that are JSON or PEM opened. */
function opened({ bytes, annotations }: Attachment): Record<string, unknown> {
  const { "dev.sigstore.cosign/bundle": bundle, "dev.sigstore.cosign/rfc3161timestamp": stamp, ...rest } = annotations;
  const certificate = annotations["dev.sigstore.cosign/certificate"];
  return {
    payload: bytes.toBase64(),
    ...rest,
    ...(certificate === undefined ? {} : { "dev.sigstore.cosign/certificate": signer.der.toBase64() }),
    ...(bundle === undefined ? {} : { "dev.sigstore.cosign/bundle": JSON.parse(bundle) }),
    ...(stamp === undefined ? {} : { "dev.sigstore.cosign/rfc3161timestamp": JSON.parse(stamp) }),
  };
}

function closed(document: unknown): Attachment {
  const { payload, ...fields } = document as Record<string, unknown>;
  const annotations = Object.entries(fields).map(([name, value]): [string, string] => {
    if (typeof value !== "string") return [name, JSON.stringify(value)];
    if (!name.endsWith("/certificate")) return [name, value];
    return [name, pem("CERTIFICATE", Uint8Array.fromBase64(value))];
  });
  return {
    bytes: Uint8Array.fromBase64((payload as string | undefined) ?? ""),
    annotations: Object.fromEntries(annotations),
  };
}

const logs = [await logOfKey(await parsePublicKey(rekor.key.pem))], payload = simpleSigning(DIGEST);
const ATTACHMENTS: Record<
  string,
  { attachment: Attachment; policy: AttachmentPolicy; unsigned: Unsigned; flips?: number }
> = {
  "cosign, by a key": {
    attachment: await makeAttachment({ payload, key }),
    policy: { signer: { key: publicKey } },
    unsigned: [],
    flips: Infinity,
  },
  "cosign, by a key, logged": {
    attachment: await makeAttachment({ payload, key, log: rekor }),
    policy: { signer: { key: publicKey, logs } },
    unsigned: [],
    flips: Infinity,
  },
  "cosign, by an identity": {
    attachment: await makeAttachment({ payload, ...certified, log: rekor }),
    policy: { signer: { root, identity: IDENTITY } },
    unsigned: [],
  },
  "cosign, by an identity, with timestamp": {
    attachment: await makeAttachment({ payload, ...certified, log: rekor, stampedBy: instance }),
    policy: { signer: { root, identity: IDENTITY } },
    unsigned: ["dev.sigstore.cosign/rfc3161timestamp: left out"],
  },
};

for (const [scheme, { attachment, policy, unsigned, flips = 40 }] of Object.entries(ATTACHMENTS)) {
  Deno.test(`each change is refused: ${scheme}`, async () => {
    const verify = (document: unknown) => verifyAttachment(closed(document), DIGEST, policy);
    await refusedBut(scheme, opened(attachment), unsigned, flips, verify);
  });
}

Deno.test("whatever is damaged, the answer is a value", async () => {
  const random = new Random(20_261_126);
  const made = await Promise.all(Object.values(BUNDLES).map(({ request }) => makeBundle(request)));
  const bundles = made.map((bundle) => ({ bundle, fields: [...base64Fields(bundle)] }));
  const counts = { refused: 0, accepted: 0 };
  for (let round = 0; round < 1500; round++) {
    // The text itself, or what a field holds: the readers of DER are behind the one of JSON.
    const { bundle, fields } = random.pick(bundles);
    const text = () => random.mutate(jsonBytes(bundle));
    const inside = ({ bytes, replace }: BytesField) => jsonBytes(replace(random.mutate(bytes)));
    const damaged = round % 3 === 0 ? text() : inside(random.pick(fields));
    const policy = random.pick(Object.values(BUNDLES)).policy ?? byIdentity;
    counts[(await verifyBundle(damaged, SUBJECT, policy)).trusted ? "accepted" : "refused"]++;
  }
  for (let round = 0; round < 500; round++) {
    const { attachment, policy } = random.pick(Object.values(ATTACHMENTS));
    const name = random.pick(Object.keys(attachment.annotations)), text = attachment.annotations[name] ?? "";
    const annotations = {
      ...attachment.annotations,
      [name]: new TextDecoder().decode(random.mutate(new TextEncoder().encode(text))),
    };
    const changed = { bytes: round % 5 === 0 ? random.mutate(payload) as typeof payload : payload, annotations };
    counts[(await verifyAttachment(changed, DIGEST, policy)).trusted ? "accepted" : "refused"]++;
  }
  // Of what the operator hands over the reader says that it is malformed.
  for (let round = 0; round < 500; round++) {
    await assertReads(() => parseTrustedRoot(random.mutate(jsonBytes(rootJson))));
    await assertReads(() =>
      parsePublicKey(new TextDecoder().decode(random.mutate(new TextEncoder().encode(publicKeyPem))))
    );
    await assertReads(() => parsePublicKey(pem("PUBLIC KEY", random.mutate(key.spki))));
  }
  console.log(`damaged: ${counts.refused} refused, ${counts.accepted} accepted (what was damaged was not looked at)`);
  assert.ok(counts.refused > 1000);
});

const publicKeyPem = key.pem;

async function assertReads(read: () => Promise<unknown>): Promise<void> {
  await read().catch((thrown) => {
    if (!isFormatError(thrown)) throw new Error("a reader's fault is a FormatError", { cause: thrown });
  });
}
