/** Each error as the operator reads it, whole, and the machine untouched by it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type DeployedMachine, deployedMachine } from "../lab/deployed.ts";
import { type LabMachine, labMachine, type Ran, runProgram } from "../lab/machine.ts";
import { mount } from "../lab/disk.ts";
import { packLayer, writeLayout } from "../lab/oci-layout.ts";
import { startRegistry } from "../lab/registry.ts";
import { smallSystem, writeSmallOs } from "../lab/small-os.ts";
import { staticFile } from "../lab/static-file.ts";
import * as t from "../lab/tar-writer.ts";

/** A machine with v1 on it. Tests that must not change it share one. */
let shared: DeployedMachine | undefined;

async function machineWithV1(): Promise<{ machine: LabMachine; layout: string }> {
  shared ??= await deployedMachine({ v1: {}, v2: {} }, { stateMiB: 200 });
  return { machine: shared, layout: shared.layout };
}

Deno.test.afterAll(async () => {
  await shared?.[Symbol.asyncDispose]();
});

async function filesOf(machine: LabMachine): Promise<string[]> {
  await using state = await mount(machine.state);
  return [...Deno.readDirSync(join(state.path, "cOS"))].map(({ name }) => name).sort();
}

/** What is on standard error behind the plan, whose lines come before what fails later. */
function errorOf({ err }: Ran): string {
  return err.slice(err.lastIndexOf("Error: "));
}

async function assertRefused(
  words: string[],
  status: number,
  error: string,
  run?: (machine: LabMachine) => Promise<Ran>,
): Promise<void> {
  const { machine } = await machineWithV1();
  const before = await machine.slots();
  const ran = await (run?.(machine) ?? machine.cos(...words));
  assert.equal(errorOf(ran), error);
  assert.equal(ran.status, status);
  assert.equal(ran.out, "");
  assert.deepEqual(await machine.slots(), before);
  assert.deepEqual(await filesOf(machine), ["active.img", "passive.img", "state.json"]);
}

const WRONG_BUILD = "The image was built or stored wrongly: build it again, or ask whoever publishes it.";

Deno.test("an image that the registry does not have", async () => {
  await using registry = await startRegistry();
  const image = `${registry.host}/demo/os:v9`;
  await assertRefused(
    ["upgrade", image, "--no-verify"],
    11,
    `Error: Cannot find ${image}: the registry has no such image.\n  Check the repository's name and the tag; some registries say this too where a login is needed.\n`,
  );
});

Deno.test("an image that the layout does not have", async () => {
  const { layout } = await machineWithV1();
  await assertRefused(
    ["upgrade", `oci:${layout}:v9`, "--no-verify"],
    11,
    `Error: Cannot find oci:${layout}:v9: the layout has no such image.\n  It has: v1, v2.\n`,
  );
});

Deno.test("a registry that does not listen", async () => {
  // A port that was free a moment ago, and that nobody else is given.
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const host = `127.0.0.1:${listener.addr.port}`;
  listener.close();
  await assertRefused(
    ["upgrade", `${host}/demo/os:v1`, "--no-verify"],
    12,
    `Error: Cannot reach the registry ${host}: it refuses connections.\n  Check the network, the registry's name, a proxy (HTTPS_PROXY) and that the registry runs; then run it again.\n`,
  );
});

Deno.test("a registry that wants a login", async () => {
  const { machine, layout } = await machineWithV1();
  await using registry = await startRegistry({ user: { name: "operator", password: "a:b c" } });
  await registry.push(layout, "v2", "demo/os:v2");
  const image = `${registry.host}/demo/os:v2`;
  await assertRefused(
    ["upgrade", image, "--no-verify"],
    13,
    `Error: Cannot read ${image}: the registry refuses access (it says: authentication required).\n  Put a login for ${registry.host} into /etc/cos/auth.json or ~/.docker/config.json, or check that it may read this repository.\n`,
  );
  // With the login in a file it is let in.
  const file = join(machine.directory, "auth.json");
  Deno.writeTextFileSync(file, JSON.stringify({ auths: { [registry.host]: { auth: btoa("operator:a:b c") } } }));
  const words = ["upgrade", image, "--no-verify", "--dry-run", "--state", machine.state];
  const ran = await runProgram(await staticFile(), words, { REGISTRY_AUTH_FILE: file });
  assert.equal(ran.status, 0, ran.err);
});

