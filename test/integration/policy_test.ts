/** Policies decide: signed images in a real registry and in layouts, installed or refused by the program itself. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { etcRoom } from "../lab/etc-room.ts";
import { heldBy, labMachine } from "../lab/machine.ts";
import { layoutDescriptor } from "../lab/oci-layout.ts";
import { policySite, proofOf } from "../lab/policy-site.ts";
import { MEDIA_TYPES, statement } from "../lab/signing/bundles.ts";
import { IDENTITY, type Instance, makeInstance, makeSigner, SIGNED_AT, trustedRoot } from "../lab/signing/instance.ts";
import { KEY_KINDS, makeKey } from "../lab/signing/keys.ts";
import { attachment, bundle, layoutPlace, publishAttachments, publishReferrers } from "../lab/signing/publish.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import * as t from "../lab/tar-writer.ts";

const BUNDLE = MEDIA_TYPES["0.3"];

function policy(scopes: Record<string, unknown[]>, transport = "docker"): string {
  return JSON.stringify({ default: [{ type: "reject" }], transports: { [transport]: scopes } });
}

const ANY_NAME = { type: "matchRepository" };

Deno.test("an image that a key of each kind has signed is installed, and the record says which", async (t) => {
  await using s = await policySite();
  const { room, repository, place, subject } = s, dry = ["upgrade", `${repository}:v2`, "--dry-run", "--json"];
  for (const kind of KEY_KINDS.filter((one) => one !== "rsa4096")) {
    await t.step(kind, async () => {
      const key = await makeKey(kind);
      room.write("cos/release.pub", key.pem);
      room.write(
        "cos/policy.json",
        policy({
          [repository]: [{ type: "sigstoreSigned", keyPath: "/etc/cos/release.pub", signedIdentity: ANY_NAME }],
        }),
      );
      await publishAttachments(place, subject.digest, [
        await attachment(await makeKey("p256"), subject.digest, repository),
      ]);
      assert.equal((await room.cos(...dry)).status, 31);
      await publishAttachments(place, subject.digest, [
        await attachment(await makeKey("p256"), subject.digest, repository),
        await attachment(key, subject.digest, repository),
      ]);
      const { status, out } = await room.cos(...dry);
      assert.equal(status, 0, out);
      assert.equal(JSON.parse(out).plan.verification.scheme, "cosign");
    });
  }
  const key = await makeKey("p384");
  room.write("cos/release.pub", key.pem);
  await publishAttachments(place, subject.digest, [await attachment(key, subject.digest, repository)]);
  const { status, err } = await room.cos("upgrade", `${repository}:v2`);
  assert.equal(status, 0, err);
  const { at: _, key: fingerprint, ...proof } = await proofOf(s.machine);
  assert.match(String(fingerprint), /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(proof, {
    scheme: "cosign",
    policy: "/etc/cos/policy.json",
    scope: `docker ${repository}`,
  });
  const status_ = (await s.machine.must("status")).out;
  assert.match(status_, new RegExp(`proof    cosign: signed by key ${fingerprint}; by /etc/cos/policy.json, scope`));
});

Deno.test("a bundle by a key, and by an identity, found at the tag that stands for the list of referrers", async () => {
  await using s = await policySite();
  const { room, repository, place, subject } = s, instance: Instance = await makeInstance();
  const key = await makeKey("ed25519"),
    signer = await makeSigner(instance),
    content = { statement: statement(subject.digest.slice(7)) };
  room.write("cos/trusted_root.json", JSON.stringify(await trustedRoot(instance)));
  room.write("cos/release.pub", key.pem);
  const identity = { subject: IDENTITY.san, issuer: IDENTITY.issuer };
  const byIdentity = { type: "sigstoreBundle", trustedRootPath: "/etc/cos/trusted_root.json", identity };
  const log = { kind: "dsse 0.0.1" as const, log: instance.rekor, promised: true, proven: true };
  const keyed = await bundle({ version: "0.3", key, ...content });
  const certified = await bundle({ version: "0.3", key: signer.key, certificate: signer, log, ...content });
  const upgrade = ["upgrade", `${repository}:v2`, "--dry-run", "--json"];

  room.write("cos/policy.json", policy({ "": [{ type: "sigstoreBundle", keyPath: "/etc/cos/release.pub" }] }));
  assert.match((await room.cos(...upgrade)).out, /it has no such signature/);
  await publishReferrers(place, subject, BUNDLE, [certified]);
  assert.equal((await room.cos(...upgrade)).status, 31);
  await publishReferrers(place, subject, BUNDLE, [certified, keyed]);
  assert.equal((await room.cos(...upgrade)).status, 0);

  room.write("cos/policy.json", policy({ [`${s.registry.host}/os`]: [byIdentity] }));
  const { status, out } = await room.cos(...upgrade);
  assert.equal(status, 0, out);
  const { at: _, ...proof } = JSON.parse(out).plan.verification;
  assert.deepEqual(proof, {
    scheme: "sigstore-bundle",
    identity: IDENTITY.san,
    issuer: IDENTITY.issuer,
    time: SIGNED_AT.toISOString(),
    policy: "/etc/cos/policy.json",
    scope: `docker ${s.registry.host}/os`,
  });
  const other = { ...byIdentity, identity: { ...identity, subject: `${IDENTITY.san}x` } };
  room.write("cos/policy.json", policy({ "": [other] }));
  const refused = JSON.parse((await room.cos(...upgrade)).out).error;
  assert.equal(refused.code, "UNTRUSTED");
  assert.match(refused.message, new RegExp(`expected ${IDENTITY.san}x, found ${IDENTITY.san}`));
});

Deno.test("the most specific scope alone decides, and what it rejects is not even looked for", async () => {
  await using s = await policySite();
  const { room, repository } = s, upgrade = ["upgrade", `${repository}:v2`, "--dry-run", "--json"];
  const anything = [{ type: "insecureAcceptAnything" }], rejected = [{ type: "reject" }];
  room.write("cos/policy.json", policy({ "": rejected, [s.registry.host]: rejected, [repository]: anything }));
  const { plan } = JSON.parse((await room.cos(...upgrade)).out);
  assert.deepEqual({ ...plan.verification, at: "" }, {
    scheme: "skipped",
    word: "insecureAcceptAnything in /etc/cos/policy.json",
    by: "the policy",
    at: "",
    policy: "/etc/cos/policy.json",
    scope: `docker ${repository}`,
  });
  room.write("cos/policy.json", policy({ "": anything, [`${repository}:v2`]: rejected }));
  const { error } = JSON.parse((await room.cos(...upgrade)).out);
  assert.deepEqual([error.code, error.details.scope], ["UNTRUSTED", `docker ${repository}:v2`]);
  // The operator's own word is stronger, and is recorded.
  const waived = JSON.parse((await room.cos(...upgrade, "--no-verify")).out);
  assert.equal(waived.plan.verification.word, "--no-verify");
});

Deno.test("containers' policy: registries.d decides whether attachments are read, and its default waives nothing", async () => {
  await using s = await policySite();
  const { room, repository, place, subject } = s, upgrade = ["upgrade", `${repository}:v2`, "--dry-run", "--json"];
  const key = await makeKey("p256");
  const error = async () => JSON.parse((await room.cos(...upgrade)).out).error;
  room.write("containers/release.pub", key.pem);
  room.write("containers/policy.json", JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  const unproven = await error();
  assert.equal(unproven.code, "UNVERIFIED");
  assert.match(unproven.message, /accepts anything by default, which is said of containers and not of this system/);
  const signed = { type: "sigstoreSigned", keyPath: "/etc/containers/release.pub" };
  room.write("containers/policy.json", policy({ [repository]: [signed] }));
  await publishAttachments(place, subject.digest, [await attachment(key, subject.digest, `${repository}:v2`)]);
  assert.match((await error()).message, /registries\.d does not say use-sigstore-attachments: true/);
  room.write(
    "containers/registries.d/lab.yaml",
    `docker:\n  ${s.registry.host}:\n    use-sigstore-attachments: true\n`,
  );
  assert.equal((await room.cos(...upgrade)).status, 0);
  // The default compares the whole name.
  await publishAttachments(place, subject.digest, [await attachment(key, subject.digest, `${repository}:v1`)]);
  assert.match(
    (await error()).message,
    new RegExp(`signed under another name: expected ${repository}:v2, found ${repository}:v1`),
  );
  room.write("containers/registries.d/twice.yaml", `docker:\n  ${s.registry.host}: {}\n`);
  assert.match((await error()).message, /"127\.0\.0\.1:[0-9]+" is defined here and in /);
  // This program's own types are nobody else's.
  room.write(
    "containers/policy.json",
    policy({ "": [{ type: "sigstoreBundle", keyPath: "/etc/containers/release.pub" }] }),
  );
  assert.match((await error()).message, /which only \/etc\/cos\/policy\.json may use/);
  room.write("containers/policy.json", policy({ "": [{ ...signed, rsaPss: true }] }));
  assert.match((await error()).message, /docker\.""\[0\]: it has the unknown field "rsaPss"/);
});

Deno.test("a key that is named for one run, and signatures that travel with a layout", async () => {
  await using s = await policySite();
  const { room, layout, subject, repository, place, machine } = s, key = await makeKey("p256");
  const file = join(machine.directory, "release.pub"), image = `oci:${layout}:v2`;
  Deno.writeTextFileSync(file, key.pem);
  Deno.chmodSync(machine.directory, 0o755);
  Deno.chmodSync(file, 0o644);
  const signed = await bundle({ version: "0.3", key, statement: statement(subject.digest.slice(7)) });
  const upgrade = (what: string) => room.cos("upgrade", what, "--dry-run", "--json", "--key", file);
  // A policy that rejects all is not asked.
  room.write("cos/policy.json", policy({}));
  assert.equal((await upgrade(image)).status, 31);
  await publishReferrers(layoutPlace(layout), subject, BUNDLE, [signed]);
  const offline = await upgrade(image);
  assert.equal(offline.status, 0, offline.out);
  assert.equal(JSON.parse(offline.out).plan.verification.policy, `--key ${file}`);
  await publishAttachments(place, subject.digest, [await attachment(key, subject.digest, repository)]);
  assert.equal((await upgrade(`${repository}:v2`)).status, 0);
  // A directory is nobody's.
  Deno.mkdirSync(join(machine.directory, "tree"));
  const tree = JSON.parse((await upgrade(`dir:${machine.directory}/tree`)).out).error;
  assert.equal(tree.code, "UNTRUSTED");
  assert.match(tree.message, /nothing proves what a directory holds/);
});

Deno.test("policies and keys that cannot be used are named, and nothing is installed", async () => {
  await using s = await policySite();
  const { room, repository } = s, key = await makeKey("p256");
  const signed = { type: "sigstoreSigned", keyPath: "/etc/cos/release.pub", signedIdentity: ANY_NAME };
  const error = async () => {
    const { status, out } = await room.cos("upgrade", `${repository}:v2`, "--json");
    const { code, message } = JSON.parse(out).error;
    assert.deepEqual([status, code], [28, "CONFIGURATION"], message);
    return message as string;
  };
  const say = (text: string, mode?: number) => room.write("cos/policy.json", text, mode);
  say("{");
  assert.match(await error(), /it is no JSON/);
  say('{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}');
  assert.match(await error(), /twice|two/);
  say('{"default": [{"type": "reject"}], "transport": {}}');
  assert.match(await error(), /unknown field "transport"/);
  say(policy({ "": [{ type: "signedbyme" }] }));
  assert.match(await error(), /docker\.""\[0\] is of the unknown type "signedbyme"/);
  say(policy({ "": [{ ...signed, keypath: "/x" }] }));
  assert.match(await error(), /docker\.""\[0\]: it has the unknown field "keypath"/);
  say(policy({ "": [] }));
  assert.match(await error(), /malformed at "transports\.docker\."/);
  say(policy({ "": [signed] }));
  assert.match(await error(), /\/etc\/cos\/release\.pub does not exist/);
  room.write("cos/release.pub", "no key");
  assert.match(await error(), /\/etc\/cos\/release\.pub cannot be used: it holds no PEM block "PUBLIC KEY"/);
  room.write("cos/release.pub", key.pem, 0o666);
  assert.match(await error(), /\/etc\/cos\/release\.pub can be written by others than root/);
  room.write("cos/release.pub", key.pem);
  say(policy({ "": [signed] }), 0o664);
  assert.match(await error(), /\/etc\/cos\/policy\.json can be written by others than root/);
  assert.deepEqual(Object.keys(await s.machine.slots()).sort(), ["active", "passive"]);
});

Deno.test("from outside, where nothing is said, the active system's own policy counts", async () => {
  await using machine = await labMachine({ stateMiB: 128 });
  const layout = join(machine.directory, "os"), key = await makeKey("p256"), stranger = await makeKey("p256");
  const signed = JSON.stringify({
    default: [{ type: "reject" }],
    transports: { oci: { "": [{ type: "sigstoreBundle", keyPath: "/etc/cos/release.pub" }] } },
  });
  writeSmallOs(layout, {
    v1: { more: [t.file("etc/cos/policy.json", signed), t.file("etc/cos/release.pub", key.pem)] },
    // What is being installed would vouch for itself.
    v2: { more: [t.file("etc/cos/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')] },
  });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  await using room = await etcRoom(machine);
  const upgrade = () => room.cos("upgrade", `oci:${layout}:v2`, "--dry-run", "--json");
  const subject = layoutDescriptor(layout, "v2"), content = { statement: statement(subject.digest.slice(7)) };
  const place = layoutPlace(layout);
  await publishReferrers(place, subject, BUNDLE, [await bundle({ version: "0.3", key: stranger, ...content })]);
  const { error } = JSON.parse((await upgrade()).out);
  assert.deepEqual([error.code, error.details.policy], ["UNTRUSTED", "/etc/cos/policy.json of the active system"]);
  await publishReferrers(place, subject, BUNDLE, [await bundle({ version: "0.3", key, ...content })]);
  const { status, out } = await upgrade();
  assert.equal(status, 0, out);
  assert.equal(JSON.parse(out).plan.verification.policy, "/etc/cos/policy.json of the active system");
  assert.deepEqual(await heldBy(machine.state), []);
  // The machine's own word comes first.
  room.write("cos/policy.json", JSON.stringify({ default: [{ type: "reject" }] }));
  assert.equal((await upgrade()).status, 31);
});
