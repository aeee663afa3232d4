/** What of a proof does not depend on signatures: the clock, and who may waive. */
import assert from "node:assert/strict";
import type { Policy } from "../../lib/config/policy.ts";
import { type ProofSettings, prove } from "../../lib/operations/prove.ts";
import type { SourceSettings } from "../../lib/operations/source.ts";
import type { System } from "../../lib/system/system.ts";
import type { Requirement } from "../../lib/trust/mod.ts";
import { rejectionOf } from "../lab/expect.ts";

const BUILT = Date.UTC(2026, 10, 1), IMAGE = { kind: "directory", path: "/tmp" } as const;
const source = { kind: "directory", reference: IMAGE, name: "dir:/tmp" } as const;

function policyOf(requirement: Partial<Requirement>): Policy {
  const scope = { name: "directory /tmp", requirements: [] };
  const whole: Requirement = {
    type: "test",
    words: "tested",
    proves: true,
    needs: [],
    verify: () => Promise.resolve({ trusted: false, reason: "it is not" }),
    ...requirement,
  };
  return {
    origin: "/etc/cos/policy.json",
    own: true,
    file: { scopes: [scope], scopeOf: () => scope },
    prepare: () => Promise.resolve([whole]),
    readsAttachments: () => Promise.resolve(true),
  };
}

function ask(now: number, requirement: Partial<Requirement>, more: Partial<ProofSettings> = {}) {
  const settings = { image: IMAGE, policy: () => Promise.resolve(policyOf(requirement)), builtAt: BUILT, ...more };
  return prove(
    { now: () => now } as System,
    source,
    settings as ProofSettings & SourceSettings,
    {} as never,
    new AbortController().signal,
  );
}

Deno.test("a clock that is earlier than the program verifies nothing, and is named", async () => {
  const { code, message } = await rejectionOf(() => ask(BUILT - 1, { needs: ["bundles"] }));
  assert.deepEqual([code, message], [
    "CLOCK",
    "Cannot verify anything: the clock says 2026-10-31T23:59:59.999Z, and this program is of 2026-11-01T00:00:00.000Z.",
  ]);
  // What asks for no signature needs no clock.
  assert.equal((await rejectionOf(() => ask(BUILT - 1, {}))).code, "UNTRUSTED");
  assert.equal((await rejectionOf(() => ask(BUILT, { needs: ["bundles"] }))).code, "UNTRUSTED");
});

Deno.test("the operator's word is recorded with who said it, and no policy is read for it", async () => {
  const policy = () => Promise.reject(new Error("it was read"));
  assert.deepEqual(await ask(BUILT, {}, { policy, waiver: { word: "--no-verify", by: "ops" } }), {
    scheme: "skipped",
    word: "--no-verify",
    by: "ops",
    at: "2026-11-01T00:00:00.000Z",
  });
});