Deno.test("a registry that gives other bytes than the digest names", async () => {
  const { machine } = await machineWithV1();
  const layout = join(machine.directory, "lies");
  const [written] = writeLayout(layout, { v2: { layers: [packLayer(t.tar(smallSystem("v2")), "gzip")] } });
  const manifest = JSON.parse(
    Deno.readTextFileSync(join(layout, "blobs/sha256", written?.descriptor.digest.slice(7) ?? "")),
  );
  const { digest } = manifest.layers[0], path = join(layout, "blobs/sha256", digest.slice(7));
  const bytes = Deno.readFileSync(path);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  Deno.writeFileSync(path, bytes);
  const { stdout } = await new Deno.Command("sha256sum", { args: [path] }).output();
  const found = `sha256:${new TextDecoder().decode(stdout).slice(0, 64)}`;
  await assertRefused(
    ["upgrade", `oci:${layout}:v2`, "--no-verify"],
    15,
    `Error: Refused layer ${digest} of oci:${layout}:v2: expected ${digest}, got ${found}.\n  The bytes were changed or damaged where they are kept or on their way; try again, then ask whoever runs the registry, or make the files anew.\n`,
  );
});

Deno.test("a layer that unpacks to something else than the configuration says", async () => {
  const { machine } = await machineWithV1();
  const layout = join(machine.directory, "other-diff-id"), lie = `sha256:${"0".repeat(64)}`;
  const layer = packLayer(t.tar(smallSystem("v2")), "gzip");
  writeLayout(layout, { v2: { layers: [{ ...layer, lie: { diffId: lie } }] } });
  await assertRefused(
    ["upgrade", `oci:${layout}:v2`, "--no-verify"],
    15,
    `Error: Refused layer 1 of oci:${layout}:v2: unpacked it is ${layer.diffId}, and the image's configuration says ${lie}.\n  The image was built or pushed wrongly: build it again, or ask whoever publishes it.\n`,
  );
});

Deno.test("a layer that is no archive", async () => {
  const { machine } = await machineWithV1();
  const layout = join(machine.directory, "broken");
  writeLayout(layout, { v2: { layers: [packLayer(new Uint8Array(2048).fill(0x41), "gzip")] } });
  await assertRefused(
    ["upgrade", `oci:${layout}:v2`, "--no-verify"],
    17,
    `Error: Cannot read the layer as a tar archive: a header's checksum is no octal number.\n  ${WRONG_BUILD}\n`,
  );
});

Deno.test("a layer that leads out of the image", async () => {
  const { machine } = await machineWithV1();
  const layout = join(machine.directory, "escape");
  writeSmallOs(layout, { v2: { more: [t.file("../../etc/evil", "evil")] } });
  await assertRefused(
    ["upgrade", `oci:${layout}:v2`, "--no-verify"],
    17,
    `Error: Cannot unpack the layer: the path "../../etc/evil" leads upwards.\n  ${WRONG_BUILD}\n`,
  );
});

for (
  const [what, leaveOut, why] of [
    ["a kernel", "boot/vmlinuz", "its kernel /boot/vmlinuz is missing or empty"],
    ["an initrd", "boot/initrd", "its initrd /boot/initrd is missing or empty"],
    ["boot arguments", "etc/cos/bootargs.cfg", "it has no /etc/cos/bootargs.cfg"],
  ] as const
) {
  Deno.test(`an image without ${what}`, async () => {
    const { machine } = await machineWithV1();
    const layout = join(machine.directory, `without ${what}`);
    writeSmallOs(layout, { v2: { replace: { [leaveOut]: undefined } } });
    await assertRefused(
      ["upgrade", `oci:${layout}:v2`, "--no-verify"],
      19,
      `Error: Refused oci:${layout}:v2: ${why}, so it could not boot.\n  Build the image with a kernel, an initrd and /etc/cos/bootargs.cfg that names them.\n`,
    );
  });
}

Deno.test("an image for another kind of machine", async () => {
  const { machine } = await machineWithV1();
  const layout = join(machine.directory, "other-machine");
  const layer = packLayer(t.tar(smallSystem("v2")), "gzip");
  writeLayout(layout, { v2: { layers: [layer], platform: { os: "linux", architecture: "s390x" } } });
  await assertRefused(
    ["upgrade", `oci:${layout}:v2`, "--no-verify"],
    16,
    `Error: Cannot use oci:${layout}:v2: it is made for linux/s390x, and this machine is linux/amd64.\n  Name an image of an operating system, built for this machine's architecture.\n`,
  );
});

/** Debian's packages of container tools bring a policy that accepts anything. */
const noPolicy = existsSync("/etc/containers/policy.json")
  ? "/etc/containers/policy.json accepts anything by default, which is said of containers and not of this system"
  : "there is no policy";

Deno.test("an image that nobody vouches for, without a word of the operator", async () => {
  const { layout } = await machineWithV1();
  const digests = writeSmallOs(join(layout, "..", "unverified"), { v2: {} });
  const image = `oci:${join(layout, "..", "unverified")}:v2`;
  await assertRefused(
    ["upgrade", image],
    18,
    `Error: Refused ${image} (${
      digests.v2?.slice(7, 19)
    }): nothing proves who made it, for ${noPolicy}.\n  Say in /etc/cos/policy.json whom to trust (docs/policy.md), for instance\n` +
      '  {"default": [{"type": "reject"}], "transports": {"oci": {\n' +
      '    "": [{"type": "sigstoreBundle",\n' +
      '      "keyPath": "/etc/cos/release.pub"}]}}}\n' +
      "  or name a key with --key FILE. To install it all the same, say --no-verify; that is recorded.\n",
  );
});

