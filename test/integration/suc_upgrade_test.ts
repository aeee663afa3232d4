/** `suc-upgrade` in pods of system-upgrade-controller, on lab machines that run from one of their slots. */
import assert from "node:assert/strict";
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { makeCertificates } from "../lab/certificates.ts";
import { chooseEntry, markingUnit, mountPoints } from "../lab/counting.ts";
import { boot, MOUNT_POINTS } from "../lab/booted.ts";
import { deployedMachine } from "../lab/deployed.ts";
import { mount, mountImage } from "../lab/disk.ts";
import { heldBy, heldByKilled, type LabMachine } from "../lab/machine.ts";
import { labHost, type PodOptions, type PodRan, podTree } from "../lab/pod.ts";
import { startRegistry } from "../lab/registry.ts";
import { run } from "../lab/run.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import * as t from "../lab/tar-writer.ts";

const more = mountPoints();
const PLAN = {
  SYSTEM_UPGRADE_PLAN_NAME: "os",
  SYSTEM_UPGRADE_NODE_NAME: "node-1",
  SYSTEM_UPGRADE_PLAN_LATEST_HASH: "a1",
};

const machineWith = (first: string) => deployedMachine({ [first]: { more } }, { first, stateMiB: 300 });

/** One pod on the machine, which runs from that slot. */
async function pod(machine: LabMachine, tree: string, options: PodOptions & { slot?: "active" | "passive" } = {}) {
  await using host = await labHost(machine, options.slot ?? "active");
  return await host.pod(tree, { ...options, env: { ...PLAN, ...options.env } });
}

async function versions(machine: LabMachine): Promise<(string | undefined)[]> {
  const { active, passive } = await machine.slots();
  return [active?.version, passive?.version];
}

/** The end of a pod that reboots the host. */
function assertReboots({ status, word, reboots, err }: PodRan, name: string): void {
  assert.deepEqual([status, reboots], [1, ["signal"]], err);
  assert.equal(
    word,
    `Installed ${name}. node-1 reboots into it.\n` +
      "  This pod ends with the status 1 on purpose: the next one finds the system running, and ends with 0.\n",
  );
}

function assertDone({ status, word, out, reboots, err }: PodRan, words: RegExp): void {
  assert.deepEqual([status, reboots], [0, []], err);
  assert.match(word, words);
  assert.equal(out, word);
  assert.doesNotMatch(err, /Making the new image/);
}

const OWN = "the files of a pod of Plan os";

Deno.test("the pod's files without the runtime's become the next system, and the pod after the reboot is done", async () => {
  await using machine = await machineWith("v1");
  // What the runtime mounts over is the image's own below; and the runtime labels all files as a container's.
  const tree = await podTree(machine, "v2", { more: [...more, t.file("etc/hostname", "of the image\n")] });
  const xattr = (path: string, ...words: string[]) => run("setfattr", ["-n", "security.selinux", ...words, path]);
  await xattr(join(tree, "etc/os-release"), "-v", "system_u:object_r:container_file_t:s0");
  assertReboots(await pod(machine, tree), OWN);
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
  assert.deepEqual(await heldBy(machine.state), []);
  {
    await using state = await mount(machine.state);
    await using image = await mountImage(join(state.path, "cOS/active.img"));
    const names = (path: string) => [...Deno.readDirSync(join(image.path, path))].map(({ name }) => name).sort();
    const own = [...MOUNT_POINTS, "boot", "etc", "oem", "usr"],
      found = names(".").filter((name) => name !== "lost+found");
    // A directory to mount on cannot be told from the image's own, and is empty.
    assert.deepEqual(found, [...own, "cos.d"].sort());
    assert.deepEqual(names("etc"), ["cos", "hostname", "os-release"]);
    assert.equal(Deno.readTextFileSync(join(image.path, "etc/hostname")), "of the image\n");
    assert.equal(await run("getfattr", ["-m", ".*", join(image.path, "etc/os-release")]), "");
    for (const path of ["dev", "run", "proc", "sys", "cos.d"]) assert.deepEqual(names(path), [], path);
  }
  const { slots: [active] } = JSON.parse((await machine.must("status", "--json")).out) as {
    slots: { source: string; verification: { scheme: string; word: string; by: string } }[];
  };
  const { scheme, word, by } = active?.verification ?? {};
  assert.deepEqual({ source: active?.source, scheme, word, by }, {
    source: OWN,
    scheme: "skipped",
    word: "suc-upgrade on the pod's own image",
    by: "the Plan os",
  });

  // The host was not rebooted yet: nothing is installed again, and it is asked once more.
  const again = await pod(machine, tree, { slot: "passive" });
  assertReboots(again, OWN);
  assert.doesNotMatch(again.err, /Making the new image/);

  assertDone(
    await pod(machine, tree, { boot: "two" }),
    /^Done: node-1 runs the files of a pod of Plan os \([0-9a-f]{12}\)\.\n$/,
  );
  // FORCE compares what it is, and is no reason to reboot for ever.
  assertDone(await pod(machine, tree, { boot: "two", env: { FORCE: "true" } }), /\([0-9a-f]{12}\)\.\n$/);
  // Another Plan with the same system: its os-release says that there is nothing to do.
  const other = { SYSTEM_UPGRADE_PLAN_LATEST_HASH: "b2" };
  assertDone(await pod(machine, tree, { boot: "two", env: other }), /\(its os-release is the same\)\.\n$/);
  assertReboots(await pod(machine, tree, { boot: "two", env: { ...other, FORCE: "true" } }), OWN);
  assertDone(await pod(machine, tree, { boot: "three", env: { ...other, FORCE: "true" } }), /\([0-9a-f]{12}\)\.\n$/);
});

