/** Boot counting as a machine lives through it: armed, marked good, fallen back, known bad, tried again. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot, type Booted } from "../lab/booted.ts";
import { chooseEntry, editVariables, markingUnit, mountPoints, variables } from "../lab/counting.ts";
import { type DeployedMachine, deployedMachine } from "../lab/deployed.ts";
import { damage, mount } from "../lab/disk.ts";
import type { LabMachine, Ran } from "../lab/machine.ts";
import * as t from "../lab/tar-writer.ts";

/** v1 is deployed and GRUB counts; v2 and v3 mark themselves good, `plain` does not. */
function countingMachine(more: t.TarItem[] = []): Promise<DeployedMachine> {
  const marking = { more: [...mountPoints(), ...markingUnit(), ...more] };
  const images = { v1: marking, v2: marking, v3: marking, plain: { more: mountPoints() } };
  return deployedMachine(images, { counts: true, stateMiB: 400 });
}

interface BootJson {
  counts: boolean;
  tries: string;
  next: string;
  running?: string;
  runningIsOnTrial: boolean;
  fellBack: boolean;
  marksItself: { active?: boolean; passive?: boolean };
  failedChecks: { name: string; why: string }[];
  knownBad: { source: string; why: string }[];
}

async function told(ran: Promise<Ran>): Promise<BootJson> {
  return JSON.parse((await ran).out) as BootJson;
}

async function good(booted: Booted, ...words: string[]): Promise<string> {
  const { status, out, err } = await booted.cos("boot", "good", ...words);
  assert.equal(status, 0, err);
  return out;
}

async function states(machine: LabMachine): Promise<Record<string, string>> {
  const { out } = await machine.must("status", "--json");
  const { slots } = JSON.parse(out) as { slots: { slot: string; version?: string; boot?: string }[] };
  return Object.fromEntries(slots.map(({ slot, version, boot }) => [slot, `${version} ${boot}`]));
}

Deno.test("an upgrade puts a system that marks itself on trial; cos boot good ends it, and a second time changes nothing", async () => {
  await using machine = await countingMachine();
  {
    await using booted = await boot(machine, "active");
    assert.equal(await good(booted), "Marked good: the running system stays.\n");
    const { status, err } = await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify");
    assert.equal(status, 0, err);
    assert.match(err, /trial {4}GRUB counts 3 boots/);
    assert.doesNotMatch(err, /Fallback is not armed/);
    // It runs, but is not active any more: what lies there now has not run yet.
    assert.equal(await good(booted), "Nothing to mark: the running system is not the active one.\n");
  }
  assert.deepEqual(await variables(machine.state), { cos_tries: "3" });
  assert.deepEqual(await states(machine), { active: "v2 trying", passive: "v1 good" });
  assert.match((await machine.must("status")).out, /^Fallback: armed, 3 tries left\.$/m);
  assert.deepEqual(await chooseEntry(machine.state), {
    entry: "cos",
    active: "A cos.tries_left=2 rd.emergency=reboot rd.shell=0 panic=5 systemd.crash_reboot",
    passive: "P",
  });
  {
    await using booted = await boot(machine, "active");
    const { runningIsOnTrial, tries } = await told(booted.cos("boot", "status", "--json"));
    assert.deepEqual([runningIsOnTrial, tries], [true, "2"]);
    assert.equal(await good(booted), "Marked good: the running system stays.\n");
    assert.equal(booted.stateIsReadOnly(), true);
    assert.equal(await good(booted), "It is marked good already; nothing is counted.\n");
    const { out } = await booted.cos("status", "--json");
    const { operations } = JSON.parse(out) as { operations?: unknown[] };
    assert.equal(operations, undefined);
  }
  assert.deepEqual(await variables(machine.state), {});
  assert.deepEqual(await states(machine), { active: "v2 good", passive: "v1 good" });
  assert.equal((await chooseEntry(machine.state)).active, "A");
});

