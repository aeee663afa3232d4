/** Docker Content Trust on metadata of the lab's own signer: what counts, what is refused, and in which words. */
import assert from "node:assert/strict";
import { parseDigest } from "../../lib/base/digest.ts";
import type { Bytes } from "../../lib/base/bytes.ts";
import { type KnownTrust, parseKnownTrust, printKnownTrust } from "../../lib/formats/known-trust.ts";
import { parseReference } from "../../lib/formats/reference.ts";
import { dockerContentTrust } from "../../lib/trust/requirements/docker-content-trust.ts";
import type { Requirement } from "../../lib/trust/requirement.ts";
import { shaped } from "../../lib/trust/shape.ts";
import { extensions, makeCertificate } from "../lab/signing/certificates.ts";
import {
  certificateFile,
  certifiedKey,
  makeTrust,
  type RootSpec,
  type TrustFiles,
  trustKey,
  type TrustSpec,
} from "../lab/signing/content-trust.ts";
import { KEY_KINDS, makeKey, sha256 } from "../lab/signing/keys.ts";

const GUN = "registry.example.org/os/base", NOW = new Date("2026-11-26T12:00:00Z"), DAY = 86_400_000;
const MANIFEST = new TextEncoder().encode('{"schemaVersion":2}'),
  OTHER = new TextEncoder().encode('{"schemaVersion":3}');

const rootKey = await certifiedKey(GUN, { now: NOW }), otherRoot = await certifiedKey(GUN, { now: NOW });
const [targets, snapshot, timestamp, delegate] = await Promise.all([
  trustKey("p256"),
  trustKey("ed25519"),
  trustKey("ed25519"),
  certifiedKey("a person", { kind: "rsa2048", now: NOW }),
]);
const ROOT: RootSpec = {
  root: { keys: [rootKey] },
  targets: { keys: [targets] },
  snapshot: { keys: [snapshot] },
  timestamp: { keys: [timestamp] },
};
const PLAIN: TrustSpec = { now: NOW, roots: [ROOT], targets: { v1: MANIFEST } };
const PINNED = { rootKeyIds: [rootKey.id] };

async function prepared(fields: object, files: Record<string, Bytes> = {}): Promise<Requirement> {
  const value = shaped(dockerContentTrust.schema, { type: "dockerContentTrust", ...fields });
  const given = { read: (path: string) => Promise.resolve(files[path]), list: () => Promise.resolve(undefined) };
  return await dockerContentTrust.prepare(value, given, []);
}

interface Asked {
  pin?: object;
  files?: Record<string, Bytes>;
  image?: string;
  bytes?: Bytes;
  known?: KnownTrust | undefined;
  now?: Date;
  seen?: string[];
}

/** `ok` with the key, or the reason; and what is to be remembered. */
async function ask(server: TrustFiles, { pin = PINNED, files, ...asked }: Asked = {}) {
  const requirement = await prepared(pin, files), [source] = requirement.contentTrust ?? [];
  if (source === undefined) throw new Error("it asks a server");
  const { image = `${GUN}:v1`, bytes = MANIFEST, known, now = NOW } = asked;
  const found = await source.read(GUN, known, now, (name) => {
    asked.seen?.push(name);
    return Promise.resolve(server.get(name));
  });
  const digest = parseDigest(`sha256:${(await sha256(bytes)).toHex()}`);
  if (digest === undefined) throw new Error("a digest");
  const context = { reference: parseReference(image), subjects: [{ digest, bytes }], labels: {}, now };
  const answer = await requirement.verify({ contentTrust: new Map([[source, found]]) }, context, []);
  if (typeof answer === "string" || !("trusted" in answer)) throw new Error("it says who signed");
  const said = answer.trusted ? `ok ${"key" in answer.signer ? answer.signer.key : ""}` : answer.reason;
  return { said, known: "known" in found ? found.known : undefined };
}

const fingerprintOf = async ({ key: { spki } }: { key: { spki: Bytes } }) => `sha256:${(await sha256(spki)).toHex()}`;
const by = async (key: { key: { spki: Bytes } }) => `ok ${await fingerprintOf(key)}`;

