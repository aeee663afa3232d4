/** What the power-cut harness takes for a machine that boots: each rule has a state that breaks it. */
import assert from "node:assert/strict";
import { judgeBoots, type MachineKind, type RootBy } from "../lab/cut-boots.ts";
import { type LinuxFiles, wholeFile } from "../lab/disk-views.ts";

const image = (name: string, good: boolean) => ({ name, digest: name, boot: `boot of ${name}`, tree: name, good });
/** It ran well before; it is new. */
const OLD = image("old", true), NEW = image("new", false);
const MACHINE: MachineKind = {
  images: [OLD, NEW],
  fromNothing: false,
  counts: false,
  armed: false,
  matchesLabels: true,
};

interface Disk {
  /** By slot the image that GRUB reads. */
  grub: { active?: string; passive?: string };
  /** By name the image that Linux finds, with its label after a colon. */
  linux: Record<string, string>;
  tries?: string;
  last?: boolean;
}

function judge(by: RootBy, { grub, linux, tries = "", last = false }: Disk, machine: Partial<MachineKind> = {}) {
  const inodes = [...new Set(Object.values(linux))];
  const files: LinuxFiles = new Map(
    Object.entries(linux).map(([name, text]) => {
      const [digest = "", label = "COS_ACTIVE"] = text.split(":");
      const content = wholeFile(new Uint8Array());
      return [`${name}.img`, { ino: inodes.indexOf(text), digest, uuid: digest, label, content }];
    }),
  );
  const read = (name: string | undefined) =>
    name === undefined ? { boot: "none" } : { boot: `boot of ${name}`, uuid: name };
  const view = { active: read(grub.active), passive: read(grub.passive) };
  const { problems, mixed, spent } = judgeBoots({ ...MACHINE, ...machine }, by, {
    grub: view,
    linux: files,
    tries,
    last,
  });
  return { problems, mixed, spent };
}

const WELL = { problems: [], mixed: undefined, spent: false };
const COUNTS = { counts: true };

Deno.test("two systems that both readers agree on; a new one with the old one behind it", () => {
  for (const by of ["uuid", "name"] as const) {
    const linux = { active: "new", passive: "old:COS_PASSIVE" };
    assert.deepEqual(judge(by, { grub: { active: "new", passive: "old" }, linux }), WELL);
    assert.deepEqual(judge(by, { grub: { active: "new", passive: "old" }, linux, tries: "3" }, COUNTS), WELL);
  }
});

Deno.test("a new system without a way back, nothing to boot, a root that is not whole", () => {
  const alone = judge("uuid", { grub: { active: "new" }, linux: { active: "new" } });
  assert.deepEqual(alone.problems, ["a new system, and no way back"]);
  assert.deepEqual(judge("uuid", { grub: {}, linux: {} }).problems, ["GRUB finds nothing to boot"]);
  const damaged = judge("name", { grub: { active: "old", passive: "old" }, linux: { active: "?", passive: "old" } });
  assert.deepEqual(damaged.problems, ["GRUB boots active.img, and Linux finds no whole image there"]);
  assert.deepEqual(judge("uuid", { grub: {}, linux: {} }, { fromNothing: true }), WELL);
  const ended = judge("uuid", { grub: {}, linux: {}, last: true }, { fromNothing: true });
  assert.deepEqual(ended.problems, ["GRUB finds nothing to boot"]);
});

Deno.test("a name that leads the two readers to two images: mixed by the name, not by the UUID", () => {
  const disk = { grub: { active: "old", passive: "old" }, linux: { active: "new", passive: "old:COS_PASSIVE" } };
  assert.deepEqual(judge("uuid", disk), WELL);
  assert.deepEqual(judge("name", disk), { ...WELL, mixed: "the kernel of old, the root of new" });
  assert.deepEqual(judge("name", { ...disk, last: true }).problems, [
    "the kernel of old, the root of new, though the operation has ended",
  ]);
  // The kernel's image has its third name alone, or none any more.
  const spare = { grub: { active: "new", passive: "old" }, linux: { active: "old", passive: "old", spare: "new" } };
  assert.deepEqual(judge("uuid", spare), WELL);
  const gone = { grub: { active: "new", passive: "old" }, linux: { active: "old", passive: "old" } };
  assert.equal(judge("uuid", gone).mixed, "the kernel of new, the root of old");
});

Deno.test("where tries are counted: labels that entries match, tries that are spent, tries that are used up", () => {
  const grub = { active: "new", passive: "old" };
  const unlabelled = { grub, linux: { active: "new", passive: "old" }, tries: "3" };
  assert.deepEqual(judge("name", unlabelled, COUNTS).problems, [
    'the counter is "3", and the way back does not fit its label',
  ]);
  assert.deepEqual(judge("name", unlabelled, { ...COUNTS, matchesLabels: false }), WELL);
  const spent = { grub, linux: { active: "new:COS_PASSIVE", passive: "old:COS_PASSIVE" }, tries: "2" };
  assert.deepEqual(judge("name", spent, COUNTS), { ...WELL, spent: true });
  const stuck = { ...spent, tries: "" };
  assert.deepEqual(judge("name", stuck, COUNTS).problems, [
    'the counter is "", and no entry that is reached fits its label',
  ]);
  const rests = {
    grub: { active: "?", passive: "old" },
    linux: { active: "?", passive: "old:COS_PASSIVE" },
    tries: "0",
  };
  assert.deepEqual(judge("name", rests, COUNTS), WELL);
  const unarmed = { grub, linux: { active: "new", passive: "old:COS_PASSIVE" }, tries: "" };
  assert.deepEqual(judge("name", unarmed, COUNTS), WELL);
  assert.deepEqual(judge("name", unarmed, { ...COUNTS, armed: true }).problems, [
    'the counter is "", and nothing leads back by itself',
  ]);
});
