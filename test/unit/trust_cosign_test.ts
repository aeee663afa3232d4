/** Signatures as cosign 2, skopeo and podman attach them: what is accepted, and what each fault is answered with. */
import assert from "node:assert/strict";
import { type Digest, parseDigest } from "../../lib/base/digest.ts";
import { type Attachment, type AttachmentPolicy, verifyAttachment } from "../../lib/trust/cosign-attachment.ts";
import { parsePublicKey, type PublicKey } from "../../lib/trust/keys.ts";
import type { KeylessPolicy } from "../../lib/trust/keyless.ts";
import { authorityOfPem, logOfKey, parseTrustedRoot } from "../../lib/trust/trusted-root.ts";
import { refusal } from "../../lib/trust/verdict.ts";
import { makeAttachment, REFERENCE, simpleSigning } from "../lab/signing/attachments.ts";
import type { Issued } from "../lab/signing/certificates.ts";
import { IDENTITY, makeInstance, makeSigner, SIGNED_AT, trustedRoot } from "../lab/signing/instance.ts";
import { jsonBytes, KEY_KINDS, makeKey } from "../lab/signing/keys.ts";
import { makeLog } from "../lab/signing/log.ts";

const DIGEST = parseDigest(`sha256:${"1f".repeat(32)}`) as Digest;
const OTHER = parseDigest(`sha256:${"2e".repeat(32)}`) as Digest;
const TIME = SIGNED_AT.toISOString();

const key = await makeKey("p256"), stranger = await makeKey("p256"), publicKey = await parsePublicKey(key.pem);
const instance = await makeInstance();
const root = await parseTrustedRoot(jsonBytes(await trustedRoot(instance)));
const keyless: KeylessPolicy = { root, identity: IDENTITY };
const signer = await makeSigner(instance), chain = [instance.intermediate];

async function reasonOf(attachment: Attachment, policy: AttachmentPolicy): Promise<string> {
  const verdict = await verifyAttachment(attachment, DIGEST, policy);
  assert.ok(!verdict.trusted, "it was accepted");
  return verdict.reason;
}

function keyed(payload: Uint8Array<ArrayBuffer>, more = {}): Promise<Attachment> {
  return makeAttachment({ payload, key, ...more });
}

Deno.test("a signature by a key says whose it is, and of which name", async () => {
  const payload = simpleSigning(DIGEST, REFERENCE, { creator: "lab 1.0", timestamp: 1795176000, product: "edge" });
  assert.deepEqual(await verifyAttachment(await keyed(payload), DIGEST, { signer: { key: publicKey } }), {
    trusted: true,
    scheme: "cosign",
    signer: { key: publicKey.fingerprint },
    signedReference: REFERENCE,
    annotations: { creator: "lab 1.0", product: "edge" },
  });
});

for (const kind of KEY_KINDS) {
  Deno.test(`a signature by a key of the kind ${kind}`, async () => {
    const own = await makeKey(kind), known = await parsePublicKey(own.pem), payload = simpleSigning(DIGEST);
    // The first is what cosign 3 makes with the larger curves; the second is everybody else's way.
    for (const hash of kind.startsWith("p") ? [undefined, "SHA-256"] as const : [undefined]) {
      const attachment = await makeAttachment({ payload, key: own, ...(hash === undefined ? {} : { hash }) });
      const verdict = await verifyAttachment(attachment, DIGEST, { signer: { key: known } });
      assert.ok(verdict.trusted, JSON.stringify(verdict));
    }
  });
}

Deno.test("PSS counts where the policy says so, and only there, with both lengths of salt that are in use", async () => {
  const rsa = await makeKey("rsa2048"), known = await parsePublicKey(rsa.pem), payload = simpleSigning(DIGEST);
  const accepted = async (options: { saltLength?: number }, pss: boolean) => {
    const attachment = await makeAttachment({ payload, key: rsa, ...options });
    return (await verifyAttachment(attachment, DIGEST, { signer: { key: known, pss } })).trusted;
  };
  assert.deepEqual([await accepted({ saltLength: 32 }, true), await accepted({ saltLength: 222 }, true)], [true, true]);
  assert.deepEqual([await accepted({ saltLength: 32 }, false), await accepted({}, true)], [false, false]);
});

Deno.test("a key that did not sign is named, with what Ed25519 keys may lack", async () => {
  const attachment = await keyed(simpleSigning(DIGEST)), other = await parsePublicKey(stranger.pem);
  assert.equal(
    await reasonOf(attachment, { signer: { key: other } }),
    `the signature was not made by the ECDSA P-256 key ${other.fingerprint}`,
  );
  const ed = await parsePublicKey((await makeKey("ed25519")).pem);
  assert.equal(
    await reasonOf(attachment, { signer: { key: ed } }),
    `the signature was not made by the Ed25519 key ${ed.fingerprint} (Ed25519ph, which cosign 3 makes with Ed25519 keys, ` +
      "is not supported: sign with an ECDSA key)",
  );
});