Deno.test("what is signed for the tag counts, and what was seen is remembered", async () => {
  const files = await makeTrust(PLAIN), seen: string[] = [], { said, known } = await ask(files, { seen });
  assert.equal(said, await by(targets));
  const hex = async (name: string) => (await sha256(files.get(name) as Bytes)).toHex();
  assert.deepEqual(seen, [
    "root",
    "2.root",
    "timestamp",
    `snapshot.${await hex("snapshot")}`,
    `targets.${await hex("targets")}`,
  ]);
  assert.deepEqual(known, {
    schemaVersion: 1,
    gun: GUN,
    at: NOW.toISOString(),
    root: { version: 1, sha256: await hex("root") },
    timestamp: 1,
    snapshot: 1,
    targets: 1,
  });
  assert.deepEqual(parseKnownTrust(printKnownTrust(known), GUN), known);
  assert.equal(parseKnownTrust(printKnownTrust(known), `${GUN}x`), undefined);
  assert.equal(parseKnownTrust(printKnownTrust({ ...known, schemaVersion: 2 }), GUN), undefined);
  for (const at of ["2026-13-26T12:00:00.000Z", "2026-11-26", ""]) {
    assert.equal(parseKnownTrust(printKnownTrust({ ...known, at }), GUN), undefined);
  }
  assert.equal(parseKnownTrust(printKnownTrust(known).subarray(0, -3), GUN), undefined);
});

Deno.test("the tag, the digest and the length must all be those that are signed", async () => {
  const files = await makeTrust({ ...PLAIN, targets: { v1: MANIFEST, v2: OTHER } });
  assert.match(
    (await ask(files, { bytes: OTHER })).said,
    /another image is signed for the tag v1 \(targets\): expected sha256:[0-9a-f]{64} of 19 bytes, found sha256:[0-9a-f]{64} of 19/,
  );
  assert.equal((await ask(files, { image: `${GUN}:v3` })).said, "the tag v3 is not signed in Docker Content Trust");
  assert.equal(
    (await ask(files, { image: `${GUN}:__proto__` })).said,
    "the tag __proto__ is not signed in Docker Content Trust",
  );
  assert.equal(
    (await ask(files, { image: `${GUN}@sha256:${"0".repeat(64)}` })).said,
    "Docker Content Trust signs tags, and the image is asked for by its digest alone: name the tag too (NAME:TAG@DIGEST)",
  );
  assert.equal(
    (await ask(files, { image: "oci:/os:v1" })).said,
    "Docker Content Trust is about repositories of registries, and this image is not from one",
  );
  const longer = await makeTrust({
    ...PLAIN,
    change: (name, signed) => {
      if (name === "targets") (signed.targets as { v1: { length: number } }).v1.length++;
    },
  });
  assert.match((await ask(longer)).said, /of 20 bytes, found/);
});

Deno.test("keys of every kind and with every method of theirs", async () => {
  for (const kind of KEY_KINDS.filter((one) => one !== "rsa4096")) {
    for (const method of kind.startsWith("rsa") ? ["rsapss", "rsapkcs1v15"] : [undefined]) {
      const key = await trustKey(kind, method);
      const files = await makeTrust({ ...PLAIN, roots: [{ ...ROOT, targets: { keys: [key] } }] });
      assert.equal((await ask(files)).said, await by(key), `${kind} ${method}`);
    }
  }
  const wrong = { ...targets, method: "eddsa" }, right = await makeTrust(PLAIN);
  const files = await makeTrust({
    ...PLAIN,
    damage: (name, document) => {
      if (name === "targets") { for (const one of document.signatures) one.method = wrong.method; }
    },
  });
  assert.match(
    (await ask(files)).said,
    /^the targets of .* is signed by 0 of the keys that count, and needs 1; the signature/,
  );
  assert.equal((await ask(right)).said, await by(targets));
});

