/**
 * Runs in which one call of the kernel fails: whatever it is, either the command is done and says what was left, or it ends with
 * an error that people understand and everything is as it was; and the next `cos repair` finds a machine that it can put right.
 *
 * `COS_FAULTS=upgrade:linkat,renameat` runs a part of it. With `COS_FAULT_TABLE=FILE` every outcome is written to FILE, one JSON
 * value a line, and nothing is asserted.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { heldBy, type LabMachine, labMachine, runProgram } from "../lab/machine.ts";
import { markingUnit } from "../lab/counting.ts";
import { mount, type StateFilesystem } from "../lab/disk.ts";
import { staticFile } from "../lab/static-file.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { run } from "../lab/run.ts";

/** What each call is made to fail with, once. */
const FAULTS: Record<string, readonly string[]> = {
  linkat: ["EIO"],
  renameat: ["EIO"],
  unlinkat: ["EIO"],
  pwrite64: ["EIO"],
  fdatasync: ["EIO"],
  fsync: ["ENOSPC"],
  syncfs: ["EIO"],
  ioctl: ["EIO"],
  fsopen: ["EPERM"],
  fsmount: ["EPERM"],
  ftruncate: ["EFBIG"],
  fstatfs: ["EIO"],
};

/** Calls by the hundred are tried at so many points before the switch, and at every one after its beginning. */
const SAMPLES = 4;

interface Scenario {
  name: string;
  words(image: (tag: string) => string): string[];
  prepare(machine: LabMachine, image: (tag: string) => string): Promise<void>;
  /** Slots after a run that says it is done. */
  done: { active: string; passive: string };
  /** And after one that says so with this warning. */
  orDone?: { active: string; passive: string; warning: RegExp };
  counting?: boolean;
  /** The state partition is mounted read-only for all to see, as on a running machine. */
  mounted?: boolean;
  filesystem?: StateFilesystem;
}

const deployed = async (machine: LabMachine, image: (tag: string) => string) => {
  await machine.must("deploy", image("v1"), "--no-verify");
  await machine.must("upgrade", image("v2"), "--no-verify");
  await machine.must("rollback");
};
const upgradeWords = (image: (tag: string) => string) => ["upgrade", image("v3"), "--no-verify"];

const SCENARIOS: Scenario[] = [
  { name: "upgrade", words: upgradeWords, prepare: deployed, done: { active: "v3", passive: "v1" } },
  {
    name: "upgrade-counting",
    words: upgradeWords,
    prepare: deployed,
    done: { active: "v3", passive: "v1" },
    counting: true,
  },
  {
    name: "upgrade-mounted",
    words: upgradeWords,
    prepare: deployed,
    done: { active: "v3", passive: "v1" },
    mounted: true,
  },
  { name: "rollback", words: () => ["rollback"], prepare: deployed, done: { active: "v2", passive: "v1" } },
  {
    name: "rollback-counting",
    words: () => ["rollback"],
    prepare: deployed,
    done: { active: "v2", passive: "v1" },
    counting: true,
  },
  {
    name: "rollback-xfs",
    words: () => ["rollback"],
    prepare: deployed,
    done: { active: "v2", passive: "v1" },
    filesystem: "xfs",
  },
  {
    name: "switch-kept",
    words: () => ["switch", "v1"],
    prepare: async (machine, image) => {
      await machine.must("deploy", image("v1"), "--no-verify");
      await machine.must("pin", "v1");
      for (const tag of ["v2", "v3"]) await machine.must("upgrade", image(tag), "--no-verify");
      await machine.must("pin", "--remove", "v1");
    },
    done: { active: "v1", passive: "v3" },
  },
  {
    name: "boot-install",
    words: () => ["boot", "install"],
    prepare: deployed,
    done: { active: "v1", passive: "v2" },
  },
  {
    name: "reset",
    words: (image) => ["reset", image("v3"), "--no-verify"],
    prepare: deployed,
    done: { active: "v3", passive: "v3" },
    orDone: { active: "v3", passive: "v1", warning: /^Warning: The old system is still the fallback: /m },
  },
  {
    name: "deploy",
    words: (image) => ["deploy", image("v1"), "--no-verify"],
    prepare: () => Promise.resolve(),
    done: { active: "v1", passive: "v1" },
  },
];

/** What a run must put back: names, inodes, labels, versions, and the variables that GRUB counts with. */
interface Snapshot {
  files: string[];
  images: Record<string, { ino: number; label: string; version: string }>;
  variables: string;
}

const NONE: Snapshot = { files: [], images: {}, variables: "" };

