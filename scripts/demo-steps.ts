/**
 * The steps of scripts/demo. What each command says is checked by other means than the program's own: bytes of the
 * image file, the kernel's mount of it, skopeo's digest.
 *
 *   demo-steps.ts STATIC_FILE STARTED_MS
 */
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../test/lab/cleanup.ts";
import { createDisk, imageLabel, type LabDisk, mount, mountImage } from "../test/lab/disk.ts";
import { sha256 } from "../test/lab/oci-layout.ts";
import { buildOsImages, type OsVersion } from "../test/lab/os-image.ts";
import { type Registry, startRegistry } from "../test/lab/registry.ts";
import { run, runVisibly } from "../test/lab/run.ts";
import { makeKey } from "../test/lab/signing/keys.ts";
import { attachment, publishAttachments, registryPlace } from "../test/lab/signing/publish.ts";

type Slot = "active" | "passive";
type Slots = Record<Slot, OsVersion>;

const SLOTS = ["active", "passive"] as const;
const LABELS = { active: "COS_ACTIVE", passive: "COS_PASSIVE" };
const MIB = 1 << 20;

/** A check that failed: the program said something that is not so. */
class CheckFailed extends Error {}

interface Demo {
  cos: string;
  disk: LabDisk;
  registry: Registry;
}

async function main([cos, started]: string[]): Promise<void> {
  if (cos === undefined || started === undefined) throw new Error("usage: demo-steps.ts STATIC_FILE STARTED_MS");

  title("The parts");
  await using scratch = scratchDirectory("demo");
  const layout = join(scratch.path, "layout");
  const { v1, v2 } = await buildOsImages(layout);
  for (const { prettyName, kernelVersion, compressedBytes } of [v1, v2]) {
    told(`an image of ${prettyName}, with Linux ${kernelVersion}: ${Math.round(compressedBytes / MIB)} MiB`);
  }
  await using disk = await createDisk();
  told(`a disk in a file, on ${disk.device}: COS_OEM, COS_STATE, COS_RECOVERY, COS_PERSISTENT`);
  await using registry = await startRegistry();
  const reference = (image: OsVersion) => `${registry.host}/demo/os:${image.tag}`;
  for (const image of [v1, v2]) await registry.push(layout, image.tag, `demo/os:${image.tag}`);
  told(`a registry at ${registry.host}, with both versions in it`);
  const demo = { cos, disk, registry };

  title("The first system, on an empty partition");
  await command(demo, "deploy", reference(v1), "--no-verify");
  await checkDisk(demo, { active: v1, passive: v1 });
  await showStatus(demo, { active: v1, passive: v1 });

  title("An image that nobody vouches for is refused");
  const key = await makeKey("p256"), keyFile = join(scratch.path, "release.pub");
  writeFileSync(keyFile, key.pem);
  await ends(demo, 31, "upgrade", reference(v2), "--key", keyFile);
  await checkDisk(demo, { active: v1, passive: v1 });

  title("Signed as cosign signs, it is installed");
  const repository = `${registry.host}/demo/os`, place = registryPlace(registry.host, "demo/os");
  await publishAttachments(place, v2.digest, [await attachment(key, v2.digest, repository)]);
  told("the image has a signature in the registry now");
  await command(demo, "upgrade", reference(v2), "--key", keyFile);
  await checkDisk(demo, { active: v2, passive: v1 });
  await showStatus(demo, { active: v2, passive: v1 });

  title("Asked again, there is nothing to do");
  const before = await inodes(disk);
  await command(demo, "upgrade", reference(v2), "--key", keyFile);
  check("the images are the ones they were", await inodes(disk), before);

  title("The way back");
  await command(demo, "rollback");
  await checkDisk(demo, { active: v1, passive: v2 });
  await showStatus(demo, { active: v1, passive: v2 });

  await registry.close();
  await disk.close();
  await scratch.close();
  const seconds = ((Date.now() - Number(started)) / 1000).toFixed(1);
  console.log(
    `\nThe demo has passed: deployed, verified, upgraded and rolled back, and each step checked, in ${seconds} s.`,
  );
}

async function command(demo: Demo, ...args: string[]): Promise<void> {
  await ends(demo, 0, ...args);
}

/** Runs the program as a person would, who sees its words as they come. @param status it must end with. */
async function ends({ cos, disk }: Demo, status: number, ...args: string[]): Promise<void> {
  const all = [...args, "--state", disk.partitions.state];
  console.log(`\n$ cos ${all.join(" ")}`);
  const code = await runVisibly(cos, all);
  if (code !== status) throw new CheckFailed(`cos ${args[0]} ended with ${code}, not ${status}`);
  if (status !== 0) told(`it ended with the status ${status}`);
  await checkNothingStays(disk);
}

