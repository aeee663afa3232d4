/** Sigstore's bundles: every version, either Rekor, messages and statements, by keys and by identities. */
import assert from "node:assert/strict";
import { type Digest, parseDigest } from "../../lib/base/digest.ts";
import { MAX_BUNDLE } from "../../lib/trust/bundle-format.ts";
import { parsePublicKey } from "../../lib/trust/keys.ts";
import { type BundlePolicy, verifyBundle } from "../../lib/trust/sigstore-bundle.ts";
import { parseTrustedRoot } from "../../lib/trust/trusted-root.ts";
import { type BundleJson, type BundleRequest, makeBundle, statement } from "../lab/signing/bundles.ts";
import { extensions, OID } from "../lab/signing/certificates.ts";
import { IDENTITY, makeInstance, makeSigner, SIGNED_AT, trustedRoot } from "../lab/signing/instance.ts";
import { jsonBytes, KEY_KINDS, makeKey, sha256 } from "../lab/signing/keys.ts";
import { makeLog } from "../lab/signing/log.ts";
import { faultOf } from "../lab/signing/sigstore-js.ts";

const MANIFEST = new TextEncoder().encode('{"schemaVersion":2}'), HEX = (await sha256(MANIFEST)).toHex();
const DIGEST = parseDigest(`sha256:${HEX}`) as Digest, SUBJECT = { digest: DIGEST, bytes: MANIFEST };
const TIME = SIGNED_AT.toISOString();

const instance = await makeInstance(), rootJson = await trustedRoot(instance);
const root = await parseTrustedRoot(jsonBytes(rootJson)), signer = await makeSigner(instance);
const key = await makeKey("p256"), publicKey = await parsePublicKey(key.pem);
const byIdentity: BundlePolicy = { signer: { root, identity: IDENTITY } },
  byKey: BundlePolicy = { signer: { key: publicKey } };

async function reasonOf(bundle: BundleJson, policy = byIdentity, subject = SUBJECT): Promise<string> {
  const verdict = await verifyBundle(jsonBytes(bundle), subject, policy);
  assert.ok(!verdict.trusted, "it was accepted");
  return verdict.reason;
}

const { rekor, rekor2 } = instance, message = MANIFEST, said = statement(HEX);
const certified = { key: signer.key, certificate: signer };

/** Each kind of bundle that tools write, or wrote. */
const KINDS: Record<string, BundleRequest> = {
  "0.1, message, promise": {
    version: "0.1",
    ...certified,
    message,
    log: { kind: "hashedrekord 0.0.1", log: rekor, promised: true },
  },
  "0.1, statement (intoto), promise, chain": {
    ...{ version: "0.1", ...certified, statement: said, chain: [instance.intermediate] },
    log: { kind: "intoto 0.0.2", log: rekor, promised: true },
  },
  "0.2, message, promise and proof": {
    ...{ version: "0.2", ...certified, message },
    log: { kind: "hashedrekord 0.0.1", log: rekor, promised: true, proven: true },
  },
  "0.2, statement, timestamp and proof": {
    ...{ version: "0.2", ...certified, statement: said, stampedBy: instance },
    log: { kind: "dsse 0.0.1", log: rekor, proven: true },
  },
  "0.3, message, promise and proof": {
    ...{ version: "0.3", ...certified, message },
    log: { kind: "hashedrekord 0.0.1", log: rekor, promised: true, proven: true },
  },
  "0.3, statement, promise, proof and timestamp": {
    ...{ version: "0.3", ...certified, statement: said, stampedBy: instance },
    log: { kind: "dsse 0.0.1", log: rekor, promised: true, proven: true },
  },
  "0.3, message, Rekor 2": {
    ...{ version: "0.3", ...certified, message, stampedBy: instance },
    log: { kind: "hashedrekord 0.0.2", log: rekor2, proven: true },
  },
  "0.3, statement, Rekor 2": {
    ...{ version: "0.3", ...certified, statement: said, stampedBy: instance },
    log: { kind: "hashedrekord 0.0.2", log: rekor2, proven: true },
  },
  "0.3, statement, Rekor 2 (dsse)": {
    ...{ version: "0.3", ...certified, statement: said, stampedBy: instance },
    log: { kind: "dsse 0.0.2", log: rekor2, proven: true },
  },
};