Deno.test("the signed digest must be the image's", async () => {
  const verdict = await verifyAttachment(await keyed(simpleSigning(OTHER)), DIGEST, { signer: { key: publicKey } });
  assert.deepEqual(verdict, {
    trusted: false,
    reason: `the signature is of another image: expected ${DIGEST}, found ${OTHER}`,
    expected: DIGEST,
    found: OTHER,
  });
});

Deno.test("a payload that two programs could read as two things is refused", async () => {
  const good = JSON.parse(new TextDecoder().decode(simpleSigning(DIGEST)));
  const { critical } = good, policy = { signer: { key: publicKey } };
  const cases: [payload: unknown, reason: RegExp][] = [
    [{ ...good, more: 1 }, /unknown field "more"/],
    [{ ...good, critical: { ...critical, more: 1 } }, /unknown field "critical.more"/],
    [
      { ...good, critical: { ...critical, image: { ...critical.image, "Docker-manifest-digest": OTHER } } },
      /unknown field/,
    ],
    [{ ...good, critical: { ...critical, identity: {} } }, /malformed at "critical.identity.docker-reference"/],
    [{ ...good, critical: { ...critical, image: {} } }, /malformed at "critical.image.docker-manifest-digest"/],
    [{ ...good, critical: { ...critical, type: "atomic container signature" } }, /malformed at "critical.type"/],
    [{ optional: null }, /malformed at "critical"/],
    [[good], /of another shape/],
    [null, /of another shape/],
  ];
  for (const [payload, reason] of cases) {
    assert.match(await reasonOf(await keyed(jsonBytes(payload)), policy), reason);
  }
  const text = JSON.stringify(good), digest = `"docker-manifest-digest":"${DIGEST}"`;
  const texts: [text: string, reason: RegExp][] = [
    [text.replace(digest, `"docker-manifest-digest":"${OTHER}",${digest}`), /the name "docker-manifest-digest" twice/],
    [
      text.replace(digest, `"docker-manifest-di\\u0067est":"${OTHER}",${digest}`),
      /the name "docker-manifest-digest" twice/,
    ],
    [`${text}{}`, /it is no JSON/],
    [`\ufeff${text}`, /it is no JSON/],
    [text.slice(0, -1), /it is no JSON/],
    ["", /it is no JSON/],
  ];
  for (const [payload, reason] of texts) {
    assert.match(await reasonOf(await keyed(new TextEncoder().encode(payload)), policy), reason);
  }
});

Deno.test("optional may be left out", async () => {
  const { critical } = JSON.parse(new TextDecoder().decode(simpleSigning(DIGEST)));
  const attachment = await keyed(jsonBytes({ critical }));
  assert.ok((await verifyAttachment(attachment, DIGEST, { signer: { key: publicKey } })).trusted);
});

Deno.test("without a signature that can be read nothing is trusted", async () => {
  const bytes = simpleSigning(DIGEST), policy = { signer: { key: publicKey } };
  const bad = "the signature was not made by the ECDSA P-256 key";
  assert.equal(await reasonOf({ bytes, annotations: {} }, policy), `${bad} ${publicKey.fingerprint}`);
  const broken = { "dev.cosignproject.cosign/signature": "!" };
  assert.equal(await reasonOf({ bytes, annotations: broken }, policy), "the signature cannot be read: it is no Base64");
});

Deno.test("the policy has a say on the signed name", async () => {
  const policy: AttachmentPolicy = {
    signer: { key: publicKey },
    acceptReference: (signed) =>
      signed === REFERENCE ? undefined : refusal("it was signed as another image", REFERENCE, signed),
  };
  assert.ok((await verifyAttachment(await keyed(simpleSigning(DIGEST)), DIGEST, policy)).trusted);
  const elsewhere = await keyed(simpleSigning(DIGEST, "registry.lab.test/other"));
  assert.deepEqual(await verifyAttachment(elsewhere, DIGEST, policy), {
    trusted: false,
    reason: `it was signed as another image: expected ${REFERENCE}, found registry.lab.test/other`,
    expected: REFERENCE,
    found: "registry.lab.test/other",
  });
});

Deno.test("payloads have bounds", async () => {
  const policy = { signer: { key: publicKey } };
  const large = await keyed(simpleSigning(DIGEST, REFERENCE, { padding: "x".repeat(1024 * 1024) }));
  assert.match(await reasonOf(large, policy), /payload has more than 1048576 bytes/);
  const long = await keyed(simpleSigning(DIGEST, "x".repeat(1025)));
  assert.match(await reasonOf(long, policy), /docker-reference is too long/);
});

