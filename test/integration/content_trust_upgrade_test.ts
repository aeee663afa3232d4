/** Docker Content Trust decides over upgrades: an image in a real registry, signed by a real notary-server, installed by the program. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { SystemCallError } from "../../lib/base/errors.ts";
import type { Events } from "../../lib/base/events.ts";
import type { KnownTrust } from "../../lib/formats/known-trust.ts";
import { trustSeed } from "../../lib/config/trust-seed.ts";
import { keepTrust, trustMemory } from "../../lib/operations/content-trust.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from "../../lib/system/kernel.ts";
import { realSystem } from "../../lib/system/system.ts";
import { putFile, scratchDirectory } from "../lab/cleanup.ts";
import { mount } from "../lab/disk.ts";
import { type EtcRoom, etcRoom } from "../lab/etc-room.ts";
import { type LabMachine, labMachine } from "../lab/machine.ts";
import { type Notary, startNotary } from "../lab/notary.ts";
import { layoutDescriptor, sha256 } from "../lab/oci-layout.ts";
import { startRegistry } from "../lab/registry.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { copyOf, serveTrust } from "../lab/trust-server.ts";

interface Site extends AsyncDisposable {
  machine: LabMachine;
  room: Pick<EtcRoom, "write" | "cos">;
  /** The same files, for commands that know no state partition. */
  offDisk: EtcRoom;
  notary: Notary;
  /** `127.0.0.1:PORT/os/base`: also the repository's name in content trust. */
  gun: string;
  /** Manifests by tag. */
  manifests: Record<"v2" | "v3", Uint8Array>;
  /** What the machine remembers, by the program's file; undefined: nothing. */
  remembered(): Promise<KnownTrust | undefined>;
  /** Writes that file, whatever stands in it. */
  remember(text: string): Promise<void>;
}