for (const [name, request] of Object.entries(KINDS)) {
  Deno.test(`a bundle by an identity: ${name}`, async () => {
    const bundle = await makeBundle(request);
    assert.deepEqual(await verifyBundle(jsonBytes(bundle), SUBJECT, byIdentity), {
      trusted: true,
      scheme: "sigstore-bundle",
      signer: { identity: IDENTITY },
      time: TIME,
      annotations: {},
    });
    assert.equal(faultOf(bundle, MANIFEST, rootJson), undefined, "Sigstore's own verifier refuses it");
  });
}

for (const kind of KEY_KINDS) {
  Deno.test(`a bundle by a key of the kind ${kind}`, async () => {
    const own = await makeKey(kind), signer = { key: await parsePublicKey(own.pem) };
    for (const content of [{ message }, { statement: statement(HEX, undefined, { product: "edge" }) }]) {
      const bundle = await makeBundle({ version: "0.3", key: own, ...content });
      assert.deepEqual(await verifyBundle(jsonBytes(bundle), SUBJECT, { signer }), {
        trusted: true,
        scheme: "sigstore-bundle",
        signer: { key: signer.key.fingerprint },
        annotations: "message" in content ? {} : { product: "edge" },
      });
    }
  });
}

Deno.test("with a key, logs and timestamps count only where the policy names an instance", async () => {
  const unknown = await makeLog(await makeKey("p256"), "other.lab.test", 1);
  const kind = "hashedrekord 0.0.1", base: BundleRequest = { version: "0.3", key, message };
  const logged = await makeBundle({ ...base, log: { kind, log: rekor, promised: true, proven: true } });
  const elsewhere = await makeBundle({ ...base, log: { kind, log: unknown, promised: true, proven: true } });
  const strict: BundlePolicy = { signer: { key: publicKey, root } };
  assert.ok((await verifyBundle(jsonBytes(elsewhere), SUBJECT, byKey)).trusted);
  assert.deepEqual(await verifyBundle(jsonBytes(logged), SUBJECT, strict), {
    trusted: true,
    scheme: "sigstore-bundle",
    signer: { key: publicKey.fingerprint },
    time: TIME,
    annotations: {},
  });
  assert.match(await reasonOf(elsewhere, strict), /^the log [0-9a-f]{64} is not among those trusted for that time$/);
  assert.equal(await reasonOf(await makeBundle(base), strict), "the signature is in no transparency log");
  const [entry] = logged.verificationMaterial.tlogEntries, { inclusionPromise: _, ...unpromised } = entry;
  logged.verificationMaterial.tlogEntries = [unpromised];
  // Without a promise nothing proves the time, and with a key nobody asks for it.
  assert.deepEqual((await verifyBundle(jsonBytes(logged), SUBJECT, strict)).trusted, true);
});

Deno.test("who signed must be who was asked for", async () => {
  const byKeyBundle = await makeBundle({ version: "0.3", key, message }),
    request = KINDS["0.3, message, Rekor 2"] as BundleRequest;
  assert.equal(await reasonOf(byKeyBundle), "the bundle is signed by a key, and an identity is asked for");
  assert.equal(
    await reasonOf(await makeBundle(request), byKey),
    "the bundle is signed by a certificate, and a key is asked for",
  );
  const other = await parsePublicKey((await makeKey("p256")).pem);
  assert.equal(
    await reasonOf(byKeyBundle, { signer: { key: other } }),
    `the signature was not made by the ECDSA P-256 key ${other.fingerprint}`,
  );
  const identity = { ...IDENTITY, san: "https://git.lab.test/os" };
  assert.equal(
    await reasonOf(await makeBundle(request), { signer: { root, identity } }),
    `the image was signed by another identity: expected ${identity.san}, found ${IDENTITY.san}`,
  );
});