Deno.test("a system that fails three times is left, remembered, refused, and tried again when told", async () => {
  await using machine = await countingMachine();
  {
    await using booted = await boot(machine, "active");
    await good(booted);
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).status, 0);
  }
  for (const left of [2, 1, 0]) {
    assert.match((await chooseEntry(machine.state)).active, new RegExp(` cos\\.tries_left=${left} `));
  }
  const fallback = { entry: "fallback", active: "A", passive: "P upgrade_failure" };
  assert.deepEqual(await chooseEntry(machine.state), fallback);
  assert.deepEqual(await chooseEntry(machine.state), fallback);
  {
    await using booted = await boot(machine, "passive", { cmdline: "BOOT_IMAGE=x upgrade_failure" });
    const plan = await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify", "--dry-run");
    assert.equal(plan.status, 40);
    assert.equal(await good(booted), "This is the fallback: the active system failed, and that is remembered.\n");
    assert.equal(await good(booted), "Nothing to mark: the running system is not the active one.\n");
    const found = await told(booted.cos("boot", "status", "--json"));
    assert.deepEqual([found.next, found.running, found.fellBack, found.knownBad.length], [
      "passive",
      "passive",
      true,
      1,
    ]);
    assert.match((await booted.cos("status")).out, /state {4}FAILED to boot/);
    const { status, err } = await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify");
    assert.equal(status, 40);
    assert.match(
      err,
      /^Error: Refused oci:\S+:v2 \([0-9a-f]{12}\): it was tried here before, and it did not come up\.\n {2}Publish a mended image, or try this one again with: --retry-bad\n$/m,
    );
    // On trial again without fetching anything, and it fails again.
    assert.equal((await booted.cos("boot", "retry")).out, "On trial again, for 3 boots: Small v2. Reboot to try it.\n");
    assert.equal((await booted.cos("boot", "retry")).status, 43);
  }
  assert.deepEqual(await states(machine), { active: "v2 trying", passive: "v1 good" });
  for (let i = 0; i < 3; i++) assert.equal((await chooseEntry(machine.state)).entry, "cos");
  assert.deepEqual(await chooseEntry(machine.state), fallback);
  {
    // A controller comes before any unit: the failure is remembered all the same, also with the image itself gone.
    await using booted = await boot(machine, "passive");
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).status, 40);
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v3", "--no-verify")).status, 0);
    assert.deepEqual(await variables(machine.state), { cos_tries: "3" });
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).status, 40);
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify", "--retry-bad")).status, 0);
  }
  assert.deepEqual(await states(machine), { active: "v2 trying", passive: "v1 good" });
  assert.equal((await chooseEntry(machine.state)).entry, "cos");
  {
    await using booted = await boot(machine, "active");
    await good(booted);
    assert.deepEqual((await told(booted.cos("boot", "status", "--json"))).knownBad, []);
  }
});

Deno.test("a rollback after a fallback makes the passive system the default for good", async () => {
  await using machine = await countingMachine();
  {
    await using booted = await boot(machine, "active");
    await good(booted);
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).status, 0);
  }
  for (let i = 0; i < 4; i++) await chooseEntry(machine.state);
  {
    await using booted = await boot(machine, "passive");
    const { status, err } = await booted.cos("rollback");
    assert.equal(status, 0, err);
  }
  assert.deepEqual(await variables(machine.state), {});
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, active?.label, active?.ino], ["v1", "COS_ACTIVE", passive?.ino]);
  assert.equal((await chooseEntry(machine.state)).entry, "cos");
  assert.equal((await machine.cos("upgrade", machine.image("v2"), "--no-verify")).status, 40);
});

Deno.test("a rollback to what ran well is not counted; one to what never ran is", async () => {
  await using machine = await countingMachine();
  {
    await using booted = await boot(machine, "active");
    await good(booted);
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).status, 0);
  }
  await chooseEntry(machine.state);
  {
    await using booted = await boot(machine, "active");
    assert.equal((await booted.cos("rollback")).status, 0);
  }
  assert.deepEqual(await variables(machine.state), {});
  assert.deepEqual(await states(machine), { active: "v1 good", passive: "v2 new" });
  await using booted = await boot(machine, "active");
  assert.equal((await booted.cos("rollback")).status, 0);
  assert.deepEqual(await variables(machine.state), { cos_tries: "3" });
  assert.deepEqual(await states(machine), { active: "v2 trying", passive: "v1 good" });
});

