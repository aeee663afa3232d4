/** `cos boot install`: what it writes, what it keeps, what it refuses; and the script, run by a stand-in for GRUB. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { chooseEntry, type Chosen, type Menu, mountPoints, variables } from "../lab/counting.ts";
import { deployedMachine } from "../lab/deployed.ts";
import { mount, type StateFilesystem } from "../lab/disk.ts";
import type { LabMachine } from "../lab/machine.ts";
import { run } from "../lab/run.ts";
import { staticFile } from "../lab/static-file.ts";

const NAMES = ["boot_assessment", "grub_boot_assessment", "grub_image_uuid", "grubcustom"];
const EMPTY = "# GRUB Environment Block\n".padEnd(1024, "#");

const machineOn = (stateFilesystem: StateFilesystem = "ext4") =>
  deployedMachine(
    { v1: { more: mountPoints() } },
    { stateMiB: stateFilesystem === "ext4" ? 128 : 400, stateFilesystem },
  );

async function write(machine: LabMachine, files: Record<string, string>): Promise<void> {
  await using state = await mount(machine.state, "rw");
  for (const [name, text] of Object.entries(files)) {
    const path = join(state.path, name);
    Deno.mkdirSync(join(path, ".."), { recursive: true });
    Deno.writeTextFileSync(path, text);
  }
}

/** The files at the top of the state partition. */
async function files(machine: LabMachine): Promise<Record<string, string>> {
  await using state = await mount(machine.state);
  const names = [...Deno.readDirSync(state.path)].filter(({ isFile }) => isFile).map(({ name }) => name).sort();
  return Object.fromEntries(names.map((name) => [name, Deno.readTextFileSync(join(state.path, name))]));
}

async function obstacle(machine: LabMachine): Promise<string | undefined> {
  const { out } = await machine.must("boot", "status", "--json");
  const { counts, obstacle } = JSON.parse(out) as { counts: boolean; obstacle?: { code: string } };
  assert.equal(counts, obstacle === undefined);
  return obstacle?.code;
}

const SOURCES = new URL("../../packaging/grub/", import.meta.url);

Deno.test("grub-script-check finds nothing wrong with our parts", async () => {
  for (const { name } of Deno.readDirSync(SOURCES)) {
    await run("/usr/bin/grub-script-check", [new URL(name, SOURCES).pathname]);
  }
});

Deno.test("installed, installed again, removed: what was there before is there afterwards", async () => {
  await using machine = await machineOn();
  const before = await files(machine);
  assert.equal(await obstacle(machine), "no-hook");
  const { out } = await machine.must("boot", "install");
  assert.equal(out, "Installed: boot_assessment, grub_boot_assessment, grub_image_uuid, grubcustom\n");
  assert.equal(await obstacle(machine), undefined);
  const after = await files(machine);
  assert.deepEqual(Object.keys(after), NAMES);
  assert.deepEqual(after, {
    boot_assessment: EMPTY,
    grub_boot_assessment: Deno.readTextFileSync(new URL("grub_boot_assessment.cfg", SOURCES)),
    grub_image_uuid: Deno.readTextFileSync(new URL("grub_image_uuid.cfg", SOURCES)),
    grubcustom: ["grubcustom.cfg", "grubcustom-image.cfg"].map((n) => Deno.readTextFileSync(new URL(n, SOURCES))).join(
      "",
    ),
  });
  assert.equal((await machine.must("boot", "install")).out, "It is all there already.\n");
  assert.deepEqual(await files(machine), after);
  assert.equal(
    (await machine.must("boot", "install", "--remove")).out,
    "Removed: grubcustom, grub_image_uuid, grub_boot_assessment, boot_assessment\n",
  );
  assert.deepEqual(await files(machine), before);
  assert.equal((await machine.must("boot", "install", "--remove")).out, "There is nothing of ours to remove.\n");
});

