/** The older tools' upgrades, with their own words, files and variables: what they did, said, and ended with. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot, type Booted, type BootOptions } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { deployedMachine, UPGRADED, versions } from "../lab/deployed.ts";
import { mount, mountImage } from "../lab/disk.ts";
import { type LabMachine, type Ran, runProgram } from "../lab/machine.ts";
import { run } from "../lab/run.ts";
import { staticFile } from "../lab/static-file.ts";

interface Legacy extends AsyncDisposable {
  machine: LabMachine;
  booted: Booted;
}

/** A machine that runs v1; v2 is in the layout at /tmp/os. */
async function legacyMachine(options: BootOptions = {}): Promise<Legacy> {
  await using made = new AsyncDisposableStack();
  const images = { v1: { more: mountPoints() }, v2: { more: mountPoints() } };
  const machine = made.use(await deployedMachine(images, { stateMiB: 300 }));
  const booted = made.use(await boot(machine, "active", options)), kept = made.move();
  return { machine, booted, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

const IMAGE = "oci:/tmp/os:v2";
const NO_POLICY =
  /^Error: Refused oci:\/tmp\/os:v2 \([0-9a-f]{12}\): nothing proves who made it, for there is no policy\.$/m;

/** Status and the lines that people must see: warnings and errors. */
const ended = (
  { status, err }: Ran,
) => [status, ...err.split("\n").filter((line) => /^(?:Warning|Error): /.test(line))];

async function proofOf({ state }: LabMachine): Promise<string> {
  await using mounted = await mount(state);
  const record = JSON.parse(Deno.readTextFileSync(join(mounted.path, "cOS/state.json"))) as {
    images: Record<string, { version: string; verification: { word?: string; by?: string } }>;
  };
  const { word, by } = Object.values(record.images).find(({ version }) => version === "v2")?.verification ?? {};
  return `${word} by ${by}`;
}

/** The tree of v2 at /tmp/tree. */
async function treeOfV2({ state, directory }: LabMachine): Promise<void> {
  await using mounted = await mount(state);
  await using image = await mountImage(join(mounted.path, "cOS/active.img"));
  await run("cp", ["-a", image.path, join(directory, "tree")]);
  Deno.writeTextFileSync(join(directory, "tree/etc/os-release"), "ID=small\nVERSION_ID=v2\n");
}

const user = () => Deno.env.get("SUDO_USER") ?? Deno.env.get("LOGNAME") ?? Deno.env.get("USER") ?? "root";

Deno.test("cos-upgrade --no-verify --docker-image IMAGE", async () => {
  await using legacy = await legacyMachine();
  const { booted, machine } = legacy;
  const ran = await booted.as("cos-upgrade", ["--no-verify", "--docker-image", IMAGE], { INTERACTIVE: "false" });
  assert.deepEqual(ended(ran).filter((line) => !/not armed/.test(String(line))), [0], ran.err);
  assert.match(ran.out, /^Upgraded\. The next boot starts the active system:\n/);
  assert.deepEqual(await versions(machine), UPGRADED);
  assert.equal(await proofOf(machine), `--no-verify by ${user()}`);
  // An image was named: a person was there, or a script that reboots by itself.
  assert.deepEqual(booted.restarts(), []);
});

Deno.test("without its own word and without a policy an upgrade is refused, with the status of each generation", async () => {
  await using legacy = await legacyMachine();
  const { booted, machine } = legacy, before = await machine.slots();
  for (
    const [name, words, status] of [
      ["cos-upgrade", ["--docker-image", IMAGE], 1],
      ["cos-upgrade", ["--strict", IMAGE], 1],
      ["elemental", ["upgrade", "--directory", "/tmp"], 18],
    ] as const
  ) {
    const ran = await booted.as(name, words);
    assert.equal(ran.status, status, ran.err);
    assert.match(ran.err, status === 18 ? /^Error: Refused dir:\/tmp: nothing proves who made it/m : NO_POLICY);
  }
  assert.deepEqual(await machine.slots(), before);
});

Deno.test("VERIFY=false and UPGRADE_IMAGE in /etc/cos/config; INTERACTIVE=false reboots after five seconds, once", async () => {
  const config = `# as installed\nexport VERIFY=false\nUPGRADE_IMAGE="${IMAGE}"\n`;
  await using legacy = await legacyMachine({ etc: { "cos/config": config } });
  const { booted, machine } = legacy;
  const ran = await booted.as("cos-upgrade", [], { INTERACTIVE: "false" });
  assert.equal(ran.status, 0, ran.err);
  assert.match(ran.err, /^Rebooting in 5 seconds …$/m);
  assert.deepEqual(await versions(machine), UPGRADED);
  assert.equal(await proofOf(machine), "VERIFY=false in /etc/cos/config by the settings");
  assert.deepEqual(booted.restarts(), ["reboot "]);
});

Deno.test("cos.upgrade.power_off=true on the kernel's command line: power off instead", async () => {
  const options = { cmdline: "cos.upgrade.power_off=true", etc: { "cos-upgrade-image": `UPGRADE_IMAGE=${IMAGE}\n` } };
  await using legacy = await legacyMachine(options);
  const { booted, machine } = legacy;
  const env = { INTERACTIVE: "false", VERIFY: "false" };
  const ran = await booted.as("cos-upgrade", [], env);
  assert.equal(ran.status, 0, ran.err);
  assert.deepEqual(booted.restarts(), ["poweroff "]);
  assert.equal(await proofOf(machine), `VERIFY=false in the environment by ${user()}`);
});

Deno.test("a policy is stronger than VERIFY=false in a file, and weaker than the word --no-verify", async () => {
  const etc = { "cos/config": "VERIFY=false\n", "cos/policy.json": '{"default": [{"type": "reject"}]}\n' };
  await using legacy = await legacyMachine({ etc });
  const { booted, machine } = legacy;
  const refused = await booted.as("cos-upgrade", [IMAGE]);
  assert.equal(refused.status, 1);
  assert.match(refused.err, /^Error: Refused oci:\/tmp\/os:v2 .*\n {2}That is the word of \/etc\/cos\/policy\.json/m);
  const ran = await booted.as("cos-upgrade", ["--no-cosign", IMAGE]);
  assert.equal(ran.status, 0, ran.err);
  assert.equal(await proofOf(machine), `--no-cosign by ${user()}`);
});

Deno.test("elemental upgrade: config.yaml, --directory, --reboot, and flags without a meaning told once", async () => {
  const etc = { "elemental/config.yaml": "cosign: false\nstrict: true\n" };
  await using legacy = await legacyMachine({ etc });
  const { booted, machine } = legacy;
  await treeOfV2(machine);
  const ran = await booted.as("elemental", [
    "--debug=false",
    "upgrade",
    "--directory=/tmp/tree",
    "--verify",
    "--squash-no-compression",
    "--reboot",
  ]);
  assert.deepEqual(ended(ran).filter((line) => !/not armed/.test(String(line))), [
    0,
    "Warning: --verify has no meaning any more: what is checked is the image's signature, not a list of its files.",
    "Warning: --squash-no-compression has no meaning any more: a recovery system that is a squashfs is packed with xz.",
  ]);
  assert.deepEqual(await versions(machine), UPGRADED);
  assert.equal(await proofOf(machine), "cosign: false in /etc/elemental/config.yaml by the settings");
  assert.deepEqual(booted.restarts(), ["reboot "]);
});

Deno.test("--logfile: what is said is appended to a file, with more than is shown, and what stops a run, too", async () => {
  const hook = "#!/bin/sh\necho from the hook\n";
  await using legacy = await legacyMachine({ etc: { "cos/hooks/before-upgrade.d/10": hook } });
  const { booted, machine } = legacy, log = join(machine.directory, "log");
  await treeOfV2(machine);
  const lines = () =>
    Deno.readTextFileSync(log).trimEnd().split("\n").map((line) => {
      const [, time = "", level, text = ""] = /^time="([^"]*)" level=(\w+) msg=(".*")$/.exec(line) ?? [];
      assert.ok(Math.abs(Date.parse(time) - Date.now()) < 600_000, line);
      return `${level} ${JSON.parse(text)}`;
    });
  const refused = await booted.as("elemental", [
    "--logfile",
    "/tmp/log",
    "--quiet",
    "upgrade",
    "--directory",
    "/tmp/tree",
  ]);
  const [errorLine] = lines().slice(-1);
  assert.match(refused.err, /^Error: Refused dir:\/tmp\/tree: nothing proves who made it/);
  assert.match(errorLine ?? "", /^error Error: Refused dir:\/tmp\/tree: nothing proves who made it/);
  Deno.writeTextFileSync(log, "");
  const flags = ["--logfile=/tmp/log", "--quiet", "--cosign=false", "--directory", "/tmp/tree"];
  const ran = await booted.as("cos-upgrade", flags, { VERIFY: "false" });
  assert.deepEqual([ran.status, ran.out], [0, ""], ran.err);
  const found = lines();
  for (const wanted of ["debug /etc/cos/hooks/before-upgrade.d/10: from the hook", "info Switching"]) {
    assert.ok(found.includes(wanted), `${wanted}\n${found.join("\n")}`);
  }
  assert.match(found.at(-1) ?? "", /^info Upgraded\. The next boot starts the active system:/);
  // A place that somebody else has prepared is not written through.
  Deno.symlinkSync("/tmp/elsewhere", join(machine.directory, "elemental.log"));
  const again = await booted.as("cos-upgrade", ["--directory=/tmp/tree"], { VERIFY: "false" });
  assert.equal(again.status, 0, again.err);
  assert.match(again.err, /^Warning: Nothing is logged to \/tmp\/elemental\.log: open\w*\(.*\) failed: ELOOP\.$/m);
  assert.throws(() => Deno.statSync(join(machine.directory, "elsewhere")), Deno.errors.NotFound);
  Deno.writeTextFileSync(join(machine.directory, "elsewhere"), "");
  Deno.removeSync(join(machine.directory, "elemental.log"));
  Deno.linkSync(join(machine.directory, "elsewhere"), join(machine.directory, "elemental.log"));
  const linked = await booted.as("cos-upgrade", ["--directory=/tmp/none"], { VERIFY: "false" });
  assert.match(linked.err, /^Warning: Nothing is logged to \/tmp\/elemental\.log: it is not root's alone\.$/m);
  assert.equal(Deno.readTextFileSync(join(machine.directory, "elsewhere")), "");
});

Deno.test("a strict hook ends elemental with the status of its stage, and cos-upgrade with 1", async () => {
  const etc = { "cos/hooks/before-upgrade.d/10-fails": "#!/bin/sh\nexit 7\n", "cos/config": "VERIFY=false\n" };
  await using legacy = await legacyMachine({ etc });
  const { booted, machine } = legacy, before = await machine.slots();
  const newer = await booted.as("elemental", ["upgrade", "--strict", "--directory", "/"]);
  const older = await booted.as("cos-upgrade", ["--strict", IMAGE]);
  const error =
    "Error: A hook of before-upgrade failed: /etc/cos/hooks/before-upgrade.d/10-fails: it ended with the status 7.";
  assert.deepEqual([ended(newer).at(0), ended(newer).at(-1)], [36, error], newer.err);
  assert.deepEqual([ended(older).at(0), ended(older).at(-1)], [1, error], older.err);
  assert.deepEqual(await machine.slots(), before);
  // Without the word it is told, and passed over.
  const lax = await booted.as("cos-upgrade", [IMAGE]);
  assert.equal(lax.status, 0, lax.err);
  assert.match(
    lax.err,
    /^Warning: The hook \/etc\/cos\/hooks\/before-upgrade\.d\/10-fails failed: it ended with the status 7\.$/m,
  );
});

Deno.test("what fails behind the switch leaves elemental's upgrade done, with a status that says so", async () => {
  const etc = { "cos/hooks/post-upgrade.d/10-fails": "#!/bin/sh\nexit 1\n", "cos/config": "VERIFY=false\n" };
  await using legacy = await legacyMachine({ etc, restartStatus: 1 });
  const { booted, machine } = legacy;
  await treeOfV2(machine);
  const done = await booted.as("elemental", ["upgrade", "--strict", "--directory", "/tmp/tree"]);
  assert.equal(done.status, 41, done.err);
  assert.match(done.err, /^Warning: It is done, but the hooks of post-upgrade were not: /m);
  assert.deepEqual(await versions(machine), UPGRADED);
  const unstarted = await booted.as("elemental", ["upgrade", "--poweroff", "--directory", "/tmp/tree"]);
  assert.equal(unstarted.status, 43, unstarted.err);
  const forced = "poweroff ended with status 1: ";
  assert.ok(
    unstarted.err.includes(`Warning: It is done, but the power-off did not come: Cannot power off: ${forced}`),
    unstarted.err,
  );
  assert.deepEqual(booted.restarts(), ["poweroff ", "poweroff -f"]);
});

Deno.test("what is wrong, what cannot be done here, and help: nothing is touched", async () => {
  await using legacy = await legacyMachine({ etc: { "cos/config": "VERIFY=false\n" } });
  const { booted, machine } = legacy, before = await machine.slots();
  const cases: [string, string[], number, RegExp][] = [
    ["cos-reset", [], 1, /^Error: Cannot reset .*: the machine runs from it\./],
    ["elemental", ["reset", "--reset-persistent"], 33, /^Error: Cannot reset .*: the machine runs from it\./],
    ["cos-reset", ["--reset-oem"], 33, /^Error: Cannot reset .*: the machine runs from it\./],
    [
      "cos-upgrade",
      ["--nonsense", IMAGE],
      32,
      /^Error: Cannot run cos-upgrade: "--nonsense" is not known\.\n {2}Usage: cos-upgrade/,
    ],
    [
      "cos-upgrade",
      ["a", "b", "c"],
      1,
      /^Error: Cannot run cos-upgrade: there are too many words\.\n {2}Usage: cos-upgrade/,
    ],
    ["cos-upgrade", ["--directory"], 1, /^Error: Cannot run cos-upgrade: --directory is said, and no directory\./],
    ["cos-upgrade", [], 1, /^Error: Cannot upgrade to "system\/cos": that names a package of a channel/],
    [
      "elemental",
      ["upgrade", "--system.uri", "channel:system/cos"],
      33,
      /^Error: Cannot upgrade to "channel:system\/cos"/,
    ],
    ["elemental", ["upgrade", "--reboot", "--poweroff"], 32, /^Error: .*--reboot and --poweroff exclude each other/],
    [
      "elemental",
      ["upgrade", "-d", "a", "--directory", "/b"],
      32,
      /^Error: .*--docker-image and --directory exclude each other/,
    ],
    ["elemental", ["run-stage", "network"], 32, /^Error: Cannot run elemental like this/],
    ["cos-rollback", [], 24, /^Error: Cannot roll back/],
    ["cos-deploy", ["--no-verify", IMAGE], 1, /^Error: Cannot deploy to .*: it already holds a system\./],
  ];
  for (const [name, words, status, error] of cases) {
    const ran = await booted.as(name, words);
    assert.equal(ran.status, status, `${name} ${words.join(" ")}\n${ran.err}`);
    assert.match(ran.err, error);
    assert.equal(ran.out, "");
  }
  const older = await booted.as("cos-upgrade", ["--help"]), newer = await booted.as("elemental", ["upgrade", "-h"]);
  assert.deepEqual([older.status, older.out.split("\n")[0], older.err], [
    1,
    "Usage: cos-upgrade [--docker-image | --directory] [--recovery] [--no-verify] [--no-cosign] [--strict] [IMAGE]",
    "",
  ]);
  assert.deepEqual([newer.status, newer.out.split("\n")[0], newer.err], [0, "Usage: elemental upgrade [FLAGS]", ""]);
  assert.deepEqual(await machine.slots(), before);
  assert.deepEqual(booted.restarts(), []);
});

Deno.test("cos-deploy --force upgrades what is there, and cos upgrade --reboot reboots only into what does not run yet", async () => {
  await using legacy = await legacyMachine();
  const { booted, machine } = legacy;
  const same = await booted.cos("upgrade", "oci:/tmp/os:v1", "--no-verify", "--reboot");
  assert.deepEqual([same.status, same.out], [0, "Nothing to do.\n"], same.err);
  assert.deepEqual(booted.restarts(), []);
  const forced = await booted.as("cos-deploy", ["--force", "--no-verify", IMAGE]);
  assert.equal(forced.status, 0, forced.err);
  assert.match(
    forced.err,
    /^Warning: There is a system here already: it is upgraded, and stays as the one to fall back to\.$/m,
  );
  assert.deepEqual(await versions(machine), UPGRADED);
  const again = await booted.cos("upgrade", IMAGE, "--no-verify", "--reboot");
  assert.deepEqual([again.status, again.out], [0, "Nothing to do.\n"], again.err);
  assert.deepEqual(booted.restarts(), ["reboot "]);
});

Deno.test("cos-upgrade --recovery takes RECOVERY_IMAGE, and leaves the slots and the machine alone", async () => {
  const config = `VERIFY=false\nUPGRADE_IMAGE=oci:/tmp/os:v9\nRECOVERY_IMAGE=${IMAGE}\n`;
  await using legacy = await legacyMachine({ etc: { "cos/config": config } });
  const { booted, machine } = legacy, before = await machine.slots();
  const ran = await booted.as("cos-upgrade", ["--recovery"], { INTERACTIVE: "false" });
  assert.equal(ran.status, 0, ran.err);
  assert.match(ran.out, /^The recovery system on \S+ is Small v2 now \(recovery\.img\):\n/);
  const variable = await booted.as("elemental", ["upgrade"], { ELEMENTAL_UPGRADE_RECOVERY: "true" });
  assert.equal(variable.status, 0, variable.err);
  assert.match(variable.out, /^The recovery system on /);
  assert.deepEqual(await machine.slots(), before);
  assert.deepEqual(booted.restarts(), []);
});

/** Where the second generation mounts the state partition in a recovery system. */
const RECOVERY = 'mount -t tmpfs none /run; mkdir -p /run/cos/state; mount "$1" /run/cos/state; shift; exec "$@"';

Deno.test("cos-reset from outside makes both slots the recovery system, and empties what PERSISTENCE_RESET says", async () => {
  await using machine = await deployedMachine({ v1: {}, v2: {} }, { stateMiB: 300 });
  const { persistent, oem } = machine.disk.partitions;
  await machine.must("upgrade", "--recovery", machine.image("v2"), "--no-verify");
  for (const device of [persistent, oem]) {
    await using mounted = await mount(device, "rw");
    Deno.writeTextFileSync(join(mounted.path, "data"), "x");
  }
  const link = join(machine.directory, "cos-reset");
  Deno.symlinkSync(await staticFile(), link);
  const ran = await runProgram("unshare", ["-m", "sh", "-ec", RECOVERY, "sh", machine.state, link], {
    PERSISTENCE_RESET: "true",
  });
  assert.equal(ran.status, 0, ran.err);
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, passive?.version, active?.ino === passive?.ino], ["v2", "v2", true]);
  for (const device of [persistent, oem]) {
    await using mounted = await mount(device);
    assert.equal([...Deno.readDirSync(mounted.path)].some(({ name }) => name === "data"), false);
  }
});
