/** The requirement `notaryProject`: Notation's files as they are, its own short form, and what is said of those that cannot be used. */
import assert from "node:assert/strict";
import type { Bytes } from "../../lib/base/bytes.ts";
import { parseReference } from "../../lib/formats/reference.ts";
import { type Decision, evaluate } from "../../lib/trust/evaluate.ts";
import { parsePolicy, prepareScope } from "../../lib/trust/policy-file.ts";
import type { PolicyFiles } from "../../lib/trust/requirement.ts";
import { extensions } from "../lab/signing/certificates.ts";
import { CA, issue, LEAF, makeNotary, ORGANIZATION, SUBJECT } from "../lab/signing/notary.ts";
import { CHAIN, IMAGE, NOW, SIGNER, SITE, TARGET } from "../lab/signing/notary-case.ts";
import { jsonBytes } from "../lab/signing/keys.ts";

const { root, intermediate } = SITE, signer = SIGNER, chain = CHAIN;
const POLICY = "/etc/cos/trustpolicy.json", STORE = "/etc/cos/truststore";
const IDENTITY = "x509.subject: C=DE, ST=Bavaria, O=Lab\\, Inc.";

type Files = Record<string, string | Bytes>;

/** A machine's files, by their paths. */
function filesOf(files: Files): PolicyFiles {
  const bytes = (text: string | Bytes) => typeof text === "string" ? new TextEncoder().encode(text) : text;
  return {
    read: (path) => Promise.resolve(files[path] === undefined ? undefined : bytes(files[path])),
    list: (directory) => {
      const names = Object.keys(files).filter((path) => path.startsWith(`${directory}/`)).map((path) =>
        path.slice(directory.length + 1)
      );
      return Promise.resolve(names.length === 0 ? undefined : names.filter((name) => !name.includes("/")).sort());
    },
  };
}

async function decisionOf(
  requirement: unknown,
  files: Files,
  { image = "registry.lab.test/os/base:v1", layer = undefined as Awaited<ReturnType<typeof makeNotary>> | undefined } =
    {},
): Promise<Decision> {
  const text = jsonBytes({ default: [requirement] }), reference = parseReference(image);
  const [scope] = parsePolicy(text, true).scopes;
  const requirements = await prepareScope(scope as NonNullable<typeof scope>, filesOf(files));
  const found = {
    layers: [{ annotations: {}, ...layer ?? await makeNotary({ envelope: "cose", chain, target: TARGET }) }],
    faults: [],
  };
  const material = { notary: new Map([[IMAGE.digest, found]]) };
  return await evaluate(requirements, material, { reference, subjects: [IMAGE], labels: {}, now: NOW });
}

/** How the decision reads. */
function told(decision: Decision): string {
  if (decision.kind === "waived") return `waived: ${decision.word}`;
  return decision.kind === "trusted" ? "trusted" : decision.asked.map(({ refusal }) => refusal?.reason).join("; ");
}

const FILED = { type: "notaryProject", trustPolicyPath: POLICY, trustStorePath: STORE };
const STATEMENT = {
  name: "os",
  registryScopes: ["*"],
  signatureVerification: { level: "strict" } as Record<string, unknown>,
  trustStores: ["ca:lab"],
  trustedIdentities: [IDENTITY],
};
const AUTHORITIES: Files = { [`${STORE}/x509/ca/lab/root.pem`]: root.pem };

function trustPolicy(...statements: Record<string, unknown>[]): Files {
  return {
    ...AUTHORITIES,
    [POLICY]: JSON.stringify({ version: "1.0", trustPolicies: statements.map((one) => ({ ...STATEMENT, ...one })) }),
  };
}

Deno.test("Notation's files: the statement of the image's repository counts, else the global one", async () => {
  const other = {
    name: "other",
    registryScopes: ["registry.lab.test/os/base", "registry.lab.test/os/tools"],
    trustedIdentities: ["x509.subject: C=US, ST=WA, O=b"],
  };
  const both = trustPolicy({}, other);
  assert.equal(told(await decisionOf(FILED, trustPolicy({}))), "trusted");
  assert.equal(
    told(await decisionOf(FILED, both)),
    `the image was signed by another identity: expected C=US, ST=WA, O=b, found ${SUBJECT}`,
  );
  assert.equal(told(await decisionOf(FILED, both, { image: "registry.lab.test/os/base2:v1" })), "trusted");
  assert.equal(told(await decisionOf(FILED, both, { image: "oci:/os:v1" })), "trusted");
  const none = `${POLICY} has no policy for it`;
  assert.equal(told(await decisionOf(FILED, trustPolicy(other), { image: "registry.lab.test/os/base2:v1" })), none);
  assert.equal(told(await decisionOf(FILED, trustPolicy(other), { image: "oci:/os:v1" })), none);
});