Deno.test("with a key, the log counts only where the policy names one", async () => {
  const payload = simpleSigning(DIGEST), { rekor } = instance, other = await makeLog(await makeKey("p256"), "other", 1);
  const known = await logOfKey(await parsePublicKey(rekor.key.pem));
  const logged = await keyed(payload, { log: rekor }), elsewhere = await keyed(payload, { log: other });
  const signed = { key: publicKey, logs: [known] };
  assert.deepEqual(await verifyAttachment(logged, DIGEST, { signer: signed }), {
    trusted: true,
    scheme: "cosign",
    signer: { key: publicKey.fingerprint },
    time: TIME,
    signedReference: REFERENCE,
    annotations: {},
  });
  assert.ok((await verifyAttachment(elsewhere, DIGEST, { signer: { key: publicKey } })).trusted);
  assert.match(
    await reasonOf(elsewhere, { signer: signed }),
    /^the log [0-9a-f]{64} is not among those trusted for that time$/,
  );
  assert.equal(await reasonOf(await keyed(payload), { signer: signed }), "the signature is in no transparency log");
  // Somebody else's entry, or one of another signature by the same key, proves nothing (CVE-2022-36056).
  const foreign = await makeAttachment({ payload, key: stranger, log: rekor });
  const again = await keyed(simpleSigning(OTHER), { log: rekor });
  for (const source of [foreign, again]) {
    const mixed = { bytes: payload, annotations: { ...source.annotations, ...signatureOf(await keyed(payload)) } };
    assert.equal(await reasonOf(mixed, { signer: signed }), "the log entry is of another signature");
  }
});

function signatureOf({ annotations }: Attachment): Record<string, string> {
  const name = "dev.cosignproject.cosign/signature";
  return { [name]: annotations[name] ?? "" };
}

async function certified(more: Partial<Parameters<typeof makeAttachment>[0]> = {}): Promise<Attachment> {
  const certificate = more.certificate ?? signer;
  return await makeAttachment({
    payload: simpleSigning(DIGEST),
    key: certificate.key,
    certificate,
    chain,
    log: instance.rekor,
    ...more,
  });
}

Deno.test("a signature by an identity says which, and when it was made", async () => {
  const expected = {
    trusted: true,
    scheme: "cosign",
    signer: { identity: IDENTITY },
    time: TIME,
    signedReference: REFERENCE,
    annotations: {},
  };
  assert.deepEqual(await verifyAttachment(await certified(), DIGEST, { signer: keyless }), expected);
  assert.deepEqual(
    await verifyAttachment(await certified({ stampedBy: instance }), DIGEST, { signer: keyless }),
    expected,
  );
  const mail = { san: "builder@lab.test", issuer: IDENTITY.issuer };
  const byMail = await certified({ certificate: await makeSigner(instance, mail) });
  const verdict = await verifyAttachment(byMail, DIGEST, { signer: { root, identity: { ...mail, kind: "email" } } });
  assert.ok(verdict.trusted && "identity" in verdict.signer);
  assert.deepEqual(verdict.signer.identity, mail);
});

for (const kind of ["p256", "p384", "p521", "ed25519", "rsa2048"] as const) {
  Deno.test(`a certificate for a key of the kind ${kind}`, async () => {
    const attachment = await certified({ certificate: await makeSigner(instance, { kind }) });
    const verdict = await verifyAttachment(attachment, DIGEST, { signer: keyless });
    assert.ok(verdict.trusted, JSON.stringify(verdict));
  });
}

Deno.test("identities are compared whole, and as they are", async () => {
  const attachment = await certified(), { san, issuer } = IDENTITY;
  const wrong: [identity: KeylessPolicy["identity"], reason: string][] = [
    // The first three would do for a pattern that is not anchored.
    [
      { san: san.slice(0, -1), issuer },
      `the image was signed by another identity: expected ${san.slice(0, -1)}, found ${san}`,
    ],
    [{ san: ".*", issuer }, `the image was signed by another identity: expected .*, found ${san}`],
    [
      { san: san.replaceAll(".", "x"), issuer },
      `the image was signed by another identity: expected ${san.replaceAll(".", "x")}, found ${san}`,
    ],
    [
      { san: san.toUpperCase(), issuer },
      `the image was signed by another identity: expected ${san.toUpperCase()}, found ${san}`,
    ],
    [
      { san, issuer: `${issuer}/` },
      `the signer's identity was vouched for by another issuer: expected ${issuer}/, found ${issuer}`,
    ],
    [{ san, issuer, kind: "email" }, "the image was signed by an identity of another kind: expected email, found uri"],
  ];
  for (const [identity, reason] of wrong) {
    assert.equal(await reasonOf(attachment, { signer: { root, identity } }), reason);
  }
});