/** v1 is deployed, unless the machine is to be empty; v2 and v3 lie in the registry, and v2 is signed. */
async function site(empty = false): Promise<Site> {
  await using made = new AsyncDisposableStack();
  const machine = made.use(await labMachine({ stateMiB: 128 })), registry = made.use(await startRegistry());
  const notary = made.use(await startNotary());
  const layout = join(machine.directory, "os"), gun = `${registry.host}/os/base`;
  writeSmallOs(layout, { v1: {}, v2: {}, v3: {} });
  if (!empty) await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  const manifestOf = async (tag: string) => {
    await registry.push(layout, tag, `os/base:${tag}`);
    return Deno.readFileSync(join(layout, "blobs/sha256", layoutDescriptor(layout, tag).digest.slice(7)));
  };
  const manifests = { v2: await manifestOf("v2"), v3: await manifestOf("v3") };
  await notary.notary("init", gun, "-p");
  await notary.sign(gun, "v2", manifests.v2);
  const room = made.use(await etcRoom(machine)), elsewhere = join(machine.directory, "elsewhere");
  Deno.mkdirSync(elsewhere);
  const offDisk = made.use(await etcRoom({ directory: elsewhere })), kept = made.move();
  const write: EtcRoom["write"] = (...file) => [room, offDisk].forEach((one) => one.write(...file));
  const file = `cOS/trust/${sha256(new TextEncoder().encode(gun)).slice(7)}.json`;
  return {
    ...{ machine, offDisk, notary, gun, manifests },
    room: { write, cos: room.cos },
    remembered: async () => {
      await using state = await mount(machine.state);
      const text = await Deno.readTextFile(join(state.path, file)).catch(() => undefined);
      return text === undefined ? undefined : JSON.parse(text);
    },
    remember: async (text) => {
      await using state = await mount(machine.state, "rw");
      await Deno.writeTextFile(join(state.path, file), text);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The manual's own example, for this registry and this server. */
async function policy({ notary, gun }: Site, server = notary.url): Promise<string> {
  const manual = Deno.readTextFileSync(new URL("../../docs/policy-content-trust.md", import.meta.url));
  const example = /```json\n([\s\S]*?)```/.exec(manual)?.[1] ?? "", id = await notary.rootKeyId(gun);
  return example.replace("registry.example.org/os/base", gun).replace("https://trust.example.org", server)
    .replace(/"[0-9a-f]{64}"/, `"${id}"`);
}

Deno.test("an image whose tag is signed is planned without a trace, installed, and what was seen is remembered", async () => {
  await using s = await site();
  const { room, gun, machine, notary, manifests } = s, scope = `docker ${gun}`;
  room.write("cos/policy.json", await policy(s));
  const id = await notary.rootKeyId(gun);
  const words = `be signed in Docker Content Trust, its root by the key ${id}`;
  assert.equal((await s.offDisk.cos("policy", "check")).out.split("\n")[3], `    The image must ${words}.`);
  const tested = await s.offDisk.cos("policy", "test", `${gun}:v2`);
  assert.deepEqual(tested.out.split("\n").slice(1, 3), [
    `  policy   /etc/cos/policy.json, scope "${scope}"`,
    `  yes      must ${words}`,
  ]);
  const dry = await room.cos("upgrade", `${gun}:v2`, "--dry-run", "--json");
  assert.equal(dry.status, 0, dry.out);
  const { at: _, key, ...proof } = JSON.parse(dry.out).plan.verification;
  assert.match(key, /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(proof, { scheme: "content-trust", policy: "/etc/cos/policy.json", scope });
  assert.equal(await s.remembered(), undefined);

  const done = await room.cos("upgrade", `${gun}:v2`);
  assert.equal(done.status, 0, done.err);
  assert.equal((await machine.slots()).active?.version, "v2");
  assert.match(
    (await machine.must("status")).out,
    new RegExp(`proof    content-trust: signed by key ${key}; by /etc/cos/policy.json`),
  );
  const first = await s.remembered(), root = await notary.file(gun, "1.root") ?? new Uint8Array();
  const served = async (name: string): Promise<number> =>
    JSON.parse(new TextDecoder().decode(await notary.file(gun, name))).signed.version;
  assert.deepEqual({ ...first, at: "" }, {
    ...{ schemaVersion: 1, gun, at: "", root: { version: 1, sha256: sha256(root).slice(7) } },
    ...{ timestamp: await served("timestamp"), snapshot: await served("snapshot"), targets: await served("targets") },
  });

  // Nothing to do, and still there is something to learn.
  await notary.sign(gun, "v3", manifests.v3);
  assert.match((await room.cos("upgrade", `${gun}:v2`)).out, /Nothing to do/);
  assert.equal((await s.remembered())?.targets, (first?.targets ?? 0) + 1);
});

Deno.test("a machine remembers from its first system on", async () => {
  await using s = await site(true);
  const { room, gun, machine } = s;
  room.write("cos/policy.json", await policy(s));
  assert.equal((await room.cos("deploy", `${gun}:v3`)).status, 31);
  assert.equal(await s.remembered(), undefined);
  const { status, err } = await room.cos("deploy", `${gun}:v2`);
  assert.equal(status, 0, err);
  assert.equal((await machine.slots()).active?.version, "v2");
  assert.equal((await s.remembered())?.gun, gun);
});

Deno.test("what is not signed for the tag is refused, and nothing is remembered of it", async () => {
  await using s = await site();
  const { room, gun, notary, manifests, machine } = s;
  room.write("cos/policy.json", await policy(s));
  const refused = async (image: string, status = 31) => {
    const ran = await room.cos("upgrade", image, "--json");
    assert.equal(ran.status, status, ran.out);
    return JSON.parse(ran.out).error.message as string;
  };
  assert.match(await refused(`${gun}:v3`), /: the tag v3 is not signed in Docker Content Trust\.$/);
  assert.match(await refused(`${gun}@${sha256(manifests.v2)}`), /is asked for by its digest alone: name the tag too/);
  await notary.sign(gun, "v3", manifests.v2);
  assert.match(await refused(`${gun}:v3`), /: another image is signed for the tag v3 \(targets\): expected sha256:/);
  const other = (await policy(s)).replace(/"[0-9a-f]{64}"/, `"${"0".repeat(64)}"`);
  room.write("cos/policy.json", other);
  assert.match(await refused(`${gun}:v2`), /the root 1 of .*, by the keys that the policy pins, is signed by 0/);
  // Over nothing that was ever published, and nothing that listens.
  room.write("cos/policy.json", (await policy(s)).replaceAll("os/base", "os").replace(/,\s*"server": "[^"]*"/, ""));
  assert.match(await refused(`${gun}:v2`), /no content trust is kept for /);
  assert.equal(await s.remembered(), undefined);
  assert.equal((await machine.slots()).active?.version, "v1");
});

Deno.test("an older copy of the server, a damaged memory, a clock that is behind: named, and nothing is installed", async () => {
  await using s = await site();
  const { room, gun, notary, manifests, machine } = s, old = await copyOf(notary, gun);
  await notary.sign(gun, "v3", manifests.v3);
  room.write("cos/policy.json", await policy(s));
  assert.equal((await room.cos("upgrade", `${gun}:v3`)).status, 0);
  const known = await s.remembered();
  const error = async () => {
    const { status, out } = await room.cos("upgrade", `${gun}:v2`, "--dry-run", "--json"),
      { code, message } = JSON.parse(out).error;
    return `${status} ${code} ${message}`;
  };
  await using server = serveTrust(old);
  room.write("cos/policy.json", await policy(s, server.url));
  assert.match(
    await error(),
    /^31 UNTRUSTED .*the timestamp of .* is older than the one that this machine has seen before: expected version \d+ or later, found \d+\.$/,
  );
  room.write("cos/policy.json", await policy(s));
  for (
    const text of [
      "",
      "{",
      JSON.stringify({ ...known, gun: "registry.example.org/os" }),
      JSON.stringify({ ...known, targets: 0 }),
    ]
  ) {
    await s.remember(text);
    assert.match(
      await error(),
      /^31 UNTRUSTED .*: cOS\/trust\/[0-9a-f]{64}\.json on the state partition is damaged, or of a newer cos/,
    );
  }
  const at = new Date(Date.now() + 60_000).toISOString();
  await s.remember(JSON.stringify({ ...known, at }));
  assert.match(
    await error(),
    new RegExp(
      `^32 CLOCK Cannot verify anything: the clock says .*, and the content trust of ${gun} was verified at ${at}`,
    ),
  );
  await s.remember(JSON.stringify(known));
  assert.equal((await room.cos("upgrade", `${gun}:v2`, "--dry-run")).status, 0);
  assert.equal((await machine.slots()).active?.version, "v3");
});

Deno.test("a memory that cannot be written is told, and the one before stays", async () => {
  await using made = new AsyncDisposableStack();
  const { path } = made.use(scratchDirectory("trust")), system = await realSystem(), { kernel } = system;
  Deno.mkdirSync(join(path, "cOS"));
  const fd = kernel.openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY), id = "ab".repeat(32), told: string[] = [];
  made.defer(() => kernel.close(fd));
  const events: Events = (event) => "text" in event && told.push(event.text);
  const keep = (timestamp: number, fails?: "fsync" | "renameat" | "mkdirat") => {
    const memory = trustMemory(system, { fd }, () => Promise.resolve({}));
    memory.proven.set(id, { ...KNOWN, timestamp });
    const broken = new Proxy(kernel, {
      get: (target, name) => {
        if (name === fails) throw new SystemCallError("EIO", name, "it");
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    keepTrust({ system: { ...system, kernel: broken }, partition: { fd }, events }, memory);
    return trustMemory(system, { fd }, () => Promise.resolve({})).load(id, GUN);
  };
  assert.deepEqual(await keep(3), { known: { ...KNOWN, timestamp: 3 } });
  assert.deepEqual(await keep(4), { known: { ...KNOWN, timestamp: 4 } });
  for (const call of ["fsync", "renameat", "mkdirat"] as const) {
    assert.deepEqual(await keep(5, call), { known: { ...KNOWN, timestamp: 4 } }, call);
    assert.equal(
      told.shift(),
      `Could not write cOS/trust/${id}.json: ${call}(it) failed: EIO. An older state of ${GUN}'s content trust will not be noticed.`,
    );
  }
  assert.deepEqual(told, []);
});

const GUN = "registry.example.org/os/base";
const KNOWN: KnownTrust = {
  ...{ schemaVersion: 1, gun: GUN, at: "2026-11-26T12:00:00.000Z", root: { version: 1, sha256: "0".repeat(64) } },
  ...{ timestamp: 3, snapshot: 2, targets: 1 },
};

Deno.test("what an image brings counts until the machine has seen more, and must be root's own", async () => {
  await using made = new AsyncDisposableStack();
  const { path: scratch } = made.use(scratchDirectory("trust"));
  const gun = GUN, known = KNOWN, id = sha256(new TextEncoder().encode(gun)).slice(7);
  const root = join(scratch, "root"),
    directory = join(root, "usr/share/cos/trust"),
    file = join(directory, `${id}.json`);
  Deno.mkdirSync(directory, { recursive: true, mode: 0o755 });
  assert.deepEqual(trustSeed(root, id, gun), {});
  putFile(file, JSON.stringify(known));
  assert.deepEqual(trustSeed(root, id, gun), { known });
  const system = await realSystem(), seed = (...which: [string, string]) => Promise.resolve(trustSeed(root, ...which));
  assert.deepEqual(await trustMemory(system, undefined, seed).load(id, gun), { known });
  Deno.chmodSync(file, 0o666);
  assert.throws(() => trustSeed(root, id, gun), {
    code: "CONFIGURATION",
    message:
      `Cannot use what this system brings for content trust, ${file}: ${file} can be written by others than root.`,
  });
  putFile(file, "{");
  assert.deepEqual(trustSeed(root, id, gun), { damaged: file });
});
