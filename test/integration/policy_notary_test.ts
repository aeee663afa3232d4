/** Notary Project signatures in a real registry and in a layout: what the program installs, and what it refuses. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { EtcRoom } from "../lab/etc-room.ts";
import { policySite, proofOf } from "../lab/policy-site.ts";
import { SIGNED_AT } from "../lab/signing/instance.ts";
import {
  ENVELOPE_KINDS,
  issue,
  LEAF,
  makeNotary,
  makeNotarySite,
  NOTARY_SIGNATURE,
  SUBJECT,
} from "../lab/signing/notary.ts";
import { layoutPlace, publishReferrers, registryPlace } from "../lab/signing/publish.ts";

const POLICY = "/etc/cos/policy.json",
  TRUST = "/etc/cos/notation/trustpolicy.json",
  STORE = "/etc/cos/notation/truststore";
const authorities = await makeNotarySite();
const release = await issue("lab release", { issuer: authorities.intermediate, extensions: LEAF });
const chain = [release, authorities.intermediate, authorities.root] as const;

/** v1 is deployed, v2 lies in the registry and in a layout; the machine has Notation's files. */
async function site() {
  await using made = new AsyncDisposableStack();
  const base = made.use(await policySite()), { room, repository, place, subject } = base;
  room.write(
    "cos/policy.json",
    JSON.stringify({ default: [{ type: "notaryProject", trustPolicyPath: TRUST, trustStorePath: STORE }] }),
  );
  for (const [kind, { pem }] of Object.entries({ ca: authorities.root, tsa: authorities.timestampRoot })) {
    room.write(`cos/notation/truststore/x509/${kind}/lab/root.pem`, pem);
  }
  const signed = (request: Partial<Parameters<typeof makeNotary>[0]>) => {
    const target = {
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      digest: subject.digest,
      size: subject.size,
    };
    return makeNotary({ envelope: "jws", chain: [...chain], target, stampedBy: authorities, ...request });
  };
  const publish = async (...layers: Awaited<ReturnType<typeof signed>>[]) =>
    await publishReferrers(place, subject, NOTARY_SIGNATURE, layers);
  const ask = async (image = `${repository}:v2`) => {
    const { out } = await room.cos("upgrade", image, "--dry-run", "--json");
    const { plan, error } = JSON.parse(out);
    return error === undefined ? plan.verification : `${error.code}: ${error.message}`;
  };
  trust(room, {});
  const kept = made.move();
  return { ...base, signed, publish, ask, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function trust(room: EtcRoom, statement: Record<string, unknown>): void {
  const identity = "x509.subject: C=DE, ST=Bavaria, O=Lab\\, Inc., CN=lab release";
  const whole = {
    name: "os",
    registryScopes: ["*"],
    signatureVerification: { level: "strict" },
    trustStores: ["ca:lab", "tsa:lab"],
    trustedIdentities: [identity],
  };
  room.write(
    "cos/notation/trustpolicy.json",
    JSON.stringify({ version: "1.0", trustPolicies: [{ ...whole, ...statement }] }),
  );
}

Deno.test("an image signed in either envelope is installed, and the record says by whom", async (t) => {
  await using s = await site();
  const proof = {
    scheme: "notary",
    identity: SUBJECT,
    issuer: "C=DE, ST=Bavaria, O=Lab\\, Inc., CN=lab root",
    time: SIGNED_AT.toISOString(),
    policy: POLICY,
    scope: "default",
  };
  for (const envelope of ENVELOPE_KINDS) {
    await t.step(envelope, async () => {
      await s.publish(await s.signed({ envelope }));
      const { at: _, ...told } = await s.ask();
      assert.deepEqual(told, proof);
    });
  }
  const { status, err } = await s.room.cos("upgrade", `${s.repository}:v2`);
  assert.equal(status, 0, err);
  const { at: _, ...kept } = await proofOf(s.machine);
  assert.deepEqual(kept, proof);
});

Deno.test("signatures travel with a layout, and are found in the older form; only the policy for everything is for a layout", async () => {
  await using s = await site();
  await publishReferrers(layoutPlace(s.layout), s.subject, NOTARY_SIGNATURE, [await s.signed({ envelope: "cose" })]);
  assert.equal((await s.ask(`oci:${s.layout}:v2`)).scheme, "notary");
  // As Notation's first versions stored them.
  const older = await s.signed({ envelope: "jws" }), place = registryPlace(s.repository.split("/")[0] ?? "", "os/base");
  await publishReferrers(place, s.subject, NOTARY_SIGNATURE, [older], { older: true });
  assert.equal((await s.ask()).scheme, "notary");
  trust(s.room, { registryScopes: [s.repository] });
  assert.match(await s.ask(`oci:${s.layout}:v2`), /^UNTRUSTED: .*trustpolicy\.json has no policy for it\.$/);
});

Deno.test("bad signatures are refused, and one good one beside them is enough", async () => {
  await using s = await site();
  const stranger = await makeNotarySite(),
    foreign = await issue("lab release", { issuer: stranger.root, extensions: LEAF });
  const other = await s.signed({
    target: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: `sha256:${"0".repeat(64)}`, size: 1 },
  });
  const { bytes, mediaType } = await s.signed({ envelope: "cose" });
  const broken = { mediaType, bytes: bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1) };
  const bad = [
    await s.signed({ chain: [foreign, stranger.root] }),
    other,
    broken,
    await s.signed({ stampedBy: undefined }),
  ];
  assert.match(await s.ask(), /^UNTRUSTED: .*it has no such signature\.$/);
  await s.publish(...bad);
  const refused = await s.ask();
  for (
    const why of [
      /no certificate of the signer's is trusted/,
      /the signature is of another image: expected/,
      /the signature was not made by the ECDSA/,
      /the signature has no timestamp/,
    ]
  ) {
    assert.match(refused, why);
  }
  assert.match(refused, /^UNTRUSTED: /);
  await s.publish(...bad, await s.signed({}));
  assert.equal((await s.ask()).scheme, "notary");
});