Deno.test("levels: what does not say who signed is waived, and says so", async () => {
  const level = (signatureVerification: unknown, more = {}) =>
    decisionOf(FILED, trustPolicy({ signatureVerification, ...more }));
  const skip = { registryScopes: ["registry.lab.test/os/base"], trustStores: [], trustedIdentities: [] };
  const waived = (name: string) => `waived: notaryProject (level ${name}, "os" in ${POLICY})`;
  assert.equal(told(await level({ level: "skip" }, skip)), waived("skip"));
  assert.equal(told(await level({ level: "audit" })), waived("audit"));
  assert.equal(told(await level({ level: "strict", override: { authenticity: "log" } })), waived("strict"));
  assert.equal(told(await level({ level: "audit", override: { authenticity: "enforce" } })), "trusted");
  const expired = await makeNotary({ envelope: "jws", chain, target: TARGET, expiry: NOW });
  const permissive = await decisionOf(FILED, trustPolicy({ signatureVerification: { level: "permissive" } }), {
    layer: expired,
  });
  assert.ok(permissive.kind === "trusted");
  assert.match(String(permissive.proofs[0].overlooked), /^the signature has expired: /);
  const enforced = { level: "permissive", override: { expiry: "enforce" } };
  assert.match(
    told(await decisionOf(FILED, trustPolicy({ signatureVerification: enforced }), { layer: expired })),
    /^the signature has expired: /,
  );
});

Deno.test("what the trust policy waives is doubtful", async () => {
  const doubt = async (...statements: Record<string, unknown>[]) => {
    const [scope] = parsePolicy(jsonBytes({ default: [FILED] }), true).scopes;
    const [one] = await prepareScope(scope as NonNullable<typeof scope>, filesOf(trustPolicy(...statements)));
    return [one?.words, one?.proves, one?.doubt];
  };
  const words = `signed in the Notary Project's form, as ${POLICY} asks`;
  assert.deepEqual(await doubt({}), [words, true, undefined]);
  const audit = { name: "b", registryScopes: ["a/b", "a/c"], signatureVerification: { level: "audit" } };
  assert.deepEqual(await doubt({}, audit), [words, true, `${POLICY} verifies nothing for a/b, a/c.`]);
});

Deno.test("stores: PEM and DER, several files, only certificates by their names", async () => {
  const place = `${STORE}/x509/ca/lab`, policy = trustPolicy({});
  const with_ = (files: Files) => decisionOf(FILED, { [POLICY]: policy[POLICY] as string, ...files });
  assert.equal(told(await with_({ [`${place}/root.crt`]: root.der })), "trusted");
  assert.equal(
    told(
      await with_({
        [`${place}/a.cer`]: SITE.timestampRoot.pem,
        [`${place}/b.pem`]: root.pem,
        [`${place}/README`]: "x",
      }),
    ),
    "trusted",
  );
  assert.match(
    told(await with_({ [`${place}/a.pem`]: SITE.timestampRoot.pem })),
    /^no certificate of the signer's is trusted/,
  );
  const stamped = await makeNotary({ envelope: "jws", chain, target: TARGET, stampedBy: SITE });
  const timed = {
    ...trustPolicy({ trustStores: ["ca:lab", "tsa:clocks"] }),
    [`${STORE}/x509/tsa/clocks/root.pem`]: SITE.timestampRoot.pem,
  };
  const decision = await decisionOf(FILED, timed, { layer: stamped });
  assert.equal(decision.kind === "trusted" && decision.proofs[0].time, "2026-11-20T12:00:00.000Z");
  assert.equal(told(await decisionOf(FILED, timed)), "the signature has no timestamp, and the policy wants one");
  const fails = async (files: Files, message: string) => {
    await assert.rejects(with_(files), { name: "FormatError", message: `in the scope "default": ${message}` });
  };
  await fails({}, `${place} holds no certificates (*.pem, *.crt or *.cer)`);
  await fails({ [`${place}/README`]: "x" }, `${place} holds no certificates (*.pem, *.crt or *.cer)`);
  await fails({ [`${place}/a.pem`]: "x" }, `${place}/a.pem cannot be used: it holds no PEM block "CERTIFICATE"`);
  await fails({ [`${place}/a.pem`]: signer.pem }, `${place}/a.pem cannot be used: its certificate is no authority's`);
  await assert.rejects(
    decisionOf(FILED, { ...timed, [`${STORE}/x509/tsa/clocks/root.pem`]: intermediate.pem }),
    {
      message:
        `in the scope "default": ${STORE}/x509/tsa/clocks/root.pem cannot be used: its certificate is no root authority's`,
    },
  );
});