Deno.test("the releases' own targets come before the repository's, for the names that are theirs, and no other delegation counts", async () => {
  const releases = { keys: [delegate], targets: { v1: MANIFEST } };
  const shadowed = await makeTrust({ ...PLAIN, targets: { v1: OTHER, v2: OTHER }, releases });
  assert.equal((await ask(shadowed)).said, await by(delegate));
  assert.match((await ask(shadowed, { bytes: OTHER })).said, /is signed for the tag v1 \(targets\/releases\)/);
  assert.equal((await ask(shadowed, { image: `${GUN}:v2`, bytes: OTHER })).said, await by(targets));
  const limited = await makeTrust({ ...PLAIN, targets: {}, releases: { ...releases, paths: ["w", "v2"] } });
  assert.equal((await ask(limited)).said, "the tag v1 is not signed in Docker Content Trust");
  const other = await makeTrust({ ...PLAIN, targets: {}, releases: { ...releases, name: "targets/alice" } });
  assert.equal((await ask(other)).said, "the tag v1 is not signed in Docker Content Trust");
  const unpublished = await makeTrust({ ...PLAIN, releases: { ...releases, unpublished: true } });
  assert.equal((await ask(unpublished)).said, await by(targets));
  // Whoever has the snapshot's key alone cannot make a machine forget what the releases say.
  const spec = { ...PLAIN, targets: { v1: OTHER }, releases }, before = await makeTrust(spec);
  const { known } = await ask(before);
  assert.equal(known?.releases, 1);
  const hidden = await makeTrust({
    ...spec,
    before,
    change: (name, signed) => {
      if (name === "snapshot") delete (signed.meta as Record<string, unknown>)["targets/releases"];
    },
  });
  assert.match(
    (await ask(hidden, { known })).said,
    /^the snapshot of .* does not list targets\/releases, which this machine has seen before$/,
  );
});

Deno.test("first contact: only keys that the policy pins, in certificates for this very repository", async () => {
  const files = await makeTrust(PLAIN), bare = await trustKeyIdWithout(rootKey);
  assert.equal((await ask(files, { pin: { rootKeyIds: [bare] } })).said, await by(targets));
  assert.match(
    (await ask(files, { pin: { rootKeyIds: [otherRoot.id] } })).said,
    /^the root 1 of .*, by the keys that the policy pins, is signed by 0 of the keys that count, and needs 1$/,
  );
  const file = { "/r.pem": certificateFile(rootKey.certificate), "/o.pem": certificateFile(otherRoot.certificate) };
  assert.equal((await ask(files, { pin: { rootCertificatePath: "/r.pem" }, files: file })).said, await by(targets));
  assert.match((await ask(files, { pin: { rootCertificatePath: "/o.pem" }, files: file })).said, /is signed by 0/);

  // Another repository's root key, served for this one; and names that only begin alike.
  for (
    const [name, good] of [
      [`${GUN}x`, false],
      ["registry.example.org/os/other", false],
      ["registry.example.org/os/*", true],
      ["registry.example.org/o*", false],
      ["*", false],
      ["registry.example.org/*", true],
    ] as const
  ) {
    const key = await certifiedKey(name, { now: NOW });
    const server = await makeTrust({ ...PLAIN, roots: [{ ...ROOT, root: { keys: [key] } }] });
    const { said } = await ask(server, { pin: { rootKeyIds: [key.id] } });
    assert.equal(said.startsWith("ok"), good, `${name}: ${said}`);
  }
  const naked = await trustKey("p256"),
    server = await makeTrust({ ...PLAIN, roots: [{ ...ROOT, root: { keys: [naked] } }] });
  assert.match((await ask(server, { pin: { rootKeyIds: [naked.id] } })).said, /is signed by 0/);
});

async function trustKeyIdWithout({ key }: { key: { spki: Bytes } }): Promise<string> {
  const text = `{"keytype":"ecdsa","keyval":{"private":null,"public":"${key.spki.toBase64()}"}}`;
  return (await sha256(new TextEncoder().encode(text))).toHex();
}