Deno.test("while the running system is on trial an upgrade is refused, but for what is there already, or when it is accepted", async () => {
  await using machine = await countingMachine();
  {
    await using booted = await boot(machine, "active");
    await good(booted);
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).status, 0);
  }
  await chooseEntry(machine.state);
  await using booted = await boot(machine, "active");
  const refused = await booted.cos("upgrade", "oci:/tmp/os:v3", "--no-verify");
  assert.deepEqual([refused.status, refused.err], [
    41,
    "Error: Cannot upgrade on /run/initramfs/cos-state: the running system is still on trial, and an upgrade would give up the one before it.\n" +
    "  If it runs well, say so: cos boot good. Or say it with the upgrade: --accept-running\n",
  ]);
  assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).out, "Nothing to do.\n");
  assert.deepEqual(await variables(machine.state), { cos_tries: "2" });
  assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v3", "--no-verify", "--accept-running")).status, 0);
  assert.deepEqual(await states(machine), { active: "v3 trying", passive: "v2 good" });
});

Deno.test("while the running system is on trial an upgrade to the one before it only switches: nothing is given up", async () => {
  await using machine = await countingMachine();
  {
    await using booted = await boot(machine, "active");
    await good(booted);
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify")).status, 0);
    // Booted by hand, or by a menu that reads no hook.
  }
  await using booted = await boot(machine, "active");
  assert.match((await booted.cos("boot", "status")).out, /^This boot was not counted: /m);
  const { status, err } = await booted.cos("upgrade", "oci:/tmp/os:v1", "--no-verify");
  assert.equal(status, 0, err);
  assert.deepEqual(await variables(machine.state), {});
  assert.deepEqual(await states(machine), { active: "v1 good", passive: "v2 new" });
});

Deno.test("a system that cannot mark itself good is not put on trial, and that is said", async () => {
  await using machine = await countingMachine();
  const { err } = await machine.must("upgrade", machine.image("plain"), "--no-verify");
  const warning = "Fallback is not armed: the new system has no enabled unit that runs cos boot good, " +
    "and would be left however well it runs; choose the fallback entry by hand if need be.";
  assert.ok(err.includes(`Warning: ${warning}\n`), err);
  assert.deepEqual(await variables(machine.state), {});
  const { out } = await machine.must("boot", "status");
  assert.match(out, /^The active system cannot say by itself that it runs well\.$/m);
  assert.match(out, /^The passive system says by itself that it runs well\.$/m);
});

Deno.test("arming resets what older tools count with, and keeps what else is in the block", async () => {
  await using machine = await countingMachine();
  const counted = ["enable_boot_assessment=yes", "boot_assessment_tentative=yes"];
  await editVariables(machine.state, "set", ...counted, "mine=1");
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  assert.deepEqual(await variables(machine.state), { cos_tries: "3", mine: "1" });
});