Deno.test("what others wrote is kept: their hook, their script, their variables", async () => {
  await using machine = await machineOn();
  const block = EMPTY.replace(/\n#+$/, "\nmine=1\nboot_assessment_tentative=yes\n").padEnd(1024, "#");
  const theirs = {
    boot_assessment: block,
    grub_boot_assessment: "# theirs\n",
    grubcustom: "set color=1 # no newline",
    "grub2/grub.cfg": "source (root)/grubcustom\n",
  };
  await write(machine, theirs);
  assert.equal(await obstacle(machine), "no-hook");
  await machine.must("boot", "install");
  const after = await files(machine);
  assert.equal(after["grub_boot_assessment.before-cos"], "# theirs\n");
  assert.ok(after.grubcustom?.startsWith("set color=1 # no newline\n# cos: boot counting, begin\n"));
  assert.equal(after.boot_assessment, block);
  assert.equal(await obstacle(machine), undefined);
  await machine.must("boot", "install", "--remove");
  const { "grub2/grub.cfg": _, ...top } = theirs;
  assert.deepEqual(await files(machine), { ...top, grubcustom: "set color=1 # no newline\n" });
});

Deno.test("an older tool's hook leads to our script: it is left as it is, before ours", async () => {
  await using machine = await machineOn();
  const hook = 'set f="/grub_boot_assessment"\nsearch --no-floppy --file --set=d "${f}"\nsource "(${d})${f}"\n';
  await write(machine, { grubcustom: hook, grub_boot_assessment: "# theirs\n", boot_assessment: EMPTY });
  assert.equal(await obstacle(machine), "no-script");
  assert.equal(
    (await machine.must("boot", "install")).out,
    "Installed: grub_boot_assessment, grub_image_uuid, grubcustom\n",
  );
  assert.equal(
    (await files(machine)).grubcustom,
    hook + Deno.readTextFileSync(new URL("grubcustom-image.cfg", SOURCES)),
  );
  assert.equal(await obstacle(machine), undefined);
});

Deno.test("a block that nobody can count in is named, and made anew with its variables", async () => {
  await using machine = await machineOn();
  await machine.must("boot", "install");
  const mine = EMPTY.replace(/\n#+$/, "\nmine=1\n");
  const cases: [code: string, content: string, then: Record<string, string>][] = [
    ["size", mine.padEnd(2048, "#"), { mine: "1" }],
    ["size", mine, { mine: "1" }],
    ["not-a-block", "", {}],
    ["not-a-block", "#".repeat(1024), {}],
  ];
  for (const [code, content, then] of cases) {
    await write(machine, { boot_assessment: content });
    assert.equal(await obstacle(machine), code);
    assert.match((await machine.must("status")).out, /^Fallback: none|^Fallback: not armed\. /m);
    await machine.must("boot", "install");
    assert.equal(await obstacle(machine), undefined);
    assert.deepEqual(await variables(machine.state), then);
  }
  await write(machine, { boot_assessment: mine.replace("mine=1", `mine=${"x".repeat(500)}`).padEnd(1024, "#") });
  assert.equal(await obstacle(machine), "full");
  const { status, err } = await machine.cos("boot", "install");
  assert.equal(status, 43);
  assert.match(err, /^Error: Cannot let GRUB count boots on \S+: the variables in boot_assessment do not fit/m);
  {
    await using state = await mount(machine.state, "rw");
    Deno.removeSync(join(state.path, "boot_assessment"));
  }
  assert.equal(await obstacle(machine), "no-block");
  {
    await using state = await mount(machine.state, "rw");
    Deno.symlinkSync("grubcustom", join(state.path, "boot_assessment"));
  }
  assert.equal(await obstacle(machine), "not-a-block");
});

Deno.test("a menu that reads no hook, and one that counts by itself", async () => {
  await using machine = await machineOn();
  await write(machine, { "grub2/grub.cfg": "menuentry x {\n}\n" });
  const { status, err } = await machine.cos("boot", "install");
  assert.equal(status, 43);
  assert.match(err, /the boot menu on the state partition does not read grubcustom\.$/m);
  assert.deepEqual(await files(machine), {});
  await write(machine, { "grub2/grub.cfg": "load_env -f (root)/boot_assessment cos_tries\n" });
  assert.equal(await obstacle(machine), "no-block");
  assert.equal(
    (await machine.must("boot", "install")).out,
    "Installed: boot_assessment, grub_image_uuid, grubcustom\n",
  );
  assert.equal(await obstacle(machine), undefined);
});

Deno.test("GRUB cannot count on btrfs: refused by name, and nothing is written", async () => {
  await using machine = await machineOn("btrfs");
  const { status, err } = await machine.cos("boot", "install");
  assert.deepEqual([status, err], [
    43,
    `Error: Cannot let GRUB count boots on ${machine.state}: GRUB cannot write to btrfs, so it cannot count.\n` +
    "  Fallback then stays by hand, with the fallback entry of the boot menu; see: cos boot status\n",
  ]);
  assert.deepEqual(await files(machine), {});
});

Deno.test("XFS: installed, and GRUB's own reader sees it without the journal", async () => {
  await using machine = await machineOn("xfs");
  await machine.must("boot", "install");
  assert.equal(await obstacle(machine), undefined);
  if (!existsSync("/usr/bin/grub-fstest")) return;
  for (const name of NAMES) {
    const { stdout } = await new Deno.Command("grub-fstest", { args: [machine.state, "cat", `/${name}`] }).output();
    assert.equal(new TextDecoder().decode(stdout), (await files(machine))[name], name);
  }
});

Deno.test("the script chooses what the protocol says, whatever the menu and the block hold", async () => {
  await using machine = await machineOn();
  await machine.must("boot", "install");
  const PANIC = "rd.emergency=reboot rd.shell=0 panic=5 systemd.crash_reboot";
  const FAILED = { entry: "fallback", active: "A", passive: "P upgrade_failure" };
  const PLAIN = { entry: "cos", active: "A", passive: "P" };
  const counted = (left: number) => ({ ...PLAIN, active: `A cos.tries_left=${left} ${PANIC}` });
  const cases: [block: string, menu: Menu, chosen: Chosen, after: Record<string, string>][] = [
    ["", {}, PLAIN, {}],
    ["cos_tries=3\n", {}, counted(2), { cos_tries: "2" }],
    ["cos_tries=2\n", {}, counted(1), { cos_tries: "1" }],
    ["cos_tries=1\n", { default: "0" }, { ...counted(0), entry: "0" }, { cos_tries: "0" }],
    ["cos_tries=0\n", {}, FAILED, { cos_tries: "0" }],
    ["cos_tries=x\n", {}, FAILED, { cos_tries: "x" }],
    ["cos_tries=3\n", { unwritable: true }, { ...FAILED, passive: "P upgrade_failure cos.env_unwritable" }, {
      cos_tries: "3",
    }],
    // A one-shot entry is no try, and neither is an operator's own default.
    ["cos_tries=3\n", { default: "recovery", selectedEntry: "recovery" }, { ...PLAIN, entry: "recovery" }, {
      cos_tries: "3",
    }],
    ["cos_tries=0\n", { selectedEntry: "cos" }, PLAIN, { cos_tries: "0" }],
    ["cos_tries=3\n", { default: "recovery" }, { ...PLAIN, entry: "recovery" }, { cos_tries: "3" }],
    // What an older tool armed goes on as it did.
    ["enable_boot_assessment=yes\n", {}, { ...PLAIN, active: `A ${PANIC}` }, {
      enable_boot_assessment: "yes",
      boot_assessment_tentative: "yes",
    }],
    ["enable_boot_assessment=yes\nboot_assessment_tentative=yes\n", {}, FAILED, {
      enable_boot_assessment: "yes",
      boot_assessment_tentative: "yes",
    }],
    // Nothing else of the file is believed.
    ["default=recovery\nextra_active_cmdline=x\n", {}, PLAIN, { default: "recovery", extra_active_cmdline: "x" }],
  ];
  for (const [block, menu, chosen, after] of cases) {
    const what = JSON.stringify([block, menu]);
    await write(machine, { boot_assessment: EMPTY.replace(/\n#+$/, `\n${block}`).padEnd(1024, "#") });
    assert.deepEqual(await chooseEntry(machine.state, menu), chosen, what);
    assert.deepEqual(await variables(machine.state), after, what);
  }
});

Deno.test("a program that works on the partition while boot good begins is waited for", async () => {
  await using machine = await machineOn();
  await using state = await mount(machine.state);
  const lock = new Deno.Command("flock", {
    args: [state.path, "sh", "-c", "echo locked; read x"],
    stdin: "piped",
    stdout: "piped",
  })
    .spawn();
  const locked = lock.stdout.getReader();
  assert.equal(new TextDecoder().decode((await locked.read()).value), "locked\n");
  const waiting = new Deno.Command(await staticFile(), {
    args: ["boot", "good", "--state", machine.state],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let told = "";
  for await (const text of waiting.stderr.pipeThrough(new TextDecoderStream())) {
    const before = told;
    told += text;
    if (told.includes("waiting for it") && !before.includes("waiting for it")) await lock.stdin.close();
  }
  assert.equal((await waiting.status).code, 0, told);
  assert.equal(
    await new Response(waiting.stdout).text(),
    "Nothing to mark: the running system is not the active one.\n",
  );
  await locked.cancel();
  await lock.status;
});