Deno.test("first contact by a CA: its certificates for the repository, and no others", async () => {
  const key = await makeKey("p384"), period = { notBefore: new Date(+NOW - DAY), notAfter: new Date(+NOW + 90 * DAY) };
  const ca = await makeCertificate({
    ...{ key, commonName: "A CA", ...period, extensions: [extensions.ca(), extensions.usage(5)] },
  });
  const between = await makeCertificate({
    ...{ key: await makeKey("p256"), commonName: "Between", issuer: ca, ...period },
    extensions: [extensions.ca(0), extensions.usage(5)],
  });
  const files = { "/ca.pem": certificateFile(ca) }, pin = { caPath: "/ca.pem" };
  const said = async (root: Awaited<ReturnType<typeof certifiedKey>>, now = NOW) => {
    const server = await makeTrust({ ...PLAIN, now, roots: [{ ...ROOT, root: { keys: [root] } }] });
    return (await ask(server, { pin, files, now })).said;
  };
  const good = await certifiedKey(GUN, { now: NOW, issuer: between, chain: [between] });
  assert.equal(await said(good), await by(targets));
  // The CA's own period counts, at the time of asking.
  assert.match(await said(good, new Date(+NOW + 100 * DAY)), /by the keys that the policy pins, is signed by 0/);
  assert.match(await said(rootKey), /is signed by 0/);
  assert.match(await said(await certifiedKey(GUN, { now: NOW, issuer: between })), /is signed by 0/);
  const foreign = await certifiedKey("registry.example.org/os/other", { now: NOW, issuer: ca });
  assert.match(await said(foreign), /is signed by 0/);
});

Deno.test("roots are rotated one by one, each signed by the keys before it and by its own", async () => {
  const [second, third] = [
    await certifiedKey(GUN, { now: NOW }),
    await certifiedKey(GUN, { kind: "rsa2048", now: NOW }),
  ];
  const roots: RootSpec[] = [
    ROOT,
    // Other keys than the root's are rotated by a root, too.
    { ...ROOT, targets: { keys: [delegate] } },
    { ...ROOT, root: { keys: [second] }, signers: [second, rootKey] },
    { ...ROOT, root: { keys: [third] }, signers: [second, third] },
  ];
  const files = await makeTrust({ ...PLAIN, roots }), seen: string[] = [];
  const { said, known } = await ask(files, { seen });
  assert.equal(said, await by(targets));
  assert.deepEqual(seen.slice(0, 5), ["root", "3.root", "2.root", "5.root", "timestamp"]);
  assert.equal(known?.root.version, 4);
  // A policy that pins the newest key needs no older root; nor does one that pins any between.
  const newest: string[] = [];
  assert.equal((await ask(files, { pin: { rootKeyIds: [third.id] }, seen: newest })).said, await by(targets));
  assert.deepEqual(newest.slice(0, 2), ["root", "5.root"]);
  assert.equal((await ask(files, { pin: { rootKeyIds: [second.id] } })).said, await by(targets));
  // What the server serves as the newest may be behind: a cache on the way.
  const behind = new Map([...files, ["root", files.get("3.root") as Bytes]]);
  assert.equal((await ask(behind)).said, await by(targets));

  const broken = async (signers: (typeof rootKey)[], root = second) => {
    const server = await makeTrust({ ...PLAIN, roots: [ROOT, { ...ROOT, root: { keys: [root] }, signers }] });
    return (await ask(server)).said;
  };
  assert.match(await broken([second]), /^the root 2 of .*, by the keys of the root before it, is signed by 0/);
  assert.match(await broken([rootKey]), /^the root 2 of \S* is signed by 0/);
  const foreign = await certifiedKey("registry.example.org/os/other", { now: NOW });
  assert.match(await broken([rootKey, foreign], foreign), /^the root 2 of \S* is signed by 0/);
  const gap = new Map(files);
  gap.delete("2.root");
  assert.equal((await ask(gap)).said, "its server lacks the root 2");
  const twice = new Map([...files, ["2.root", files.get("3.root") as Bytes]]);
  assert.match((await ask(twice)).said, /is another version: expected 2, found 3$/);
  assert.match(
    (await ask(files, { pin: { ...PINNED, maxRoots: 2 } })).said,
    /^the last 2 roots of .* \(maxRoots\) do not lead back to one that is trusted$/,
  );
  assert.match(
    (await ask(behind, { pin: { rootKeyIds: [second.id], maxRoots: 1 } })).said,
    /has more than 1 roots \(maxRoots\)/,
  );
});