Deno.test("what a signature by an identity lacks, it is refused for", async () => {
  const attachment = await certified(), policy = { signer: keyless };
  const without = (name: string) => {
    const { [name]: _, ...annotations } = attachment.annotations;
    return { bytes: attachment.bytes, annotations };
  };
  assert.equal(
    await reasonOf(without("dev.sigstore.cosign/certificate"), policy),
    "the signature brings no certificate",
  );
  assert.equal(
    await reasonOf(without("dev.sigstore.cosign/bundle"), policy),
    "the signature is in no transparency log",
  );
  // The instance's root brings the intermediate CA itself.
  assert.ok((await verifyAttachment(without("dev.sigstore.cosign/chain"), DIGEST, policy)).trusted);
  const unlogged = await makeSigner(instance, { withoutCertificateLog: true });
  const unpromised = await certified({ certificate: unlogged });
  assert.equal(await reasonOf(unpromised, policy), "the certificate carries no promise of a certificate log");
  assert.ok(
    (await verifyAttachment(unpromised, DIGEST, { signer: { ...keyless, withoutCertificateLog: true } })).trusted,
  );
  // Fulcio answers with its whole chain, and cosign keeps it so.
  const whole = await certified({ chain: [instance.intermediate, instance.root] });
  assert.ok((await verifyAttachment(whole, DIGEST, policy)).trusted);
});

Deno.test("a certificate of another instance, or signed after it ended, is not trusted", async () => {
  const other = await makeInstance(), policy = { signer: keyless };
  const foreign = await certified({ certificate: await makeSigner(other), chain: [other.intermediate] });
  assert.equal(
    await reasonOf(foreign, policy),
    "the signer's certificate cannot be trusted: no trusted certificate issued it",
  );
  const late = new Date(SIGNED_AT.getTime() + 11 * 60_000);
  assert.equal(
    await reasonOf(await certified({ at: late }), policy),
    "the signer's certificate cannot be trusted: a certificate is valid from 2026-11-20T12:00:00.000Z to " +
      "2026-11-20T12:10:00.000Z, not at 2026-11-20T12:11:00.000Z",
  );
  // A good time of the log does not help a bad one of the authority.
  const stamped = await certified({ at: late, stampedBy: instance }), timely = await certified();
  const mixed = {
    bytes: timely.bytes,
    annotations: {
      ...timely.annotations,
      "dev.sigstore.cosign/rfc3161timestamp": stamped.annotations["dev.sigstore.cosign/rfc3161timestamp"] ?? "",
    },
  };
  assert.match(await reasonOf(mixed, policy), /not at 2026-11-20T12:11:00.000Z$/);
});

Deno.test("an operator's own CA and log, each from a file of theirs", async () => {
  const logs = [await logOfKey(await parsePublicKey(instance.rekor.key.pem))];
  const ofCas = (...issued: Issued[]): KeylessPolicy => ({
    root: {
      logs,
      certificateAuthorities: [authorityOfPem(issued.map((one) => one.pem).join(""))],
      certificateLogs: [],
      timestampAuthorities: [],
      unusable: [],
    },
    identity: IDENTITY,
    withoutCertificateLog: true,
  });
  const certificate = await makeSigner(instance, { withoutCertificateLog: true }),
    attachment = await certified({ certificate });
  assert.ok((await verifyAttachment(attachment, DIGEST, { signer: ofCas(instance.root) })).trusted);
  const bare = await certified({ certificate, chain: [] });
  assert.ok(
    (await verifyAttachment(bare, DIGEST, { signer: ofCas(instance.intermediate, instance.root) })).trusted,
  );
  assert.equal(
    await reasonOf(bare, { signer: ofCas(instance.root) }),
    "the signer's certificate cannot be trusted: no trusted certificate issued it",
  );
  assert.throws(() => authorityOfPem(instance.intermediate.pem), {
    name: "FormatError",
    message: "it holds no root certificate",
  });
});

Deno.test("a key in place of an identity, and the other way round", async () => {
  const byIdentity = await certified(), ofCertificate: PublicKey = await parsePublicKey(signer.key.pem);
  // By its key the signature is good: the certificate is then of no interest.
  assert.ok((await verifyAttachment(byIdentity, DIGEST, { signer: { key: ofCertificate } })).trusted);
  assert.equal(
    await reasonOf(await keyed(simpleSigning(DIGEST)), { signer: keyless }),
    "the signature brings no certificate",
  );
});