Deno.test("what is older than the host is refused without a reboot, unless it is forced, which is recorded", async () => {
  await using machine = await machineWith("2.0.0");
  const tree = await podTree(machine, "1.0.0", { more });
  const refused = await pod(machine, tree);
  assert.deepEqual([refused.status, refused.reboots], [33, []]);
  assert.equal(
    refused.word,
    "Error: Refused the files of a pod of Plan os: it is older (version 1.0.0) than what this machine runs (2.0.0).\n" +
      "  If an older one is really meant, say FORCE=true in the Plan's envs; it is recorded.\n",
  );
  assertReboots(await pod(machine, tree, { env: { FORCE: "true" } }), OWN);
  assert.deepEqual(await versions(machine), ["1.0.0", "2.0.0"]);
  const { out } = await machine.must("status");
  assert.match(out, /age {6}OLDER than 2\.0\.0, which ran well here: allowed with FORCE=true by the Plan os\n/);
});

Deno.test("UPGRADE_IMAGE takes the Plan's version as its tag, and is proven by the host's policy and no other", async () => {
  await using machine = await machineWith("v1");
  await using registry = await startRegistry();
  const layout = join(machine.directory, "new");
  writeSmallOs(layout, { v2: { more } });
  await registry.push(layout, "v2", "os/base:v2");
  // What the new image says of itself counts for nothing.
  const tree = await podTree(machine, "v2", { more });
  const policy = JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] });
  Deno.writeTextFileSync(join(tree, "etc/cos/policy.json"), policy);
  const env = { UPGRADE_IMAGE: `${registry.host}/os/base`, SYSTEM_UPGRADE_PLAN_LATEST_VERSION: "v2" };
  const name = `${registry.host}/os/base:v2`;
  const refused = await pod(machine, tree, { env });
  assert.deepEqual([refused.status, refused.reboots], [18, []]);
  assert.ok(refused.word.startsWith(`Error: Refused ${name} (`), refused.word);
  const allowing = { env, prepare: `echo '${policy}' > "$host/etc/cos/policy.json"` };
  assertReboots(await pod(machine, tree, allowing), name);
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
  assertDone(
    await pod(machine, tree, { ...allowing, boot: "two" }),
    /^Done: node-1 runs \S+\/os\/base:v2 \([0-9a-f]{12}\)\.\n$/,
  );
});