Deno.test("thresholds are of distinct keys, under how many ids ever they stand", async () => {
  const [a, b] = [await trustKey("p256"), await trustKey("ed25519")];
  const role = { keys: [a, b], threshold: 2 }, spec = { ...PLAIN, roots: [{ ...ROOT, targets: role }] };
  assert.match((await ask(await makeTrust(spec))).said, /^ok /);
  const without = async (change: (signatures: { keyid: string; method: string; sig: string }[]) => void) => {
    const files = await makeTrust({
      ...spec,
      damage: (name, document) => {
        if (name === "targets") change(document.signatures);
      },
    });
    return (await ask(files)).said;
  };
  const reason = new RegExp(`^the targets of ${GUN} is signed by 1 of the keys that count, and needs 2`);
  assert.match(await without((signatures) => signatures.pop()), reason);
  assert.match(await without((signatures) => signatures.splice(1, 1, ...signatures.slice(0, 1))), reason);
  assert.match(await without((signatures) => signatures.splice(0)), /is signed by 0/);
  // One key in two certificates.
  const one = await certifiedKey(GUN, { now: NOW }), two = await certifiedKey(GUN, { now: NOW, key: one.key });
  assert.notEqual(one.id, two.id);
  const twins = await makeTrust({ ...PLAIN, roots: [{ ...ROOT, root: { keys: [one, two], threshold: 2 } }] });
  assert.match(
    (await ask(twins, { pin: { rootKeyIds: [one.id, two.id] } })).said,
    /is signed by 1 of .*, and needs 2$/,
  );
  const both = await makeTrust({ ...PLAIN, roots: [{ ...ROOT, root: { keys: [rootKey, otherRoot], threshold: 2 } }] });
  // Of two keys that must sign, both must be pinned.
  assert.match((await ask(both)).said, /by the keys that the policy pins, is signed by 1/);
  assert.match((await ask(both, { pin: { rootKeyIds: [rootKey.id, otherRoot.id] } })).said, /^ok /);
});

Deno.test("every role has its own keys, and a key's id is its own", async () => {
  for (const role of ["root", "targets", "snapshot", "timestamp", "targets/releases"]) {
    const stranger = role === "root" ? otherRoot : await trustKey("p256");
    const files = await makeTrust({
      ...PLAIN,
      releases: { keys: [delegate], targets: {} },
      damage: (name, document) => {
        if (name === role) { for (const one of document.signatures) one.keyid = stranger.id; }
      },
    });
    assert.match((await ask(files)).said, /is signed by 0 of the keys that count, and needs 1$/, role);
  }
  const stranger = await trustKey("p256");
  const files = await makeTrust({
    ...PLAIN,
    change: (name, signed) => {
      if (name === "root") (signed.keys as Record<string, unknown>)[targets.id] = stranger.written;
    },
  });
  assert.match((await ask(files)).said, new RegExp(`and needs 1; the key ${targets.id} has another id$`));
});

Deno.test("what has expired is refused: each document, at the second that it says", async () => {
  const releases = { keys: [delegate], targets: {} }, files = await makeTrust({ ...PLAIN, releases });
  const days = { timestamp: 14, snapshot: 1095, targets: 1095, root: 3650 };
  const end = new Date(+NOW + days.timestamp * DAY);
  assert.match((await ask(files, { now: new Date(+end - 1) })).said, /^ok /);
  assert.match(
    (await ask(files, { now: end })).said,
    new RegExp(
      `^the timestamp of ${GUN} has expired: it was good until ${end.toISOString()}, and it is ${end.toISOString()}`,
    ),
  );
  for (const role of ["root", "timestamp", "snapshot", "targets", "targets/releases"]) {
    const server = await makeTrust({
      ...PLAIN,
      releases,
      change: (name, signed) => {
        if (name === role) signed.expires = "2026-11-26T13:59:59.999999999+02:00";
      },
    });
    assert.match(
      (await ask(server)).said,
      new RegExp(`^the ${role} of ${GUN} has expired: it was good until 2026-11-26T11:59:59.999Z`),
    );
  }
});