async function look(machine: LabMachine): Promise<Snapshot> {
  await using state = await mount(machine.state);
  const directory = join(state.path, "cOS");
  const found: Snapshot = { files: [], images: {}, variables: "" };
  try {
    const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();
    found.files = names(directory).flatMap((name) =>
      name === "kept" ? names(join(directory, name)).map((kept) => `${name}/${kept}`) : name
    );
  } catch (thrown) {
    if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
    return NONE;
  }
  for (const name of found.files.filter((name) => name.endsWith(".img"))) {
    const path = join(directory, name);
    const { out } = await runProgram("debugfs", ["-R", "cat /etc/os-release", path]);
    const head = new Uint8Array(1160);
    using file = Deno.openSync(path);
    file.readSync(head);
    found.images[name] = {
      ino: Deno.statSync(path).ino ?? 0,
      label: new TextDecoder().decode(head.subarray(1144)).replace(/\0+$/, ""),
      version: /^VERSION_ID=(.*)$/m.exec(out)?.[1] ?? "?",
    };
  }
  try {
    const block = Deno.readTextFileSync(join(state.path, "boot_assessment"));
    found.variables = block.replace(/^#.*$/gm, "").trim();
  } catch (thrown) {
    if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
  }
  return found;
}

interface Call {
  call: string;
  n: number;
  /** After the line that says that the switch begins. */
  late: boolean;
}

async function strace(machine: LabMachine, words: string[], options: string[]) {
  const log = join(machine.directory, "strace");
  const args = ["-f", "-qqq", "-o", log, ...options, await staticFile(), ...words, "--state", machine.state];
  // A run that hangs is an outcome too; on a filesystem that was left frozen not even SIGKILL ends it, so it is thawed.
  let hung = false;
  const timer = setInterval(() => {
    hung = true;
    void thaw(machine.state);
  }, 30_000);
  try {
    const ran = await runProgram("timeout", ["-k", "5", "120", "strace", ...args]);
    return { ...ran, hung, log: await Deno.readTextFile(log) };
  } finally {
    clearInterval(timer);
  }
}

/** Thaws through the descriptors of the program itself: its mount is one that nobody else sees. */
async function thaw(state: string): Promise<void> {
  for (const { name } of Deno.readDirSync("/proc")) {
    try {
      if (!/^[0-9]+$/.test(name) || !Deno.readTextFileSync(`/proc/${name}/cmdline`).includes(`--state\0${state}\0`)) {
        continue;
      }
      for (const fd of Deno.readDirSync(`/proc/${name}/fd`)) {
        if (Deno.readLinkSync(`/proc/${name}/fd/${fd.name}`) === "/") {
          await runProgram("fsfreeze", ["--unfreeze", `/proc/${name}/fd/${fd.name}`]);
        }
      }
    } catch (thrown) {
      // Processes and descriptors come and go.
      if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
    }
  }
}

/** The calls of the program's own thread from where it looks for the state partition. */
async function callsOf(machine: LabMachine, words: string[]): Promise<Call[]> {
  const names = Object.keys(FAULTS);
  const { status, log, err } = await strace(machine, words, [
    "-e",
    `trace=${[...names, "write"].join(",")}`,
    "-s",
    "64",
  ]);
  assert.equal(status, 0, err);
  const lines = log.split("\n"), main = lines[0]?.split(" ")[0];
  const counts: Record<string, number> = {}, calls: Call[] = [];
  let begun = false, late = false;
  for (const line of lines) {
    const [, pid, call] = /^(\d+)\s+(\w+)\(/.exec(line) ?? [];
    if (pid !== main || call === undefined) continue;
    if (/mountinfo|fsopen|"\/run\/|\/dev\/loop/.test(line)) begun = true;
    if (call === "write" && line.includes("Switching") || line.includes("Putting it")) late = true;
    if (call === "write") continue;
    const n = counts[call] = (counts[call] ?? 0) + 1;
    if (begun) calls.push({ call, n, late });
  }
  return calls;
}

function sampled(calls: Call[], call: string): Call[] {
  const own = calls.filter((one) => one.call === call);
  const early = own.filter(({ late }) => !late), step = Math.max(1, Math.floor(early.length / SAMPLES));
  return [...early.filter((_, i) => i % step === 0 || i < 3), ...own.filter(({ late }) => late)];
}

async function withMounted<T>(machine: LabMachine, mounted: boolean, action: () => Promise<T>): Promise<T> {
  if (!mounted) return await action();
  await using _ = await mount(machine.state);
  return await action();
}

const wanted = Deno.env.get("COS_FAULTS"), table = Deno.env.get("COS_FAULT_TABLE");
const [onlyScenario, onlyCalls] = wanted?.split(":") ?? [];

for (const scenario of SCENARIOS) {
  if (onlyScenario !== undefined && onlyScenario !== scenario.name) continue;
  Deno.test(`${scenario.name}: whatever call fails, it is done or undone`, async () => {
    await using machine = await labMachine({
      stateMiB: scenario.filesystem === undefined ? 128 : 400,
      stateFilesystem: scenario.filesystem ?? "ext4",
    });
    const layout = join(machine.directory, "os"), image = (tag: string) => `oci:${layout}:${tag}`;
    // Where GRUB counts, all of them mark themselves good, so that a new one is armed.
    const system = scenario.counting === true ? { more: markingUnit() } : {};
    writeSmallOs(layout, { v1: system, v2: system, v3: system });
    await scenario.prepare(machine, image);
    if (scenario.counting === true) {
      await using state = await mount(machine.state, "rw");
      Deno.writeTextFileSync(join(state.path, "grubcustom"), "source /grub_boot_assessment\n");
      Deno.writeTextFileSync(join(state.path, "grub_boot_assessment"), "# cos_tries\n");
      // With variables of others, which arming sets to their start values, and undoing puts back.
      const block = "# GRUB Environment Block\nmine=1\nboot_assessment_tentative=yes\n";
      Deno.writeTextFileSync(join(state.path, "boot_assessment"), block.padEnd(1024, "#"));
    }
    const before = await look(machine), words = scenario.words(image);
    const saved = join(machine.directory, "state.saved");
    await run("dd", [`if=${machine.state}`, `of=${saved}`, "bs=4M", "conv=sparse"]);
    const reset = () => run("dd", [`if=${saved}`, `of=${machine.state}`, "bs=4M", "conv=notrunc"]);
    const mounted = scenario.mounted === true;
    const calls = await withMounted(machine, mounted, () => callsOf(machine, words));
    const failures: string[] = [];
    let tried = 0;
    for (const [call, errors] of Object.entries(FAULTS)) {
      if (onlyCalls !== undefined && !onlyCalls.split(",").includes(call)) continue;
      for (const { n, late } of sampled(calls, call)) {
        for (const error of errors) {
          await reset();
          tried++;
          const [code, persistent] = [error.replace("+", ""), error.endsWith("+")];
          const faults: string[] = [];
          const { status, out, err, log, hung, held } = await withMounted(machine, mounted, async () => {
            const inject = `inject=${call}:error=${code}:when=${n}${persistent ? "+" : ""}`;
            const ran = await strace(machine, words, ["-e", `trace=${call}`, "-e", inject, "-s", "64"]);
            const held = await heldBy(machine.state);
            return { ...ran, held: mounted ? held.slice(1) : held };
          });
          const hit = log.split("\n").filter((line) => line.includes("INJECTED"));
          if (hit.length === 0) continue;
          const after = await look(machine);
          if (held.length > 0) faults.push(`HELD ${held.join(" | ")}`);
          if (/\n\s+at .*:\d+/.test(err) || /error: Uncaught/.test(err)) faults.push("STACK TRACE");
          if (status === 70) faults.push("INTERNAL");
          if (status !== 0 && !/(^|\n)Error: .*\n {2}\S.*\n$/.test(err)) faults.push("NO ERROR TEXT AT THE END");
          if (hung || status >= 124 && status <= 137) faults.push("HUNG OR KILLED");
          if (status === 0) {
            const { active, passive } = {
              active: after.images["active.img"]?.version,
              passive: after.images["passive.img"]?.version,
            };
            const { done, orDone } = scenario, told = orDone !== undefined && orDone.warning.test(err);
            const expected = told ? orDone : done;
            if (active !== expected.active || passive !== expected.passive) {
              faults.push(`DONE, BUT ${active}/${passive}`);
            }
            // Armed, or at worst not yet disarmed: never resting on the fallback.
            if (scenario.counting === true && after.variables.split("\n").sort().join(" ") !== "cos_tries=3 mine=1") {
              faults.push(`DONE, BUT WITH ${after.variables}`);
            }
          } else {
            // No entry leads to a kept one, whatever its label is.
            const comparable = ({ images, variables }: Snapshot) =>
              JSON.stringify({ images, variables }, (key, value) => key.startsWith("kept/") ? value.ino : value);
            if (comparable(after) !== comparable(before)) {
              faults.push(
                after.images["active.img"]?.version === scenario.done.active
                  ? "ERROR, BUT SWITCHED"
                  : `NOT UNDONE ${comparable(after)}`,
              );
            }
            const left = after.files.filter((name) => !before.files.includes(name));
            if (left.length > 0) faults.push(`LEFT ${left.join(" ")}`);
          }
          const repaired = await machine.cos("repair");
          if (repaired.status !== 0 && !(before.files.length === 0 && repaired.status === 4)) {
            faults.push(`REPAIR FAILS ${repaired.err}`);
          }
          const mended = await look(machine);
          const names = Object.keys(mended.images).sort(), isKept = (name: string) => name.startsWith("kept/");
          const slots = names.filter((name) => !(isKept(name) && before.files.includes(name))).join(" ");
          if (before.files.length > 0 && slots !== "active.img passive.img") faults.push(`AFTER REPAIR ${names}`);
          if (mended.images["active.img"] !== undefined && mended.images["active.img"].label !== "COS_ACTIVE") {
            faults.push("ACTIVE'S LABEL AFTER REPAIR");
          }
          const line = {
            scenario: scenario.name,
            call,
            n,
            late,
            error,
            status,
            faults,
            hit: hit.slice(0, 3),
            hits: hit.length,
            err: err.slice(-600),
            out: out.slice(0, 200),
          };
          if (table !== undefined) await Deno.writeTextFile(table, `${JSON.stringify(line)}\n`, { append: true });
          else if (faults.length > 0) failures.push(`${call} ${n} ${error}: ${faults.join("; ")}\n${err}`);
        }
      }
    }
    console.log(`${scenario.name}: ${tried} faults`);
    if (table === undefined) assert.deepEqual(failures, []);
  });
}