Deno.test("the pod's own image is pulled by the digest that the cluster's API tells; logins come from the Plan's secrets", async () => {
  await using machine = await machineWith("v1");
  const user = { name: "puller", password: "s3cret" };
  await using registry = await startRegistry({ user });
  const layout = join(machine.directory, "new");
  writeSmallOs(layout, { v2: { more } });
  const digest = await registry.push(layout, "v2", "os/base:v2");
  const { ca, certificate, key } = await makeCertificates(machine.directory);
  const seen: string[] = [];
  await using api = Deno.serve({
    port: 0,
    hostname: "127.0.0.1",
    cert: Deno.readTextFileSync(certificate),
    key: Deno.readTextFileSync(key),
    onListen: () => undefined,
  }, (request) => {
    seen.push(`${new URL(request.url).pathname} ${request.headers.get("authorization")}`);
    return Response.json({
      spec: { containers: [{ name: "upgrade", image: `${registry.host}/os/base:v2` }] },
      status: { containerStatuses: [{ name: "upgrade", imageID: `${registry.host}/os/base@${digest}` }] },
    });
  });
  const login = JSON.stringify({ auths: { [registry.host]: { auth: btoa(`${user.name}:${user.password}`) } } });
  const prepare = `
    set -e
    d="$pod/var/run/secrets/kubernetes.io/serviceaccount" s="$pod/run/system-upgrade/secrets/pull"
    mkdir -p "$d" "$s"; cp "${ca}" "$d/ca.crt"; echo t0ken > "$d/token"; printf system-upgrade > "$d/namespace"
    echo '${login}' > "$s/.dockerconfigjson"
  `;
  const env = {
    KUBERNETES_SERVICE_HOST: "127.0.0.1",
    KUBERNETES_SERVICE_PORT: String(api.addr.port),
    SYSTEM_UPGRADE_POD_NAME: "apply-os-x",
  };
  const tree = await podTree(machine, "v2", { more });
  const ran = await pod(machine, tree, { env, prepare });
  assertReboots(ran, `${registry.host}/os/base:v2@${digest}`);
  assert.deepEqual(seen, ["/api/v1/namespaces/system-upgrade/pods/apply-os-x Bearer t0ken"]);
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
  // By the digest alone: the registry is not asked.
  await registry.close();
  assertDone(
    await pod(machine, tree, { env, prepare, boot: "two" }),
    /^Done: node-1 runs \S+\/os\/base \([0-9a-f]{12}\)\.\n$/,
  );
});

Deno.test("a host that fell back is told of once a pod, and never rebooted again: also where nothing counts boots", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  assertReboots(await pod(machine, tree), OWN);
  for (const env of [{}, { FORCE: "true" }] as Record<string, string>[]) {
    const { status, word, reboots } = await pod(machine, tree, { slot: "passive", boot: "two", env });
    assert.deepEqual([status, reboots], [40, []]);
    assert.match(
      word,
      /^Error: Refused the files of a pod of Plan os: this machine was rebooted into it at \S+, and came up with another system\.\n/,
    );
  }
  // A mended image is another one.
  const mended = await podTree(machine, "v3", { more });
  assertReboots(await pod(machine, mended, { slot: "passive", boot: "two" }), OWN);
  assert.deepEqual(await versions(machine), ["v3", "v1"]);
});

Deno.test("where GRUB counts, the pod waits while its system is on trial, and a known bad one is refused", async () => {
  const marking = [...more, ...markingUnit()];
  await using machine = await deployedMachine({ v1: { more: marking } }, { counts: true, stateMiB: 300 });
  const tree = await podTree(machine, "v2", { more: marking });
  assertReboots(await pod(machine, tree), OWN);
  assert.equal((await chooseEntry(machine.state)).entry, "cos");
  {
    await using host = await labHost(machine, "active");
    const waiting = host.pod(tree, { env: PLAN, boot: "two" });
    // It looks again and again; whenever the mark comes, it ends.
    await using booted = await boot(machine, "active");
    while ((await booted.cos("boot", "good")).status === 8) { /* the other one looks just now */ }
    assertDone(await waiting, /^Done: /);
  }
  const next = await podTree(machine, "v3", { more: marking });
  assertReboots(await pod(machine, next, { boot: "two" }), OWN);
  for (let i = 0; i < 4; i++) await chooseEntry(machine.state);
  for (let i = 0; i < 2; i++) {
    const { status, word, reboots } = await pod(machine, next, { slot: "passive", boot: "three" });
    assert.deepEqual([status, reboots], [40, []]);
    assert.match(word, /^Error: Refused /);
  }
});