const check = (name: string, script: string, options: Partial<{ mode: number; uid: number }> = {}) =>
  t.file(`etc/cos/checks.d/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755, ...options });

Deno.test("operator's checks: failing, hanging, dying and untrusted ones are recorded by name, and nothing is marked", async () => {
  await using machine = await countingMachine([
    t.directory("etc/cos/checks.d"),
    check("10-fine", "exit 0"),
    check("20-fails", "echo the database does not answer >&2; exit 3"),
    check("30-hangs", "sleep 1000 & exec sleep 1000"),
    check("40-dies", "kill -9 $$"),
    check("50-open", "exit 0", { mode: 0o777 }),
    check("60-stranger", "exit 0", { uid: 1000 }),
    t.file("etc/cos/checks.d/README", "no check"),
    t.file("etc/cos/checks.d/70-no-program", "#!/no/such/interpreter\n", { mode: 0o755 }),
  ]);
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  await chooseEntry(machine.state);
  await using booted = await boot(machine, "active");
  const { status, err } = await booted.cos("boot", "good", "--checks", "--check-timeout", "1");
  assert.equal(status, 42, err);
  assert.match(err, /^Warning: \/etc\/cos\/checks\.d\/README is not run: it is not executable\.$/m);
  const { failedChecks, tries } = await told(booted.cos("boot", "status", "--json"));
  assert.deepEqual(failedChecks.map(({ name, why }) => [name, why.replace(/started: .*/, "started")]), [
    ["20-fails", "exit status 3, it said: the database does not answer"],
    ["30-hangs", "no end after 1 s"],
    ["40-dies", "ended by SIGKILL"],
    ["50-open", "not run, it can be written by others than root"],
    ["60-stranger", "not run, it does not belong to root"],
    ["70-no-program", "cannot be started"],
  ]);
  assert.equal(tries, "2");
  assert.deepEqual(await states(machine), { active: "v2 trying", passive: "v1 new" });
  assert.equal(await good(booted), "Marked good: the running system stays.\n");
});

Deno.test("checks that pass mark it good; on the fallback none are run", async () => {
  await using machine = await countingMachine([
    t.directory("etc/cos/checks.d"),
    check("10-counts", "test -x /dist/cos && echo ran >> /tmp/checked"),
  ]);
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  await chooseEntry(machine.state);
  const ran = () => Deno.readTextFileSync(join(machine.directory, "checked"));
  {
    await using booted = await boot(machine, "active");
    assert.equal(await good(booted, "--checks"), "Marked good: the running system stays.\n");
    assert.equal(ran(), "ran\n");
  }
  await using booted = await boot(machine, "passive");
  assert.equal(await good(booted, "--checks"), "Nothing to mark: the running system is not the active one.\n");
  assert.equal(ran(), "ran\n");
});

Deno.test("a trial that fails by its checks is remembered with them; a second trial begins without", async () => {
  await using machine = await countingMachine([t.directory("etc/cos/checks.d"), check("20-fails", "exit 3")]);
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  for (let i = 0; i < 3; i++) {
    await chooseEntry(machine.state);
    await using booted = await boot(machine, "active");
    assert.equal((await booted.cos("boot", "good", "--checks")).status, 42);
  }
  assert.equal((await chooseEntry(machine.state)).entry, "fallback");
  await using booted = await boot(machine, "passive");
  // The fallback has the same check, which fails here too: it is not run, for there is nothing to fall back to from it.
  assert.match(await good(booted, "--checks"), /^This is the fallback/);
  const { knownBad } = await told(booted.cos("boot", "status", "--json"));
  assert.deepEqual(knownBad.map(({ why }) => why), ["its checks failed (20-fails: exit status 3)"]);
  assert.equal((await booted.cos("boot", "retry")).status, 0);
  assert.deepEqual((await told(booted.cos("boot", "status", "--json"))).failedChecks, []);
});

Deno.test("what a cut upgrade has armed is taken back before a good system's checks could count against it", async () => {
  await using machine = await countingMachine([t.directory("etc/cos/checks.d"), check("20-fails", "exit 3")]);
  {
    await using booted = await boot(machine, "active");
    await good(booted);
  }
  await editVariables(machine.state, "set", "cos_tries=3");
  await chooseEntry(machine.state);
  await using booted = await boot(machine, "active");
  assert.equal(await good(booted, "--checks"), "It is marked good already; nothing is counted.\n");
  assert.deepEqual(await variables(machine.state), {});
});

Deno.test("upgrade --try: one boot, kept only if it is marked good; refused where that cannot be had", async () => {
  await using machine = await countingMachine();
  {
    await using booted = await boot(machine, "active");
    await good(booted);
    const { status, err } = await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify", "--try");
    assert.equal(status, 0, err);
    assert.match(err, /trial {4}GRUB counts 1 boot in which/);
  }
  assert.equal((await chooseEntry(machine.state)).entry, "cos");
  {
    // The last try, and the only one: it runs, so it may still be marked.
    await using booted = await boot(machine, "active");
    const { runningIsOnTrial, fellBack } = await told(booted.cos("boot", "status", "--json"));
    assert.deepEqual([runningIsOnTrial, fellBack], [true, false]);
  }
  assert.equal((await chooseEntry(machine.state)).entry, "fallback");
  await using booted = await boot(machine, "passive");
  assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v2", "--no-verify", "--try")).status, 40);
  const before = await variables(machine.state);
  const plain = await booted.cos("upgrade", "oci:/tmp/os:plain", "--no-verify", "--try");
  assert.equal(plain.status, 43);
  assert.match(plain.err, /^Error: Cannot try oci:\/tmp\/os:plain for one boot: the new system has no enabled unit/m);
  assert.deepEqual(await variables(machine.state), before);
  assert.equal((await booted.cos("boot", "install", "--remove")).status, 0);
  assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v3", "--no-verify", "--try")).status, 43);
});

Deno.test("a system that fell back here is neither rolled back to nor switched to, unless that is meant", async () => {
  await using machine = await countingMachine();
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  for (let tries = 0; tries < 4; tries++) await chooseEntry(machine.state);
  {
    await using booted = await boot(machine, "passive", { cmdline: "upgrade_failure" });
    await good(booted);
  }
  {
    // As a cut in the middle of the operator's rollback has left it.
    await using state = await mount(machine.state, "rw");
    const at = (name: string) => join(state.path, "cOS", name);
    for (const [from, to] of [["active.img", "x"], ["passive.img", "active.img"], ["x", "passive.img"]]) {
      Deno.renameSync(at(from ?? ""), at(to ?? ""));
    }
  }
  await editVariables(machine.state, "unset", "cos_tries");
  await machine.must("repair");
  const before = await states(machine);
  assert.deepEqual(before, { active: "v1 new", passive: "v2 bad" });
  for (const words of [["rollback"], ["switch", "passive"]]) {
    const { status, err } = await machine.cos(...words);
    assert.equal(status, 40, err);
    assert.match(err, /^Error: Refused oci:\S+os:v2 \(\w+\): it was tried here before, and it did not come up\.$/m);
    assert.match(err, /try it again with: --retry-bad/);
    assert.deepEqual(await states(machine), before);
  }
  await machine.must("rollback", "--retry-bad");
  assert.deepEqual(await states(machine), { active: "v2 trying", passive: "v1 new" });
});

Deno.test("a boot that GRUB ended in the fallback says so before all tries are used up; before any of them it does not", async () => {
  await using machine = await countingMachine();
  const fallback = async () => {
    await using booted = await boot(machine, "passive");
    return /^Fallback: .*$/m.exec((await booted.cos("status")).out)?.[0];
  };
  const started = (times: string, left: string) =>
    `Fallback: in this boot, ${left} left. The active system was started ${times} and did not come up, unless the passive one was chosen by hand.`;
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  assert.equal(await fallback(), "Fallback: armed, 3 tries left.");
  for (const expected of [started("once", "2 tries"), started("twice", "1 try")]) {
    await chooseEntry(machine.state);
    assert.equal(await fallback(), expected);
  }
  {
    await using booted = await boot(machine, "active");
    assert.match((await booted.cos("status")).out, /^Fallback: armed, 1 try left\.$/m);
    assert.equal(await good(booted), "Marked good: the running system stays.\n");
    assert.equal((await booted.cos("upgrade", "oci:/tmp/os:v3", "--no-verify", "--try")).status, 0);
  }
  assert.equal(await fallback(), "Fallback: armed, 1 try left.");
});

Deno.test("an image whose filesystem is gone is told of as damaged, and the next upgrade replaces it", async () => {
  await using machine = await countingMachine();
  await machine.must("upgrade", machine.image("v2"), "--no-verify");
  {
    await using state = await mount(machine.state, "rw");
    await damage(join(state.path, "cOS/active.img"));
  }
  const { out } = await machine.must("status");
  assert.match(
    out,
    /^ {2}active {3}a system of unknown version\n {11}proof .*\n {11}state {4}DAMAGED: no filesystem is found in it$/m,
  );
  await chooseEntry(machine.state);
  {
    await using booted = await boot(machine, "passive");
    assert.match((await booted.cos("status")).out, /^Fallback: in this boot, 2 tries left\. /m);
  }
  await machine.must("upgrade", machine.image("v3"), "--no-verify");
  assert.deepEqual(await states(machine), { active: "v3 trying", passive: "v1 new" });
});