Deno.test("levels: what is overlooked is recorded, and what proves nothing is a waiver", async () => {
  await using s = await site();
  trust(s.room, { signatureVerification: { level: "permissive" } });
  await s.publish(await s.signed({ expiry: SIGNED_AT }));
  assert.match(
    String((await s.ask()).overlooked),
    /^the signature has expired: expected an expiry after .*, found 2026-11-20T12:00:00\.000Z$/,
  );
  assert.match(
    (await s.room.cos("upgrade", `${s.repository}:v2`, "--dry-run")).out,
    /OVERLOOKED: the signature has expired/,
  );
  trust(s.room, { signatureVerification: { level: "audit" } });
  const { at: _, ...waived } = await s.ask();
  assert.deepEqual(waived, {
    scheme: "skipped",
    word: `notaryProject (level audit, "os" in ${TRUST}) in ${POLICY}`,
    by: "the policy",
    policy: POLICY,
    scope: "default",
  });
});

Deno.test("a trust store that others can write, or that links lead out of, is not used", async () => {
  await using s = await site();
  await s.publish(await s.signed({}));
  const etc = join(s.machine.directory, "etc"),
    store = join(etc, "cos/notation/truststore"),
    place = join(store, "x509/ca/lab");
  const says = async (why: string) => assert.equal(await s.ask(), `CONFIGURATION: Cannot use the policy ${why}.`);
  for (
    const [path, at] of [[store, STORE], [join(store, "x509"), `${STORE}/x509`], [
      place,
      `${STORE}/x509/ca/lab`,
    ]] as const
  ) {
    Deno.chmodSync(path, 0o775);
    await says(`${STORE}/x509/ca/lab: ${at} can be written by others than root`);
    Deno.chmodSync(path, 0o755);
  }
  Deno.chownSync(place, 1000, 0);
  await says(`${STORE}/x509/ca/lab: ${STORE}/x509/ca/lab does not belong to root`);
  Deno.chownSync(place, 0, 0);
  Deno.mkdirSync(join(place, "old"));
  Deno.symlinkSync("root.pem", join(place, "link.pem"));
  await says(`${STORE}/x509/ca/lab: ${STORE}/x509/ca/lab/link.pem is a link`);
  Deno.removeSync(join(place, "link.pem"));
  assert.equal((await s.ask()).scheme, "notary");
  Deno.chmodSync(join(place, "root.pem"), 0o666);
  await says(`${STORE}/x509/ca/lab/root.pem: ${STORE}/x509/ca/lab/root.pem can be written by others than root`);
  Deno.renameSync(place, join(store, "lab"));
  await says(`${POLICY}: in the scope "default": ${STORE}/x509/ca/lab holds no certificates (*.pem, *.crt or *.cer)`);
  Deno.symlinkSync("../../lab", place);
  await says(`${STORE}/x509/ca/lab: it is a link`);
});