Deno.test("what expires on a day that there is not is refused", async () => {
  for (const expires of ["2027-02-29T00:00:00Z", "2027-04-31T00:00:00+02:00", "2027-13-01T00:00:00Z"]) {
    const files = await makeTrust({
      ...PLAIN,
      change: (name, signed) => {
        if (name === "timestamp") signed.expires = expires;
      },
    });
    assert.match((await ask(files)).said, /^the timestamp of .*malformed at "expires"$/);
  }
});

Deno.test("nothing older than what was seen, and no other root in its place", async () => {
  const releases = { keys: [delegate], targets: { v1: MANIFEST } };
  const spec: TrustSpec = { ...PLAIN, releases }, old = await makeTrust(spec);
  const { known } = await ask(old);
  assert.match((await ask(old, { known })).said, /^ok /);
  for (const role of ["timestamp", "snapshot", "targets", "releases"] as const) {
    const newer = await makeTrust({ ...spec, before: old, versions: { [role]: 2 } }),
      seen = await ask(newer, { known });
    assert.match(seen.said, /^ok /);
    assert.equal(seen.known?.[role], 2);
    const name = role === "releases" ? "targets/releases" : role;
    assert.equal(
      (await ask(old, { known: seen.known })).said,
      `the ${name} of ${GUN} is older than the one that this machine has seen before: expected version 2 or later, found 1`,
    );
  }
  const rotated = await makeTrust({
    ...spec,
    before: old,
    roots: [ROOT, { ...ROOT, snapshot: { keys: [timestamp] } }],
  });
  const second = (await ask(rotated, { known })).known;
  assert.equal(second?.root.version, 2);
  assert.equal(
    (await ask(old, { known: second })).said,
    `the root of ${GUN} is older than the one that this machine has seen before: expected version 2 or later, found version 1`,
  );
  // With a stolen older key somebody makes another second root, or a whole repository anew.
  const forked = await makeTrust({ ...spec, before: old, roots: [ROOT, { ...ROOT, snapshot: { keys: [targets] } }] });
  assert.match((await ask(forked)).said, /^ok /);
  assert.equal(
    (await ask(forked, { known: second })).said,
    `the root 2 of ${GUN} is another one than this machine has seen before`,
  );
  const anew = await makeTrust({ ...spec, roots: [{ ...ROOT, root: { keys: [otherRoot] } }] });
  assert.equal(
    (await ask(anew, { known, pin: { rootKeyIds: [otherRoot.id] } })).said,
    `the root 1 of ${GUN} is another one than this machine has seen before`,
  );
  // The newest root's key is pinned; those before it are asked for up to the one that was seen.
  const pinned = { ...ROOT, root: { keys: [otherRoot] }, signers: [rootKey, otherRoot] }, seen: string[] = [];
  const later = await makeTrust({ ...spec, before: old, roots: [ROOT, ROOT, pinned] });
  assert.match((await ask(later, { known, pin: { rootKeyIds: [otherRoot.id] }, seen })).said, /^ok /);
  assert.deepEqual(seen.slice(0, 4), ["root", "2.root", "1.root", "4.root"]);
});

