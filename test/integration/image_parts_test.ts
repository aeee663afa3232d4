/** `cos boot install --image`: units and initramfs modules in the tree of an image that is being built. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { putFile, scratchDirectory } from "../lab/cleanup.ts";
import { runProgram } from "../lab/machine.ts";
import { staticFile } from "../lab/static-file.ts";

const UNITS = ["good", "note"].map((name) => `usr/lib/systemd/system/cos-boot-${name}.service`);
const LINKS = ["good", "note"].map((name) => `etc/systemd/system/multi-user.target.wants/cos-boot-${name}.service`);
const TOOLS = ["hooks/cos", "scripts/cos", "scripts/init-top/cos"].map((name) => `etc/initramfs-tools/${name}`);
const PACKAGING = new URL("../../packaging/", import.meta.url);

async function install(directory: string, ...flags: string[]) {
  const { status, out, err } = await runProgram(await staticFile(), [
    "boot",
    "install",
    "--image",
    directory,
    ...flags,
  ]);
  return { status, out, err };
}

/** Paths of what is no directory, with the modes of files. */
function listed(root: string, path = ""): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync(join(root, path))) {
    const below = path === "" ? name : `${path}/${name}`, full = join(root, below);
    if (isDirectory) Object.assign(found, listed(root, below));
    else found[below] = isSymlink ? Deno.readLinkSync(full) : ((Deno.statSync(full).mode ?? 0) & 0o777).toString(8);
  }
  return found;
}

Deno.test("an image with initramfs-tools: written, written again, removed", async () => {
  await using scratch = scratchDirectory("image");
  const root = join(scratch.path, "root");
  putFile(join(root, "usr/bin/cos"), "");
  Deno.mkdirSync(join(root, "usr/share/initramfs-tools"), { recursive: true });
  const all = [...UNITS, ...TOOLS, ...LINKS];
  assert.deepEqual(await install(root), {
    status: 0,
    out: `Written:\n${all.map((path) => `  ${path}\n`).join("")}Next: update-initramfs -u\n`,
    err: "",
  });
  assert.deepEqual(listed(root), {
    "usr/bin/cos": "644",
    ...Object.fromEntries(UNITS.map((path) => [path, "644"])),
    ...Object.fromEntries(LINKS.map((path, i) => [path, `/${UNITS[i]}`])),
    "etc/initramfs-tools/hooks/cos": "755",
    "etc/initramfs-tools/scripts/cos": "644",
    "etc/initramfs-tools/scripts/init-top/cos": "755",
  });
  for (const name of ["hooks/cos", "scripts/cos"]) {
    const source = Deno.readTextFileSync(new URL(`initramfs-tools/${name}`, PACKAGING));
    assert.equal(Deno.readTextFileSync(join(root, "etc/initramfs-tools", name)), source);
  }
  assert.deepEqual(await install(root), { status: 0, out: "It is all there already.\n", err: "" });
  // What somebody has changed stays.
  Deno.writeTextFileSync(join(root, "etc/initramfs-tools/hooks/cos"), "#!/bin/sh\n");
  const removed = all.filter((path) => !path.endsWith("hooks/cos"));
  assert.deepEqual(await install(root, "--remove", "--json"), {
    status: 0,
    out: `${
      JSON.stringify(
        { schemaVersion: 1, operation: "boot install", image: root, removed: true, changed: removed, warnings: [] },
        undefined,
        2,
      )
    }\n`,
    err: "",
  });
  assert.deepEqual(listed(root), { "usr/bin/cos": "644", "etc/initramfs-tools/hooks/cos": "755" });
});

Deno.test("an image with dracut; one with neither, and without cos; one that is not there", async () => {
  await using scratch = scratchDirectory("image");
  const [dracut, bare] = ["dracut", "bare"].map((name) => join(scratch.path, name)) as [string, string];
  Deno.mkdirSync(join(dracut, "usr/lib/dracut"), { recursive: true });
  Deno.mkdirSync(bare);
  const { status, out } = await install(dracut);
  assert.deepEqual([status, out.split("\n").at(-2)], [0, "Next: dracut --force --regenerate-all"]);
  const modules = [...Deno.readDirSync(new URL("dracut/90cos", PACKAGING))].map(({ name }) => name).sort();
  const found = Object.keys(listed(dracut)).filter((path) => path.includes("/90cos/"));
  assert.deepEqual(found.sort(), modules.map((name) => `usr/lib/dracut/modules.d/90cos/${name}`));
  const without = await install(bare);
  assert.deepEqual(without.err.trim().split("\n"), [
    "Warning: /usr/bin/cos is not in the image yet: units and initramfs start it.",
    "Warning: The image has neither dracut nor initramfs-tools: its initramfs must run cos boot root.",
  ]);
  assert.deepEqual(Object.keys(listed(bare)).sort(), [...LINKS, ...UNITS].sort());
  const missing = await install(join(scratch.path, "nowhere"));
  assert.deepEqual([missing.status, missing.out], [2, ""]);
});