async function showStatus(demo: Demo, expected: Slots): Promise<void> {
  await command(demo, "status");
  const json = JSON.parse(await run(demo.cos, ["status", "--json", "--state", demo.disk.partitions.state])) as {
    slots: { slot: Slot; version?: string; digest?: string; label?: string }[];
  };
  for (const slot of SLOTS) {
    const image = expected[slot];
    const said = json.slots.find((one) => one.slot === slot);
    const digest = await demo.registry.manifestDigest(`demo/os:${image.tag}`);
    check(
      `status says ${slot} is ${image.version}, ${short(digest)}: the digest that skopeo sees in the registry`,
      [said?.version, said?.digest],
      [image.version, digest],
    );
  }
}

/** What lies on the partition, looked at by this machine's kernel and by e2fsck. */
async function checkDisk({ disk }: Demo, expected: Slots): Promise<void> {
  await using state = await mount(disk.partitions.state);
  const path = (slot: Slot) => join(state.path, "cOS", `${slot}.img`);
  const one = lstatSync(path("active")).ino === lstatSync(path("passive")).ino;
  check(
    one ? "active.img and passive.img are one file" : "active.img and passive.img are two files",
    one,
    expected.active === expected.passive,
  );
  for (const slot of one ? ["active"] as const : SLOTS) {
    check(`${slot}.img is labelled ${LABELS[slot]}`, imageLabel(path(slot)), LABELS[slot]);
    await run("e2fsck", ["-fn", path(slot)]);
    await using image = await mountImage(path(slot));
    checkSystem(slot, image.path, expected[slot]);
  }
  const left = ["transition.img", "spare.img"].filter((name) => existsSync(join(state.path, "cOS", name)));
  check("nothing unfinished lies beside them", left, []);
}

function checkSystem(slot: Slot, root: string, expected: OsVersion): void {
  const release = readFileSync(join(root, "usr/lib/os-release"), "utf8");
  const pretty = /^PRETTY_NAME="(.*)"$/m.exec(release)?.[1];
  check(`${slot}.img passes e2fsck, and its os-release says "${expected.prettyName}"`, pretty, expected.prettyName);
  const digests = ["vmlinuz", "initrd"].map((name) => sha256(readFileSync(join(root, "boot", name))));
  check(
    `its kernel is Linux ${expected.kernelVersion}, ${short(expected.kernelDigest)}; its initrd the one of the image`,
    digests,
    [expected.kernelDigest, expected.initrdDigest],
  );
  if (expected.tag !== "v2") return;
  const demo = (name: string) => join(root, "usr/share/demo", name);
  const gone = [demo("goes-away"), demo("goes-away.d"), join(root, "var/cache/demo/old")].filter(existsSync);
  const links = ["one", "three", "four"].map((name) => lstatSync(demo(name)).ino);
  const caps = execFileSync("getcap", [join(root, "usr/bin/ping")], { encoding: "utf8" }).trim().replace(/^\S+ /, "");
  check(
    "what version 2 removes is gone, its hardlinks are one file, its file capabilities are set",
    [gone, new Set(links).size, caps],
    [[], 1, "cap_net_admin,cap_net_raw=ep"],
  );
}

/**
 * The program mounts in a way that no list of mounts shows. But the kernel gives a device to one user at a time: who
 * can open it with O_EXCL knows that it is mounted nowhere, and a loop device of an image would keep it mounted.
 */
async function checkNothingStays({ partitions }: LabDisk): Promise<void> {
  for (const partition of [partitions.state, partitions.recovery]) {
    await run("perl", ["-MFcntl", "-e", 'sysopen(my $f, $ARGV[0], O_RDONLY | O_EXCL) or die "$!\\n"', partition]);
  }
  told("no mount and no loop device stays");
}

async function inodes(disk: LabDisk): Promise<number[]> {
  await using state = await mount(disk.partitions.state);
  return SLOTS.map((slot) => lstatSync(join(state.path, "cOS", `${slot}.img`)).ino);
}

function check(claim: string, found: unknown, expected: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new CheckFailed(`${claim}: no, found ${JSON.stringify(found)} in place of ${JSON.stringify(expected)}`);
  }
  told(claim);
}

function told(fact: string): void {
  console.log(`✓ ${fact}`);
}

function title(text: string): void {
  console.log(`\n== ${text}`);
}

/** Enough of a digest for the eye. */
function short(digest: string): string {
  return digest.slice(0, "sha256:".length + 12);
}

try {
  await main(Deno.args);
} catch (error) {
  if (!(error instanceof CheckFailed)) throw error;
  console.error(`✗ ${error.message}`);
  Deno.exit(1);
}