Deno.test("a statement counts when it says that this image is signed, and nothing else", async () => {
  const reason = async (content: Uint8Array<ArrayBuffer>, policy = byKey) =>
    await reasonOf(await makeBundle({ version: "0.3", key, statement: content }), policy);
  const sbom = "https://spdx.dev/Document", cosign = "https://sigstore.dev/cosign/sign/v1";
  assert.equal(
    await reason(statement(HEX, sbom)),
    `the statement says something other than that the image is signed: expected ${cosign}, found ${sbom}`,
  );
  const allowed = { ...byKey, predicateTypes: [sbom] };
  assert.ok(
    (await verifyBundle(
      jsonBytes(await makeBundle({ version: "0.3", key, statement: statement(HEX, sbom) })),
      SUBJECT,
      allowed,
    )).trusted,
  );
  assert.equal(
    await reason(statement(HEX), allowed),
    `the statement says something other than that the image is signed: expected ${sbom}, found ${cosign}`,
  );
  const other = "2e".repeat(32);
  assert.equal(
    await reason(statement(other)),
    `the statement is about another image: expected ${DIGEST}, found sha256:${other}`,
  );
  const parsed = JSON.parse(new TextDecoder().decode(statement(HEX)));
  const cases: [statement: unknown, reason: RegExp][] = [
    [{ ...parsed, subject: [] }, /malformed at "subject"/],
    [
      { ...parsed, subject: [{ digest: { sha512: HEX } }] },
      /about another image: expected sha256:[0-9a-f]+, found sha256:nothing/,
    ],
    [{ ...parsed, subject: [{ digest: { sha256: HEX.toUpperCase() } }] }, /about another image/],
    [{ ...parsed, _type: "https://in-toto.io/Statement/v9" }, /malformed at "_type"/],
    [{ ...parsed, predicateType: undefined }, /malformed at "predicateType"/],
    [{ ...parsed, subject: Array.from({ length: 1001 }, () => parsed.subject[0]) }, /malformed at "subject"/],
  ];
  for (const [content, expected] of cases) assert.match(await reason(jsonBytes(content)), expected);
  const twice = JSON.stringify(parsed).replace('{"_type"', '{"predicateType":"x","_type"');
  assert.match(await reason(new TextEncoder().encode(twice)), /the name "predicateType" twice/);
  // The type is signed with the payload, so an attacker cannot change it; a signer may have meant something else.
  const typed = await makeBundle({ version: "0.3", key, statement: said });
  typed.dsseEnvelope.payloadType = "text/plain";
  assert.match(await reasonOf(typed, byKey), /^the signature was not made by/);
});

Deno.test("a message is of the manifest itself", async () => {
  const bundle = await makeBundle({ version: "0.3", key, message }), other = new TextEncoder().encode("{}");
  const hex = (await sha256(other)).toHex(), digest = parseDigest(`sha256:${hex}`) as Digest;
  assert.equal(
    await reasonOf(bundle, byKey, { digest, bytes: other }),
    `the bundle is of other content: expected ${hex}, found ${HEX}`,
  );
});

Deno.test("the form of a bundle is that of its version", async () => {
  const good = await makeBundle(KINDS["0.3, message, promise and proof"] as BundleRequest),
    { verificationMaterial: material } = good;
  const [entry] = material.tlogEntries, { certificate } = material;
  const { inclusionProof, ...unproven } = entry, { checkpoint: _, ...unsigned } = inclusionProof;
  const chain = { x509CertificateChain: { certificates: [certificate] }, certificate: undefined };
  const change = (changes: object) => ({ ...good, verificationMaterial: { ...material, ...changes } });
  const old = await makeBundle(KINDS["0.1, message, promise"] as BundleRequest);
  const cases: [bundle: unknown, reason: RegExp][] = [
    [
      { ...good, mediaType: "application/vnd.dev.sigstore.bundle.v0.4+json" },
      /version is not supported: only 0.1 to 0.3$/,
    ],
    [{ ...good, mediaType: "toString" }, /version is not supported/],
    [{ ...good, more: 1 }, /unknown field "more"/],
    [change(chain), /certificate is not in the form of its version/],
    [{ ...good, mediaType: old.mediaType }, /certificate is not in the form of its version/],
    [change({ tlogEntries: [unproven] }), /a proof of its log is missing/],
    [change({ tlogEntries: [{ ...entry, inclusionProof: unsigned }] }), /a proof of its log is missing/],
    [change({ publicKey: { hint: "x" } }), /names no signer, or two/],
    [change({ certificate: undefined }), /names no signer, or two/],
    [
      { ...good, dsseEnvelope: { payload: "AA==", payloadType: "x", signatures: [{ sig: "AA==" }] } },
      /no signature, or two/,
    ],
    [{ ...good, messageSignature: undefined }, /no signature, or two/],
    [
      change({ tlogEntries: Array.from({ length: 11 }, () => entry) }),
      /malformed at "verificationMaterial.tlogEntries"/,
    ],
    [
      change({ tlogEntries: [{ ...entry, logIndex: "-1" }] }),
      /malformed at "verificationMaterial.tlogEntries.0.logIndex"/,
    ],
    [change({ tlogEntries: [] }), /^the signature is in no transparency log$/],
  ];
  for (const [bundle, reason] of cases) assert.match(await reasonOf(bundle), reason);
  const rooted = await makeBundle({
    ...KINDS["0.1, message, promise"] as BundleRequest,
    chain: [instance.intermediate, instance.root],
  });
  assert.equal(await reasonOf(rooted), "the bundle cannot be read: it brings a root certificate of its own");
  const { inclusionPromise: __, ...unpromised } = old.verificationMaterial.tlogEntries[0];
  old.verificationMaterial.tlogEntries = [unpromised];
  assert.match(await reasonOf(old), /a promise of its log is missing/);
  const large = new Uint8Array(MAX_BUNDLE + 1).fill(0x20), verdict = await verifyBundle(large, SUBJECT, byKey);
  assert.deepEqual(verdict, {
    trusted: false,
    reason: "the bundle cannot be read: it has 8388609 bytes; at most 8388608 are read",
  });
});

