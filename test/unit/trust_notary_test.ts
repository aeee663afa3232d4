/** Notary Project signatures: good ones of every kind, and each rule of envelope, header, payload and identity by one that breaks it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseIdentities } from "../../lib/trust/notary/identities.ts";
import { verifyNotary } from "../../lib/trust/notary/verify.ts";
import { cbor, type CborValue } from "../lab/signing/cbor.ts";
import { SIGNED_AT } from "../lab/signing/instance.ts";
import { jsonBytes, makeKey, sha256 } from "../lab/signing/keys.ts";
import {
  ENVELOPE_KINDS,
  issue,
  LEAF,
  makeNotary,
  NAMESPACE,
  NOTARY_KEY_KINDS,
  type NotaryHeader,
  SUBJECT,
} from "../lab/signing/notary.ts";
import {
  answerFor,
  answerTo,
  bothSay,
  CHAIN,
  GOOD,
  IMAGE,
  NOW,
  policyOf,
  SIGNER,
  SITE,
  TARGET,
} from "../lab/signing/notary-case.ts";
import { run } from "../lab/run.ts";

const HOUR = 3_600_000, { root, intermediate } = SITE;

Deno.test("a signature by each kind of key in each envelope counts, and Python agrees", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "cos-test-" });
  try {
    for (const kind of NOTARY_KEY_KINDS) {
      const leaf = await issue("lab release", { issuer: intermediate, kind, extensions: LEAF });
      for (const envelope of ENVELOPE_KINDS) {
        await t.step(`${kind} ${envelope}`, async () => {
          const annotations = { build: "17" }, target = { ...TARGET, annotations };
          const layer = await makeNotary({ envelope, chain: [leaf, intermediate, root], target });
          assert.deepEqual(await verifyNotary(layer, IMAGE, GOOD, NOW), {
            trusted: true,
            scheme: "notary",
            signer: { identity: { san: SUBJECT, issuer: "C=DE, ST=Bavaria, O=Lab\\, Inc., CN=lab root" } },
            annotations,
          });
          const path = join(directory, `${kind}.${envelope}`),
            script = new URL("../lab/signing/notary.py", import.meta.url);
          await Deno.writeFile(path, layer.bytes);
          // Debian's own Python, whose packages these are.
          const told = JSON.parse(await run("/usr/bin/python3", [script.pathname, envelope, path]));
          assert.deepEqual(told, {
            header: ["alg", "crit", "cty", `${NAMESPACE}signingScheme`, `${NAMESPACE}signingTime`],
            payload: { targetArtifact: target },
          });
        });
      }
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("the key alone says the algorithm, and the header must say the same", async () => {
  const other = await makeKey("p256"), rsa = await issue("rsa", { issuer: root, kind: "rsa2048", extensions: LEAF });
  for (
    const [envelope, wrong, found] of [["jws", "ES384", "ES384"], ["cose", -35, "ES384"], [
      "cose",
      -257,
      "the number -257",
    ], ["jws", "none", "none"]] as const
  ) {
    const change = (header: NotaryHeader) => void header.set("alg", wrong);
    assert.equal(
      await answerFor({ envelope, chain: CHAIN, change }, GOOD),
      `the signature names an algorithm that is not its ECDSA P-256 key's: expected ES256, found ${found}`,
    );
  }
  await bothSay(/^the signature was not made by the ECDSA P-256 key sha256:/, { key: other });
  await bothSay("trusted", { chain: [rsa, root] });
  // PSS wants the salt as long as the hash (RFC 7518, 3.5).
  await bothSay(/^the signature was not made by the RSA 2048 key/, { chain: [rsa, root], saltLength: 20 });
  await bothSay(/^the signature was not made by the RSA 2048 key/, { chain: [rsa, root], saltLength: 0 });
  const edwards = await issue("ed", { issuer: root, kind: "ed25519", extensions: LEAF });
  await bothSay(
    "the signer's key is of a kind that is not allowed: expected RSA 2048, RSA 3072, RSA 4096, ECDSA P-256, ECDSA P-384, ECDSA P-521, found Ed25519",
    { chain: [edwards, root] },
  );
});

Deno.test("what the header must say, and what must be critical", async () => {
  const set = (name: string, value: unknown) => ({ change: (header: NotaryHeader) => void header.set(name, value) });
  const add = (...more: string[]) => ({
    change: (header: NotaryHeader) => void header.set("crit", [...header.get("crit") as string[], ...more]),
  });
  const scheme = `${NAMESPACE}signingScheme`,
    expiry = `${NAMESPACE}expiry`,
    authentic = `${NAMESPACE}authenticSigningTime`;
  await bothSay(
    "the signature is over content of another type: expected application/vnd.cncf.notary.payload.v1+json, found text/plain",
    set("cty", "text/plain"),
  );
  await bothSay(
    "the signing scheme is unknown: expected notary.x509 or notary.x509.signingAuthority, found notary.x510",
    set(scheme, "notary.x510"),
  );
  const plugin = `${NAMESPACE}verificationPlugin`;
  for (const name of [plugin, `${plugin}MinVersion`]) {
    await bothSay(
      `the signature can only be verified by a plugin, and cos has none: expected no verificationPlugin, found ${name}`,
      set(name, "org.lab"),
    );
  }
  await bothSay(
    `a critical attribute is unknown: expected ${scheme}, ${authentic}, ${expiry}, found org.lab.attribute`,
    add("org.lab.attribute"),
  );
  await bothSay("trusted", set("org.lab.attribute", "1"));
  const wrongly = (name: string, there: boolean, expected: string, found: string) =>
    `the attribute ${name} is ${there ? "there" : "not there"}: expected ${expected}, found ${found}`;
  await bothSay(wrongly(expiry, false, "not listed as critical", "listed as critical"), add(expiry));
  await bothSay(wrongly(scheme, true, "listed as critical", "listed 2 times"), add(scheme));
  await bothSay(wrongly(expiry, true, "listed as critical", "not listed as critical"), {
    expiry: new Date(+NOW + HOUR),
    change: (header) => void header.set("crit", [scheme]),
  });
  await bothSay(`the signature cannot be read: it is malformed at "crit"`, set("crit", []));
  for (const name of ["alg", "cty", "crit", scheme]) {
    await bothSay(`the signature cannot be read: it is malformed at "${name}"`, {
      change: (header) => void header.delete(name),
    });
  }
  const time = `${NAMESPACE}signingTime`;
  await bothSay(`the signing scheme notary.x509 wants a time: expected ${time}, found none`, {
    change: (header) => void header.delete(time),
  });
  await bothSay(`the signing scheme notary.x509 has another time: expected ${time}, found ${authentic}`, {
    change: (header) => void header.set(authentic, SIGNED_AT).set("crit", [scheme, authentic]),
  });
});

Deno.test("times are read as they are written, and no others", async () => {
  const time = `${NAMESPACE}expiry`, malformed = `the signature cannot be read: it is malformed at "${time}"`;
  const expires = (value: unknown) => ({
    change: (header: NotaryHeader) =>
      void header.set(time, value).set("crit", [...header.get("crit") as string[], time]),
  });
  for (const value of ["2026-11-31T12:00:00Z", "2026-11-20", "2026-11-20T25:00:00Z", "2026-11-20T12:00:00", 1, ""]) {
    assert.equal(await answerFor({ envelope: "jws", chain: CHAIN, ...expires(value) }, GOOD), malformed, String(value));
  }
  for (
    const value of [1_800_000_000, "2027-01-01T00:00:00Z", { tag: 0, value: 1 }, { tag: 1, value: -1 }, {
      tag: 1,
      value: "1",
    }, { tag: 1, value: 253_402_300_800 }]
  ) {
    const answer = await answerFor({ envelope: "cose", chain: CHAIN, ...expires(value) }, GOOD);
    assert.ok(answer === malformed || answer.startsWith("the signature cannot be read: it is no CBOR"), answer);
  }
  const expired =
    `the signature has expired: expected an expiry after ${NOW.toISOString()}, found 2026-11-21T12:00:00.000Z`;
  // With the offset of the signer's own clock.
  assert.equal(
    await answerFor({ envelope: "jws", chain: CHAIN, ...expires("2026-11-21T14:00:00+02:00") }, GOOD),
    expired,
  );
  await bothSay(expired, { expiry: NOW });
  await bothSay("trusted", { expiry: new Date(+NOW + 1000) });
});

Deno.test("the signature must be of this image: digest, size and type", async () => {
  const digest = `sha256:${"0".repeat(64)}`, index = "application/vnd.oci.image.index.v1+json";
  await bothSay(`the signature is of another image: expected ${TARGET.digest}, found ${digest}`, {
    target: { ...TARGET, digest },
  });
  await bothSay(`the signature is of an image of another size: expected ${TARGET.size}, found 1`, {
    target: { ...TARGET, size: 1 },
  });
  await bothSay(`the signature is of something of another type: expected ${TARGET.mediaType}, found ${index}`, {
    target: { ...TARGET, mediaType: index },
  });
  const encode = (text: string) => new TextEncoder().encode(text), unread = /^what is signed cannot be read: /;
  for (
    const text of [
      "",
      "{}",
      "[]",
      '{"targetArtifact":{}}',
      '{"targetArtifact":1}',
      '{"targetArtifact":{},"targetArtifact":{}}',
    ]
  ) {
    await bothSay(unread, { payload: encode(text) });
  }
  const { mediaType: _, ...unnamed } = TARGET;
  await bothSay('what is signed cannot be read: it is malformed at "targetArtifact.mediaType"', {
    payload: encode(JSON.stringify({ targetArtifact: unnamed })),
  });
  await bothSay("trusted", { payload: encode(JSON.stringify({ targetArtifact: { ...TARGET, urls: [] }, more: 1 })) });
});

Deno.test("a manifest may leave its type to whoever serves it", async () => {
  const bytes = new TextEncoder().encode('{"schemaVersion":2}'), type = TARGET.mediaType, other = "text/plain";
  const image = { digest: `sha256:${(await sha256(bytes)).toHex()}` as typeof IMAGE.digest, bytes };
  const target = { mediaType: type, digest: image.digest, size: bytes.length };
  const layer = await makeNotary({ envelope: "jws", chain: CHAIN, target });
  const served = async (mediaType?: string) => {
    const verdict = await verifyNotary(layer, { ...image, ...mediaType && { mediaType } }, GOOD, NOW);
    return verdict.trusted ? "trusted" : verdict.reason;
  };
  assert.equal(await served(`${type}; charset=utf-8`), "trusted");
  assert.equal(await served(other), `the signature is of something of another type: expected ${other}, found ${type}`);
  assert.equal(await served(), `the signature is of something of another type: expected none, found ${type}`);
});

Deno.test("identities: each attribute that the policy names, and no other certificate of the same authority", async () => {
  const said = (...texts: string[]) =>
    policyOf(root, { identities: parseIdentities(texts.map((text) => `x509.subject: ${text}`)) });
  await bothSay("trusted", {}, said("CN=lab release,O=Lab\\, Inc.,ST=Bavaria,C=DE"));
  await bothSay("trusted", {}, said("C=US, ST=WA, O=Other", "C=DE, ST=Bavaria, O=Lab\\, Inc."));
  await bothSay("trusted", {}, policyOf(root, { identities: "*" }));
  await bothSay(
    `the image was signed by another identity: expected C=DE, ST=Bavaria, O=Lab, CN=a or C=US, ST=WA, O=b, found ${SUBJECT}`,
    {},
    said("C=DE, ST=Bavaria, O=Lab, CN=a", "C=US, ST=WA, O=b"),
  );
  // Two organizations: whose word would it be?
  const attributes = [["2.5.4.6", "DE"], ["2.5.4.8", "Bavaria"], ["2.5.4.10", "Lab, Inc."], [
    "2.5.4.10",
    "Other",
  ]] as const;
  const twofold = await issue("two", { issuer: root, attributes, extensions: LEAF });
  await bothSay(/^the image was signed by another identity: /, { chain: [twofold, root] });
});

Deno.test("identities that cannot be used are named", () => {
  const start = "x509.subject: C=DE, ST=Bavaria, O=Lab";
  for (
    const [texts, message] of [
      [["*", start], 'the trusted identity "*" stands beside others'],
      [["C=DE"], 'the trusted identity "C=DE" does not begin with x509.subject:'],
      [["x509.subject: C=DE, ST=Bavaria"], 'the trusted identity "x509.subject: C=DE, ST=Bavaria" has no O'],
      [
        [start, `${start}, CN=a`],
        'the trusted identities "C=DE, ST=Bavaria, O=Lab, CN=a" and "C=DE, ST=Bavaria, O=Lab" overlap',
      ],
      [[start, start], 'the trusted identities "C=DE, ST=Bavaria, O=Lab" and "C=DE, ST=Bavaria, O=Lab" overlap'],
    ] as const
  ) {
    assert.throws(() => parseIdentities(texts), { name: "FormatError", message });
  }
});

type Parameters = [string | number, CborValue][];

Deno.test("envelopes in another form are refused", async () => {
  const jws = JSON.parse(
    new TextDecoder().decode((await makeNotary({ envelope: "jws", chain: CHAIN, target: TARGET })).bytes),
  );
  const says = async (value: unknown, mediaType = "application/jose+json") => {
    const bytes = value instanceof Uint8Array ? value : jsonBytes(value);
    return await answerTo({ mediaType, bytes: bytes as Uint8Array<ArrayBuffer> }, GOOD);
  };
  const unread = (why: string) => `the signature cannot be read: ${why}`;
  assert.equal(await says(jws), "trusted");
  assert.equal(await says({ ...jws, header: { ...jws.header, [`${NAMESPACE}signingAgent`]: 7 } }), "trusted");
  assert.equal(await says({ ...jws, signatures: [] }), unread('it has the unknown field "signatures"'));
  assert.equal(
    await says({ ...jws, header: { ...jws.header, alg: "ES256" } }),
    unread("a parameter is in both of its headers"),
  );
  assert.equal(await says({ ...jws, header: {} }), unread('it is malformed at "header.x5c"'));
  assert.equal(await says({ ...jws, header: { ...jws.header, x5c: [] } }), unread('it is malformed at "header.x5c"'));
  assert.equal(
    await says({ ...jws, signature: `${jws.signature}=` }),
    unread("it is no Base64url: white space or padding is in it"),
  );
  assert.match(
    await says({ ...jws, signature: jws.signature.slice(0, -1) }),
    /^the signature cannot be read: it is no Base64url$/,
  );
  assert.equal(
    await says(jws, "application/json"),
    "the signature's envelope is of an unknown type: expected application/jose+json or application/cose, found application/json",
  );
  assert.match(await says(new Uint8Array(1024 * 1024 + 1)), /at most 1048576 are read$/);

  const cose = "application/cose", both = unread("a parameter is in both of its headers, or in the unsigned one only");
  const parts = (signedHeader: Parameters, unsigned: Parameters) =>
    cbor({
      tag: 18,
      value: [
        cbor(new Map(signedHeader)),
        new Map([[33, [SIGNER.der]], ...unsigned]),
        new Uint8Array(),
        new Uint8Array(),
      ],
    });
  assert.equal(await says(parts([], [[1, -7]]), cose), both);
  assert.equal(await says(parts([["a", 1]], [["a", 1]]), cose), both);
  assert.equal(await says(parts([["alg", "ES256"]], []), cose), unread('it is malformed at "alg"'));
  const signed = await makeNotary({ envelope: "cose", chain: CHAIN, target: TARGET, chainSigned: true });
  assert.equal(await answerTo(signed, GOOD), "trusted");
  const untagged = cbor([new Uint8Array(), new Map(), new Uint8Array(), new Uint8Array()]);
  assert.equal(await says(untagged, cose), unread("it is no COSE_Sign1 with its tag"));
  assert.match(
    await says(cbor({ tag: 98, value: [] }), cose),
    /it is no CBOR in its shortest form: CBOR decode error: tag not supported \(98\)/,
  );
  assert.match(await says(cbor({ tag: 18, value: [] }), cose), /^the signature cannot be read: it is/);
});

Deno.test("CBOR that nests without end, is not the shortest, or has other values, is refused", async () => {
  const says = async (hex: string) =>
    await answerTo({ mediaType: "application/cose", bytes: Uint8Array.fromHex(hex) }, GOOD);
  assert.equal(await says("81".repeat(100_000)), "the signature cannot be read: it has more than 200 values");
  assert.equal(await says("d2" + "c1".repeat(100_000)), "the signature cannot be read: it has more than 200 values");
  assert.equal(await says("d2f6"), "the signature cannot be read: it has a value of the kind null");
  assert.equal(await says("d2fb3ff0000000000000"), "the signature cannot be read: it has a value of the kind float");
  for (
    const hex of [
      "",
      "d2",
      "d281",
      "d29f",
      "d21801",
      "d25b7fffffffffffffff",
      "d2a201010102",
      "d240d240",
      "ff",
      "d2ff",
      "d29bffffffffffffffff",
    ]
  ) {
    assert.match(
      await says(hex),
      /^the signature cannot be read: it (?:is no CBOR in its shortest form: |has a value of the kind |is no COSE)/,
      hex,
    );
  }
});