Deno.test("what is no reference", () =>
  assertRefused(
    ["upgrade", "system/cos", "--no-verify"],
    10,
    `Error: Cannot read "system/cos" as an image: it names neither a registry nor a tag nor a digest.\n  Give HOST/REPOSITORY:TAG, HOST/REPOSITORY@sha256:…, oci:PATH[:TAG], oci-archive:PATH[:NAME], docker-archive:PATH[:NAME:TAG] or dir:PATH.\n`,
  ));

Deno.test("a partition that is too small for what the image announces", async () => {
  const { machine } = await machineWithV1();
  const layout = join(machine.directory, "large");
  const noise = new Uint8Array(250 * 1024 * 1024);
  for (let at = 0; at < noise.length; at += 65536) crypto.getRandomValues(noise.subarray(at, at + 65536));
  writeSmallOs(layout, { v2: { more: [t.file("usr/noise", noise)] } });
  const { machine: { state } } = await machineWithV1();
  const ran = await machine.cos("upgrade", `oci:${layout}:v2`, "--no-verify");
  const figures = /needs at least (\d+) MiB and (\d+) MiB are free/.exec(ran.err);
  const [, needed = "", free = ""] = figures ?? [];
  assert.ok(Number(needed) >= 266 && Number(needed) < 275 && Number(free) < 200, ran.err);
  await assertRefused(
    ["upgrade", `oci:${layout}:v2`, "--no-verify"],
    20,
    `Error: Not enough space on ${state}: the new image needs at least ${needed} MiB and ${free} MiB are free.\n  Remove what else lies on that partition, or use a smaller image.\n`,
  );
});

Deno.test("a partition that turns out too small while the image is unpacked", async () => {
  const { machine } = await machineWithV1();
  const layout = join(machine.directory, "inflates");
  // Repeats compress well enough to pass every check before, and not so well as to look like a bomb.
  const text = new Uint8Array(400 * 1024 * 1024);
  for (let i = 0; i < text.length; i++) text[i] = (i >> 9) * 31 & 0xff;
  writeSmallOs(layout, { v2: { more: [t.file("usr/text", text)] } });
  const { machine: { state } } = await machineWithV1();
  const ran = await machine.cos("upgrade", `oci:${layout}:v2`, "--no-verify");
  assert.match(
    errorOf(ran),
    new RegExp(
      `^Error: Not enough space on ${state}: the new image needs at least \\d+ MiB and \\d+ MiB are free\\.\n  Remove what else lies on that partition, or use a smaller image\\.\n$`,
    ),
  );
  await assertRefused(["upgrade", `oci:${layout}:v2`, "--no-verify"], 20, errorOf(ran));
});