Deno.test("an entry of the log must be about this signature", async () => {
  for (const name of ["0.3, message, promise and proof", "0.3, message, Rekor 2", "0.3, statement, Rekor 2 (dsse)"]) {
    const request = KINDS[name] as BundleRequest, own = await makeBundle(request);
    const other = await makeSigner(instance),
      content = request.statement === undefined
        ? { message: new TextEncoder().encode("{}") }
        : { statement: statement(HEX, undefined, { other: "1" }) };
    const sameKey = await makeBundle({ ...request, ...content });
    const otherKey = await makeBundle({ ...request, key: other.key, certificate: other });
    for (const { verificationMaterial: { tlogEntries } } of [sameKey, otherKey]) {
      const mixed = { ...own, verificationMaterial: { ...own.verificationMaterial, tlogEntries } };
      assert.equal(await reasonOf(mixed), "the log entry is of another signature", name);
    }
    // The same key with two certificates: of two moments, or of two identities.
    const renewed = await makeSigner(instance, { key: signer.key });
    const certificate = { rawBytes: renewed.der.toBase64() };
    const swapped = { ...own, verificationMaterial: { ...own.verificationMaterial, certificate } };
    assert.equal(await reasonOf(swapped), "the log entry names another key or certificate", name);
    assert.equal(
      faultOf(swapped, MANIFEST, rootJson),
      undefined,
      "Sigstore's own verifier looks at it now: docs/dependencies.md",
    );
  }
});

Deno.test("a certificate must be made for signing code, and say who it speaks for", async () => {
  const request = KINDS["0.3, message, promise and proof"] as BundleRequest;
  const usage = extensions.usage(0),
    purpose = extensions.purpose(OID.codeSigning),
    uri = { tag: 6, value: IDENTITY.san } as const;
  const names = extensions.names(uri), issuer = extensions.fulcioIssuer(IDENTITY.issuer);
  const cases: [replace: Uint8Array<ArrayBuffer>[], reason: string][] = [
    [
      [usage, names, ...issuer],
      "the signer's certificate cannot be trusted: the certificate is not made for this purpose",
    ],
    [
      [usage, extensions.purpose(OID.timeStamping), names, ...issuer],
      "the signer's certificate cannot be trusted: the certificate is not made for this purpose",
    ],
    [
      [extensions.usage(5), purpose, names, ...issuer],
      "the signer's certificate cannot be trusted: the certificate is not made for signatures",
    ],
    [[usage, purpose, names], "the certificate does not say who vouched for its identity"],
    [[usage, purpose, ...issuer], "the certificate does not speak for one e-mail address or URI"],
    [
      [usage, purpose, extensions.names(uri, { tag: 1, value: "a@lab.test" }), ...issuer],
      "the certificate does not speak for one e-mail address or URI",
    ],
    [
      [usage, purpose, extensions.names({ tag: 2, value: "lab.test" }), ...issuer],
      "the certificate does not speak for one e-mail address or URI",
    ],
    [
      [usage, purpose, names, ...issuer.slice(0, 1), ...extensions.fulcioIssuer("https://else.test").slice(1)],
      "the certificate's identity cannot be read: it names two issuers",
    ],
    [
      [usage, usage, purpose, names, ...issuer],
      "a certificate cannot be read: the certificate has the extension 2.5.29.15 twice",
    ],
    [
      [usage, purpose, names, ...issuer, extensions.unknown("1.2.3.4", true)],
      "a certificate cannot be read: the certificate has the unknown critical extension 1.2.3.4",
    ],
  ];
  for (const [replace, reason] of cases) {
    const certificate = await makeSigner(instance, { replace });
    assert.equal(await reasonOf(await makeBundle({ ...request, key: certificate.key, certificate })), reason);
  }
  // Sigstore's own verifier does not ask for the purpose: docs/dependencies.md.
  const purposeless = await makeSigner(instance, { replace: [usage, names, ...issuer] });
  const bundle = await makeBundle({ ...request, key: purposeless.key, certificate: purposeless });
  assert.equal(faultOf(bundle, MANIFEST, rootJson), undefined);
  const certificate = await makeSigner(instance, { more: [extensions.unknown("1.2.3.4", false)] });
  const extended = await makeBundle({ ...request, key: certificate.key, certificate });
  assert.ok((await verifyBundle(jsonBytes(extended), SUBJECT, byIdentity)).trusted);
});