Deno.test("a trust policy that cannot be used is named, with what is wrong", async () => {
  const fails = async (statements: Record<string, unknown>[], why: string | RegExp) => {
    const rejected = decisionOf(FILED, trustPolicy(...statements)),
      start = `in the scope "default": ${POLICY} cannot be used: `;
    if (typeof why === "string") await assert.rejects(rejected, { name: "FormatError", message: start + why });
    else await assert.rejects(rejected, why);
  };
  const verification = (signatureVerification: unknown) => [{ signatureVerification }];
  await fails([{}, {}], 'its policy "os" is there twice');
  await fails([{}, { name: "b" }], 'its policy "b" has the scope "*", which is there already');
  await fails([{ registryScopes: ["*", "a/b"] }], 'its policy "os" has the scope "*" beside others');
  await fails([{ registryScopes: [] }], 'it is malformed at "trustPolicies.0.registryScopes"');
  for (const scope of ["a", "a/", "/a", "a/b:v1", "a/B", "a/*", "https://a/b", "a/b@sha256:1", "a/../b"]) {
    await fails([{ registryScopes: [scope] }], `its policy "os" has the scope "${scope}", which is no HOST/REPOSITORY`);
  }
  await fails([{ registryScopes: ["a/b", "a/b"] }], 'its policy "os" has the scope "a/b", which is there already');
  await fails(verification({ level: "strictest" }), 'it is malformed at "trustPolicies.0.signatureVerification.level"');
  await fails(
    verification({ level: "strict", override: { integrity: "log" } }),
    'it has the unknown field "trustPolicies.0.signatureVerification.override.integrity"',
  );
  await fails(
    verification({ level: "strict", override: { expiry: "skip" } }),
    'it is malformed at "trustPolicies.0.signatureVerification.override.expiry"',
  );
  await fails(
    verification({ level: "strict", verifyTimestamp: "never" }),
    'it is malformed at "trustPolicies.0.signatureVerification.verifyTimestamp"',
  );
  await fails(verification({ level: "skip" }), 'its policy "os" skips verification of everything ("*")');
  const skipped = { registryScopes: ["a/b"], signatureVerification: { level: "skip" } };
  await fails([skipped], 'its policy "os" skips verification and names whom to trust');
  await fails(
    [{ ...skipped, signatureVerification: { level: "skip", override: {} } }],
    'its policy "os" overrides parts of the level "skip"',
  );
  await fails([{ trustStores: [] }], 'its policy "os" names no trustStores or no trustedIdentities');
  await fails([{ trustedIdentities: [] }], 'its policy "os" names no trustStores or no trustedIdentities');
  await fails([{ trustedIdentities: ["x509.subject: C=DE"] }], 'the trusted identity "x509.subject: C=DE" has no ST');
  for (const store of ["lab", "ca:", "ca:..", "ca:a/b", "acme:lab", "CA:lab"]) {
    await fails(
      [{ trustStores: [store] }],
      new RegExp(`the trust store "${store}" is not KIND:NAME with a KIND of ca, signingAuthority, tsa`),
    );
  }
  await fails([{ globalPolicy: true }], 'it has the unknown field "trustPolicies.0.globalPolicy"');
  await assert.rejects(
    decisionOf(FILED, { [POLICY]: '{"version":"1.1","trustPolicies":[]}' }),
    /malformed at "version"/,
  );
  await assert.rejects(decisionOf(FILED, { [POLICY]: '{"version":"1.0","version":"1.0"}' }), /"version" twice/);
  await assert.rejects(decisionOf(FILED, {}), { message: `in the scope "default": ${POLICY} does not exist` });
});

