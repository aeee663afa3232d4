/**
 * Good metadata with one thing in it changed, and its parents signed anew as whoever holds their keys could: each change must be
 * refused by the document's own signatures. And damaged files by the thousand: the answer is always a value.
 */
import assert from "node:assert/strict";
import type { Bytes } from "../../lib/base/bytes.ts";
import { parseKnownTrust, printKnownTrust } from "../../lib/formats/known-trust.ts";
import { contentTrustSource } from "../../lib/trust/content-trust/source.ts";
import { Random } from "../lab/random.ts";
import {
  certifiedKey,
  makeTrust,
  type SignedDocument,
  type TrustFiles,
  trustKey,
  type TrustSpec,
} from "../lab/signing/content-trust.ts";
import { mutationsOf } from "../lab/signing/mutations.ts";

const GUN = "registry.example.org/os/base", NOW = new Date("2026-11-26T12:00:00Z");
const MANIFEST = new TextEncoder().encode('{"schemaVersion":2}');

const rootKey = await certifiedKey(GUN, { now: NOW }), second = await certifiedKey(GUN, { now: NOW });
const ROLES = {
  root: { keys: [rootKey] },
  targets: { keys: [await trustKey("p256"), await trustKey("ed25519")], threshold: 2 },
  snapshot: { keys: [await trustKey("ed25519")] },
  timestamp: { keys: [await trustKey("ed25519")] },
};
const SPEC: TrustSpec = {
  now: NOW,
  roots: [ROLES, { ...ROLES, root: { keys: [second] }, signers: [second, rootKey] }],
  targets: { v1: MANIFEST },
  releases: { keys: [await certifiedKey("a person", { now: NOW })], targets: { v2: MANIFEST } },
};
const source = contentTrustSource(undefined, { keyIds: [rootKey.id] }, 10), whole = await makeTrust(SPEC);

async function verify(files: TrustFiles) {
  const found = await source.read(GUN, undefined, NOW, (name) => Promise.resolve(files.get(name)));
  return "known" in found && found.find("v1") !== undefined && found.find("v2") !== undefined;
}

for (const role of ["root", "timestamp", "snapshot", "targets", "targets/releases"]) {
  Deno.test(`each change of the ${role} is refused`, async () => {
    assert.ok(await verify(whole));
    const document: SignedDocument = JSON.parse(new TextDecoder().decode(whole.get(role)));
    const text = JSON.stringify(document), passed: string[] = [];
    const others = new Map([...whole].filter(([name]) => name !== role && name !== "2.root"));
    let refused = 0;
    for (const { name, value } of mutationsOf(document, 3)) {
      if (JSON.stringify(value) === text) continue;
      const files = await makeTrust({
        ...SPEC,
        before: others,
        damage: (written, honest) => written === role ? value : honest,
      });
      if (await verify(files)) passed.push(name);
      else refused++;
    }
    console.log(`${role}: ${refused} changes refused`);
    assert.deepEqual(passed, []);
    assert.ok(refused > 50);
  });
}

Deno.test("whatever is damaged, the answer is a value", async () => {
  const random = new Random(20_261_126), names = new Set<string>(), counts = { refused: 0, accepted: 0 };
  const first = await source.read(GUN, undefined, NOW, (name) => {
    if (whole.has(name)) names.add(name);
    return Promise.resolve(whole.get(name));
  });
  assert.ok("known" in first);
  for (let round = 0; round < 600; round++) {
    const name = random.pick([...names]), files = new Map(whole);
    files.set(name, random.mutate(whole.get(name) as Bytes) as Bytes);
    counts[(await verify(files)) ? "accepted" : "refused"]++;
  }
  const known = printKnownTrust(first.known);
  let unread = 0;
  for (let round = 0; round < 1000; round++) {
    if (parseKnownTrust(random.mutate(known), GUN) === undefined) unread++;
  }
  console.log(
    `damaged: ${counts.refused} refused, ${counts.accepted} accepted (it says the same); memories not read: ${unread}`,
  );
  assert.ok(counts.refused > 500);
});