Deno.test("a trusted root says for when each key is trusted", async () => {
  const bundle = await makeBundle(KINDS["0.3, statement, promise, proof and timestamp"] as BundleRequest);
  const reason = async (change: (root: BundleJson) => void) => {
    const changed = structuredClone(rootJson);
    change(changed);
    return await reasonOf(bundle, { signer: { root: await parseTrustedRoot(jsonBytes(changed)), identity: IDENTITY } });
  };
  const before = new Date(SIGNED_AT.getTime() - 1000).toISOString(), at = TIME;
  assert.match(
    await reason((r) => r.tlogs[0].publicKey.validFor.end = before),
    /^the log [0-9a-f]{64} is not among those trusted/,
  );
  assert.match(
    await reason((r) => r.ctlogs[0].publicKey.validFor.end = before),
    /^none of the trusted certificate logs promised/,
  );
  assert.match(
    await reason((r) => r.certificateAuthorities[0].validFor.end = before),
    /authority is not trusted for 2026-11-20T12:00:00.000Z$/,
  );
  assert.match(
    await reason((r) => r.timestampAuthorities[0].validFor.end = before),
    /^a timestamp cannot be trusted: the authority is not trusted/,
  );
  assert.match(
    await reason((r) => r.timestampAuthorities = []),
    /^a timestamp cannot be trusted: its authority is not among the trusted ones$/,
  );
  assert.match(await reason((r) => r.certificateAuthorities = []), /no certificate authority is trusted$/);
  assert.match(await reason((r) => r.tlogs[0].publicKey.keyDetails = "PKIX_ED25519_PH"), /is not among those trusted/);
  assert.match(await reason((r) => r.tlogs[0].publicKey.rawBytes = "AAAA"), /is not among those trusted/);
  // Both ends are part of the time.
  const inclusive = structuredClone(rootJson) as BundleJson;
  for (
    const  of of[
      inclusive.tlogs[0].publicKey,
        inclusive.ctlogs[0].publicKey,
        inclusive.certificateAuthorities[0],
        inclusive.timestampAuthorities[0]
    ]
  ) {
    of.validFor = { start: at, end: at };
  }
  const policy: BundlePolicy = { signer: { root: await parseTrustedRoot(jsonBytes(inclusive)), identity: IDENTITY } };
  assert.ok((await verifyBundle(jsonBytes(bundle), SUBJECT, policy)).trusted);
});

Deno.test("what of a trusted root cannot be used is told, and what is malformed is refused", async () => {
  const newer = structuredClone(rootJson) as BundleJson;
  newer.tlogs[1].publicKey.keyDetails = "PKIX_ED25519_PH";
  newer.ctlogs[0].publicKey.rawBytes = "MAUwAwYBKg==";
  newer.tlogs[0].hashAlgorithm = "SHA2_512";
  assert.deepEqual((await parseTrustedRoot(jsonBytes(newer))).unusable, [
    "a transparency log: its hash algorithm SHA2_512 is not supported",
    "a transparency log: keys of the kind PKIX_ED25519_PH are not supported",
    "a certificate log: its algorithm (1.2) is not supported: only ECDSA, Ed25519 and RSA",
  ]);
  const broken: [change: (root: BundleJson) => void, reason: RegExp][] = [
    [(r) => delete r.tlogs[0].publicKey.validFor.start, /malformed at "tlogs.0.publicKey.validFor.start"/],
    [(r) => delete r.certificateAuthorities[0].validFor, /malformed at "certificateAuthorities.0.validFor"/],
    [
      (r) => r.certificateAuthorities[0].certChain.certificates = [],
      /malformed at "certificateAuthorities.0.certChain.certificates"/,
    ],
    [(r) => r.mediaType = "x", /malformed at "mediaType"/],
    [(r) => r.tlogs = Array.from({ length: 101 }, () => r.tlogs[0]), /malformed at "tlogs"/],
  ];
  for (const [change, reason] of broken) {
    const root = structuredClone(rootJson);
    change(root);
    await assert.rejects(parseTrustedRoot(jsonBytes(root)), { name: "FormatError", message: reason });
  }
});