Deno.test("somebody who is not root", async () => {
  // The file must be reachable for them.
  const file = await Deno.makeTempFile({ prefix: "cos-" });
  try {
    await Deno.copyFile(await staticFile(), file);
    await Deno.chmod(file, 0o755);
    await assertRefused(
      [],
      3,
      "Error: Cannot look at or change the system's images: this needs root.\n  Run it with sudo, or as root.\n",
      ({ state }) =>
        runProgram("setpriv", [
          "--reuid",
          "65534",
          "--regid",
          "65534",
          "--clear-groups",
          file,
          "status",
          "--state",
          state,
        ]),
    );
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a tool that is not installed", async () => {
  const { layout } = await machineWithV1();
  const program = await staticFile();
  await assertRefused(
    [],
    21,
    "Error: The program mke2fs is not installed.\n  Install the package e2fsprogs; mke2fs is looked for in /usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin.\n",
    ({ state }) =>
      runProgram("unshare", [
        "-m",
        "sh",
        "-c",
        'mount -t tmpfs none /usr/sbin && exec "$@"',
        "sh",
        program,
        "upgrade",
        `oci:${layout}:v2`,
        "--no-verify",
        "--state",
        state,
      ]),
  );
});

Deno.test("a deployment where a system is already", async () => {
  const { layout, machine } = await machineWithV1();
  await assertRefused(
    ["deploy", `oci:${layout}:v2`, "--no-verify"],
    25,
    `Error: Cannot deploy to ${machine.state}: it already holds a system.\n  To replace it, use: cos upgrade IMAGE\n`,
  );
});

Deno.test("a rollback where there is one system only", async () => {
  const { machine } = await machineWithV1();
  await assertRefused(
    ["rollback"],
    24,
    `Error: Cannot roll back on ${machine.state}: active.img and passive.img are the same image.\n  There is one system only; put another beside it with: cos upgrade IMAGE\n`,
  );
});

Deno.test("a partition without a system", async () => {
  await using machine = await labMachine({ stateMiB: 64 });
  assert.deepEqual(await machine.cos("status"), {
    status: 4,
    out: "",
    err:
      `Error: Cannot find a system on ${machine.state}: it has no cOS/active.img and no cOS/passive.img.\n  Put the first images there with: cos deploy IMAGE\n`,
  });
});

Deno.test("a machine of the newer generation", async () => {
  await using machine = await labMachine({ stateMiB: 64 });
  {
    await using state = await mount(machine.state, "rw");
    Deno.mkdirSync(join(state.path, ".snapshots"));
  }
  assert.deepEqual(await machine.cos("status"), {
    status: 5,
    out: "",
    err:
      `Error: Cannot work on ${machine.state}: this system keeps snapshots, not an active and a passive image.\n  Use the elemental of that system for it.\n`,
  });
});

Deno.test("a filesystem on which a switch is not safe", async () => {
  const program = await staticFile();
  const script = 'mount -t tmpfs none "$1" && exec "$2" status --state "$1"';
  const directory = await Deno.makeTempDir({ prefix: "cos-" });
  try {
    assert.deepEqual(await runProgram("unshare", ["-m", "sh", "-c", script, "sh", directory, program]), {
      status: 6,
      out: "",
      err:
        `Error: Cannot use ${directory} as the state partition: its filesystem is tmpfs.\n  The state partition must be ext4, XFS or btrfs: only there are the steps of a switch known to survive a power cut.\n`,
    });
  } finally {
    await Deno.remove(directory);
  }
});

Deno.test("two partitions that could be the state partition", async () => {
  const { machine: one } = await machineWithV1();
  await using two = await labMachine({ stateMiB: 64 });
  const names = [one.state, two.state].sort().join(", ");
  assert.deepEqual(await runProgram(await staticFile(), ["status"]), {
    status: 7,
    out: "",
    err:
      `Error: Cannot tell which is the state partition: ${names} all have the label COS_STATE.\n  Name the right one with --state.\n`,
  });
});

Deno.test("a machine without a state partition", async () => {
  const program = await staticFile();
  // A view of the machine in which there is no block device to look at.
  const script = 'mount -t tmpfs none /sys/class/block && exec "$1" status';
  assert.deepEqual(await runProgram("unshare", ["-m", "sh", "-c", script, "sh", program]), {
    status: 4,
    out: "",
    err:
      "Error: Cannot find a state partition: no filesystem here has the label COS_STATE.\n  Run it on an image-based system, or name the partition with --state; another label is said as STATE_LABEL in /etc/cos/config.\n",
  });
});

Deno.test("errors are JSON where JSON is asked for", async () => {
  const { machine } = await machineWithV1();
  const { status, out, err } = await machine.cos("rollback", "--json");
  assert.equal(err, "");
  assert.equal(status, 24);
  assert.deepEqual(JSON.parse(out), {
    schemaVersion: 1,
    error: {
      code: "NO_FALLBACK",
      exitStatus: 24,
      message: `Cannot roll back on ${machine.state}: active.img and passive.img are the same image.`,
      hint: "There is one system only; put another beside it with: cos upgrade IMAGE",
      details: {},
    },
  });
});

Deno.test("a wrong command line ends with 2 and says what would be right", async () => {
  const { status, err } = await runProgram(await staticFile(), ["upgrde"]);
  assert.equal(status, 2);
  assert.equal(err, "No command registered for `upgrde`, did you mean `upgrade`?\n");
});

Deno.test("a layer that puts a directory over a link like /lib, unless told that it is meant so", async () => {
  const { machine } = await machineWithV1(), layout = join(machine.directory, "merged");
  const merged = [t.directory("usr/lib"), t.file("usr/lib/libc", "x"), t.symlink("lib", "usr/lib")];
  const layers = [smallSystem("v3", { more: merged }), [t.directory("lib"), t.file("lib/new", "x")]];
  writeLayout(layout, { v3: { layers: layers.map((layer) => packLayer(t.tar(layer), "gzip")) } });
  await assertRefused(
    ["upgrade", `oci:${layout}:v3`, "--no-verify"],
    17,
    `Error: Cannot unpack the layer: it puts a directory over the link /lib.
  The system below would lose what lies where the link leads: build the layer so that its files lie there too. Where it is meant so, say --replace-links.
`,
  );
  await using other = await labMachine({ stateMiB: 100 });
  await other.must("deploy", `oci:${layout}:v3`, "--no-verify", "--replace-links");
  assert.equal((await other.slots())["active"]?.version, "v3");
});