Deno.test("a host that goes down is waited for; one that is degraded is upgraded; without systemd its own reboot is run", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  const ran = await pod(machine, tree, { state: "stopping", later: "degraded", systemd: true });
  assert.match(ran.err, /^ {2}This machine is going down; waiting for that$/m);
  assertReboots(ran, OWN);
  const { status, reboots } = await pod(machine, tree, { slot: "passive", systemd: false });
  assert.deepEqual([status, reboots], [1, ["program "]]);
});

Deno.test("two pods at once: one installs, the other waits for it", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  const both = await Promise.all([pod(machine, tree), pod(machine, tree)]);
  for (const ran of both) assertReboots(ran, OWN);
  assert.equal(both.filter(({ err }) => err.includes("Making the new image")).length, 1);
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
});

Deno.test("a pod that was killed is taken up by the next one", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  for (const call of ["linkat:when=1", "renameat:when=1", "renameat:when=2"]) {
    const { status, word } = await pod(machine, tree, { inject: call.replace(":", ":signal=SIGKILL:") });
    assert.deepEqual([status, word], [137, ""], call);
    assert.deepEqual(await heldByKilled(machine.state), []);
    assert.ok(["v1", "v2"].includes((await versions(machine))[0] ?? ""));
  }
  assertReboots(await pod(machine, tree), OWN);
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
});

Deno.test("a policy decides over the pod's files; what distributions ship for containers is none, unless it refuses", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  await using host = await labHost(machine, "active");
  const directory = join(host.etc, "containers");
  Deno.mkdirSync(directory);
  const accept = [{ type: "insecureAcceptAnything" }], reject = [{ type: "reject" }];
  const write = (path: string, value: unknown) => Deno.writeTextFileSync(path, JSON.stringify(value));
  write(join(directory, "policy.json"), { default: reject });
  assert.equal((await host.pod(tree, { env: PLAN })).status, 31);
  write(join(host.etc, "cos/policy.json"), { default: accept });
  assert.equal((await host.pod(tree, { env: PLAN })).status, 31);
  write(join(host.etc, "cos/policy.json"), { default: reject, transports: { directory: { "": accept } } });
  assertReboots(await host.pod(tree, { env: PLAN }), OWN);
  Deno.removeSync(join(host.etc, "cos/policy.json"));
  write(join(directory, "policy.json"), { default: accept, transports: { "docker-daemon": { "": accept } } });
  assertReboots(await host.pod(tree, { env: PLAN }), OWN);
});

Deno.test("hooks are the host's, run in its root, and see the new system there; the new image's are not run", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  const hook = (etc: string, stage: string, text: string) => {
    const directory = join(etc, `cos/hooks/${stage}.d`);
    Deno.mkdirSync(directory, { recursive: true });
    Deno.writeTextFileSync(join(directory, "10-say"), `#!/bin/sh\n${text} >> /tmp/said\n`, { mode: 0o755 });
  };
  await using host = await labHost(machine, "active");
  for (const stage of ["before-upgrade", "post-upgrade"]) {
    hook(host.etc, stage, `echo "${stage} $(grep VERSION_ID /etc/os-release)"`);
    hook(join(tree, "etc"), stage, "echo wrong");
  }
  hook(host.etc, "after-upgrade", 'echo "after-upgrade $(grep VERSION_ID "$COS_TREE/etc/os-release")"');
  const ran = await host.pod(tree, { env: PLAN });
  assertReboots(ran, OWN);
  assert.equal(
    Deno.readTextFileSync(join(host.tmp, "said")),
    "before-upgrade VERSION_ID=v1\nafter-upgrade VERSION_ID=v2\npost-upgrade VERSION_ID=v1\n",
  );
});

Deno.test("a host whose kernel has no openat2 is upgraded", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  assertReboots(await pod(machine, tree, { inject: "openat2:error=ENOSYS" }), OWN);
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
});

Deno.test("a link in the host's configuration leads within the host", async () => {
  await using machine = await machineWith("v1");
  const layout = join(machine.directory, "new");
  writeSmallOs(layout, { v2: { more } });
  const tree = await podTree(machine, "v2", { more }),
    policy = (type: string) => JSON.stringify({ default: [{ type }] });
  // The pod has a file of that name too, and it would allow everything.
  Deno.writeTextFileSync(join(tree, "etc/cos/linked.json"), policy("insecureAcceptAnything"));
  await using host = await labHost(machine, "active");
  Deno.writeTextFileSync(join(host.etc, "cos/linked.json"), policy("reject"));
  Deno.symlinkSync("/etc/cos/linked.json", join(host.etc, "cos/policy.json"));
  const { status, reboots } = await host.pod(tree, {
    env: { ...PLAN, UPGRADE_IMAGE: `oci:/tmp/new:v2` },
    prepare: `cp -r "${layout}" "$scratch/new"`,
  });
  assert.deepEqual([status, reboots], [31, []]);
});