Deno.test("authorities and identities named in the policy itself", async () => {
  const inline = { type: "notaryProject", caPaths: ["/etc/root.pem"], trustedIdentities: [IDENTITY] };
  const files = { "/etc/root.pem": root.pem, "/etc/clock.der": SITE.timestampRoot.der, "/etc/revoked": "serial:1" };
  assert.equal(told(await decisionOf(inline, files)), "trusted");
  assert.equal(told(await decisionOf({ ...inline, trustedIdentities: ["*"] }, files)), "trusted");
  assert.match(
    told(await decisionOf({ ...inline, tsaPaths: ["/etc/clock.der"] }, files)),
    /no timestamp, and the policy wants one$/,
  );
  const later = { ...inline, tsaPaths: ["/etc/clock.der"], verifyTimestamp: "afterCertExpiry" };
  assert.equal(told(await decisionOf(later, files)), "trusted");
  const { caPaths: _, ...bare } = inline, scheme = "notary.x509.signingAuthority";
  const authority = { ...bare, signingAuthorityPaths: ["/etc/root.pem"] };
  const layer = await makeNotary({ envelope: "jws", chain, target: TARGET, scheme });
  assert.equal(told(await decisionOf(authority, files, { layer })), "trusted");
  assert.match(
    told(await decisionOf(inline, files, { layer })),
    /is trusted for the scheme notary\.x509\.signingAuthority/,
  );
  const listed = await issue("listed", { issuer: root, extensions: [...LEAF, extensions.revocationList()] });
  const request = { layer: await makeNotary({ envelope: "cose", chain: [listed, root], target: TARGET }) };
  assert.match(told(await decisionOf(inline, files, request)), /^only the network could tell/);
  assert.equal(told(await decisionOf({ ...inline, revokedPath: "/etc/revoked" }, files, request)), "trusted");
  assert.match(
    told(
      await decisionOf({ ...inline, revokedPath: "/etc/revoked" }, {
        ...files,
        "/etc/revoked": `serial=${listed.serial.subarray(2).toHex()}`,
      }, request),
    ),
    /^the certificate of .*CN=listed is revoked: the policy's list has serial:/,
  );
  const annotated = { ...inline, annotations: { channel: "stable" } };
  const signed = await makeNotary({
    envelope: "jws",
    chain,
    target: { ...TARGET, annotations: { channel: "stable" } },
  });
  assert.equal(told(await decisionOf(annotated, files, { layer: signed })), "trusted");
  assert.equal(
    told(await decisionOf(annotated, files)),
    "the signed annotation channel is another: expected stable, found none",
  );

  const fails = async (requirement: unknown, message: string) =>
    await assert.rejects(decisionOf(requirement, files), {
      name: "FormatError",
      message: `in the scope "default": ${message}`,
    });
  await fails(bare, "it names neither a trustPolicyPath nor authorities (caPaths or signingAuthorityPaths)");
  await fails(
    { type: "notaryProject", caPaths: ["/etc/root.pem"] },
    'it names no trustedIdentities; for everybody, say ["*"]',
  );
  await fails({ ...inline, verifyTimestamp: "always" }, "verifyTimestamp has no meaning without tsaPaths");
  await fails({ ...inline, trustStorePath: STORE }, "a trustStorePath has no meaning without a trustPolicyPath");
  await fails({ ...inline, revokedPath: "/etc/none" }, "/etc/none does not exist");
  await fails({ type: "notaryProject", trustPolicyPath: POLICY }, "a trustPolicyPath needs a trustStorePath");
  await fails({ ...FILED, caPaths: ["/etc/root.pem"] }, "it names a trustPolicyPath, which decides on caPaths");
  await fails(
    { ...inline, revokedPath: "/etc/root.pem" },
    "/etc/root.pem cannot be used: line 1 is neither sha256:HEX nor serial:HEX: -----BEGIN CERTIFICATE-----",
  );
  const text = jsonBytes({ default: [inline] });
  assert.throws(() => parsePolicy(text, false), /"notaryProject", which only \/etc\/cos\/policy\.json may use$/);
});

Deno.test("the examples of the manual are policies that work", async () => {
  const manual = Deno.readTextFileSync(new URL("../../docs/policy-notary.md", import.meta.url));
  const examples = new Map(
    [...manual.matchAll(/<!-- test: (\S+) -->\n```(?:json)?\n(.*?)```/gs)].map((
      [, path = "", text = ""],
    ) => [path, text]),
  );
  assert.equal(examples.size, 4);
  const attributes = [...ORGANIZATION.slice(0, 2), ["2.5.4.10", "Example, Inc."] as const];
  const leaf = await issue("release", { issuer: root, attributes, extensions: [...LEAF, extensions.revocationList()] });
  const layer = await makeNotary({ envelope: "cose", chain: [leaf, root], target: TARGET, stampedBy: SITE });
  const store = "/etc/cos/notation/truststore/x509";
  const files: Files = {
    ...Object.fromEntries(examples),
    [`${store}/ca/example/root.pem`]: root.pem,
    [`${store}/tsa/example/root.pem`]: SITE.timestampRoot.pem,
    "/etc/cos/signing-root.pem": root.pem,
    "/etc/cos/timestamp-root.pem": SITE.timestampRoot.pem,
  };
  const written = JSON.parse(examples.get("/etc/cos/policy.json") ?? ""), image = "registry.example.org/os/base:v1";
  const [filed] = written.transports.docker["registry.example.org/os"],
    inline = JSON.parse(examples.get("inline") ?? "");
  assert.equal(told(await decisionOf(filed, files, { image, layer })), "trusted");
  assert.equal(
    told(await decisionOf({ ...inline, revokedPath: filed.revokedPath }, files, { image, layer })),
    "trusted",
  );
  const stranger = await issue("lab root", { extensions: CA });
  const foreign = await makeNotary({
    envelope: "jws",
    chain: [await issue("release", { issuer: stranger, attributes, extensions: LEAF }), stranger],
    target: TARGET,
  });
  for (const requirement of [filed, inline]) {
    assert.match(
      told(await decisionOf(requirement, files, { image, layer: foreign })),
      /^no certificate of the signer's is trusted/,
    );
  }
});