Deno.test("parents name their children by digest and length, and the snapshot the root that is in use", async () => {
  const files = await makeTrust(PLAIN), other = await makeTrust({ ...PLAIN, versions: { snapshot: 2, targets: 2 } });
  for (const name of ["snapshot", "targets"]) {
    const [file = ""] = [...files.keys()].filter((one) => one.startsWith(`${name}.`));
    const swapped = new Map([...files, [file, other.get(name) as Bytes]]);
    assert.match((await ask(swapped)).said, new RegExp(`^the ${name} of ${GUN} is another one than its parent names`));
    const cut = new Map([...files, [file, (files.get(name) as Bytes).subarray(1)]]);
    assert.match((await ask(cut)).said, new RegExp(`^the ${name} of ${GUN} has another length than its parent says`));
    const gone = new Map(files);
    gone.delete(file);
    assert.equal((await ask(gone)).said, `its server lacks the ${name} of ${GUN}`);
  }
  const same = await makeTrust({ ...PLAIN, roots: [{ ...ROOT, snapshot: { keys: [snapshot, targets] } }] });
  const roots = new Map([...files, ["root", same.get("root") as Bytes]]);
  assert.match((await ask(roots)).said, new RegExp(`^the root of ${GUN} (is another one|has another length)`));
  assert.equal((await ask(new Map())).said, `no content trust is kept for ${GUN}`);
  const { timestamp: _, ...rest } = Object.fromEntries(files);
  assert.equal((await ask(new Map(Object.entries(rest)))).said, `its server lacks the timestamp of ${GUN}`);
});

Deno.test("metadata that two readers could take for two things is refused", async () => {
  const files = await makeTrust(PLAIN), text = new TextDecoder().decode(files.get("root"));
  const said = async (root: string) => (await ask(new Map([...files, ["root", new TextEncoder().encode(root)]]))).said;
  const cannot = `the root of ${GUN} cannot be read: `;
  assert.equal(
    await said(text.replace('"version":1', '"version":1,"version":1')),
    `${cannot}it has the name "version" twice in one object`,
  );
  assert.equal(await said(`${text}{}`), `${cannot}it is no JSON`);
  assert.equal(await said(text.replace('"version":1', '"version":1.5')), `${cannot}it has no canonical form`);
  assert.equal(
    await said(text.replace('"version":1', '"version":1,"x":"\\ud800"')),
    `${cannot}it has no canonical form`,
  );
  assert.equal(await said(text.replace('"version":1', '"version":1,"x":1')), `${cannot}it has the unknown field "x"`);
  assert.equal(await said(text.replace('"Root"', '"root"')), `${cannot}it is malformed at "_type"`);
  assert.equal(
    await said(text.replace('"threshold":1', '"threshold":0')),
    `${cannot}it is malformed at "roles.root.threshold"`,
  );
  assert.equal(await said("[]"), `${cannot}it is of another shape`);
  assert.equal(await said(" ".repeat(512 * 1024 + 1)), `${cannot}it has 524289 bytes; at most 524288 are read`);
});

Deno.test("a policy says whom to trust in exactly one way", async () => {
  const one = "it must name whom to trust in exactly one way: rootKeyIds, rootCertificatePath or caPath";
  await assert.rejects(prepared({}), { message: one });
  await assert.rejects(prepared({ ...PINNED, caPath: "/ca.pem" }), { message: one });
  await assert.rejects(prepared({ caPath: "/ca.pem" }), { message: "/ca.pem does not exist" });
  await assert.rejects(prepared({ rootKeyIds: [] }), { message: 'it is malformed at "rootKeyIds"' });
  await assert.rejects(prepared({ rootKeyIds: ["A".repeat(64)] }), { message: 'it is malformed at "rootKeyIds.0"' });
  for (
    const server of [
      "http://trust.example.org",
      "https://u:p@trust.example.org",
      "https://trust.example.org/x",
      "http://127.0.0.1.example.org",
    ]
  ) {
    await assert.rejects(prepared({ ...PINNED, server }), { message: 'it is malformed at "server"' });
  }
  for (
    const server of [
      "https://trust.example.org",
      "https://trust.example.org:4443",
      "http://127.0.0.1:4443",
      "http://localhost",
    ]
  ) {
    assert.equal((await prepared({ ...PINNED, server })).contentTrust?.[0]?.server, server);
  }
  assert.equal((await prepared(PINNED)).words, `signed in Docker Content Trust, its root by the key ${rootKey.id}`);
});