Deno.test("what is no host's root is refused", async () => {
  await using machine = await machineWith("v1");
  const tree = await podTree(machine, "v2", { more });
  const reasons: [string, string, string][] = [
    ["/nowhere", ":", "there is no such directory"],
    ["/", ":", "it is the root of this very pod"],
    [
      "/host",
      'umount "$pod/host/proc/cmdline" "$pod/host/proc/sys/kernel/random/boot_id" "$pod/host/proc"',
      "its /proc is not mounted in it",
    ],
  ];
  for (const [path, prepare, why] of reasons) {
    const { status, word } = await pod(machine, tree, { env: { HOST_DIR: path }, prepare });
    assert.deepEqual([status, word.split("\n")[0]], [28, `Error: Cannot work on the host at ${path}: ${why}.`]);
  }
});

Deno.test("the upgrade image in a real container, as the controller's job runs it", async () => {
  await using machine = await machineWith("v1");
  const layout = join(machine.directory, "new");
  writeSmallOs(layout, { v2: { more } });
  {
    await using host = await labHost(machine, "active");
    assertReboots(await host.container(layout, "v2", { env: PLAN }), OWN);
  }
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
  assert.deepEqual(await heldBy(machine.state), []);
  {
    await using state = await mount(machine.state);
    await using image = await mountImage(join(state.path, "cOS/active.img"));
    const below = (path: string) => [...Deno.readDirSync(join(image.path, path))].map(({ name }) => name).sort();
    const own = [...MOUNT_POINTS, "boot", "etc", "oem", "usr"].sort();
    assert.deepEqual(below(".").filter((name) => name !== "lost+found"), own);
    assert.deepEqual(below("etc").filter((name) => name !== "mtab"), ["cos", "os-release"]);
    for (const path of ["dev", "run", "proc", "sys", "tmp"]) assert.deepEqual(below(path), [], path);
  }
  await using host = await labHost(machine, "active");
  assertDone(
    await host.container(layout, "v2", { env: PLAN, boot: "two" }),
    /^Done: node-1 runs .* \([0-9a-f]{12}\)\.\n$/,
  );
});

Deno.test("the recovery system becomes the same once the host runs the new one, or alone without a reboot; never twice", async () => {
  await using machine = await machineWith("v1");
  const recovery = async () => {
    await using mounted = await mount(machine.disk.partitions.recovery);
    const path = join(mounted.path, "cOS/recovery.img");
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return "none";
    await using image = await mountImage(path);
    const [, version] = /^VERSION_ID="?([^"\n]*)"?$/m.exec(Deno.readTextFileSync(join(image.path, "etc/os-release"))) ??
      [];
    return `${version} ${Deno.statSync(path).ino}`;
  };
  const [v2, v3] = [await podTree(machine, "v2", { more }), await podTree(machine, "v3", { more })];
  const env = { UPGRADE_RECOVERY: "true" };
  assertReboots(await pod(machine, v2, { env }), OWN);
  assert.equal(await recovery(), "none");
  const done = await pod(machine, v2, { env, boot: "two" });
  assert.deepEqual([done.status, done.reboots], [0, []], done.err);
  const made = await recovery();
  assert.match(made, /^v2 \d+$/);
  assertDone(await pod(machine, v2, { env, boot: "two" }), /^Done: node-1 runs /);
  assert.equal(await recovery(), made);
  const alone = { UPGRADE_RECOVERY_ONLY: "true", SYSTEM_UPGRADE_PLAN_LATEST_HASH: "b2" };
  const only = await pod(machine, v3, { env: alone, boot: "two" });
  assert.deepEqual([only.status, only.reboots, only.word], [
    0,
    [],
    `Done: the recovery system of node-1 is ${OWN}.\n`,
  ], only.err);
  assert.match(await recovery(), /^v3 \d+$/);
  assert.deepEqual(await versions(machine), ["v2", "v1"]);
});
