/** Which trees say by themselves that they run well. */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { marksItself } from "../../lib/boot/marks-itself.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from "../../lib/system/kernel.ts";
import { LinuxKernel } from "../../lib/system/linux-kernel.ts";
import { TreeRoot } from "../../lib/system/tree-root.ts";
import { scratchDirectory } from "../lab/cleanup.ts";

const UNIT = "cos-boot-good.service";
const OURS = Deno.readTextFileSync(new URL(`../../packaging/systemd/${UNIT}`, import.meta.url));
const LIB = `usr/lib/systemd/system/${UNIT}`, WANTS = `etc/systemd/system/multi-user.target.wants/${UNIT}`;

/** Files by path; a value that begins with `->` is a link. */
async function marks(files: Record<string, string>): Promise<boolean> {
  await using scratch = scratchDirectory("tree");
  const kernel = new LinuxKernel();
  for (const [name, content] of Object.entries(files)) {
    const path = `${scratch.path}/${name}`;
    Deno.mkdirSync(dirname(path), { recursive: true });
    if (content.startsWith("->")) Deno.symlinkSync(content.slice(2), path);
    else Deno.writeTextFileSync(path, content);
  }
  const fd = kernel.openat(AT_FDCWD, scratch.path, O_RDONLY | O_DIRECTORY), tree = new TreeRoot(kernel, fd);
  try {
    return marksItself(kernel, tree);
  } finally {
    tree.forget();
    kernel.close(fd);
  }
}

Deno.test("a tree marks itself where our unit is there, enabled, not masked, and runs cos boot good", async () => {
  const cases: [what: string, files: Record<string, string>, expected: boolean][] = [
    ["nothing at all", {}, false],
    ["there, but not enabled", { [LIB]: OURS }, false],
    ["enabled by an absolute link", { [LIB]: OURS, [WANTS]: `->/${LIB}` }, true],
    ["enabled by a relative link", { [LIB]: OURS, [WANTS]: `->../../../../${LIB}` }, true],
    ["enabled by the image's maker in /usr", {
      [LIB]: OURS,
      [`usr/lib/systemd/system/multi-user.target.wants/${UNIT}`]: `->../${UNIT}`,
    }, true],
    ["wanted by another target", {
      [LIB]: OURS,
      [`etc/systemd/system/boot-complete.target.requires/${UNIT}`]: `->/${LIB}`,
    }, true],
    ["in /lib, a link to usr/lib", { [LIB]: OURS, lib: "->usr/lib", [WANTS]: `->/lib/systemd/system/${UNIT}` }, true],
    ["an operator's own unit", { [`etc/systemd/system/${UNIT}`]: OURS, [WANTS]: `->../${UNIT}` }, true],
    ["a link that leads nowhere", { [WANTS]: `->/${LIB}` }, false],
    ["masked", { [LIB]: OURS, [WANTS]: `->/${LIB}`, [`etc/systemd/system/${UNIT}`]: "->/dev/null" }, false],
    ["masked by an empty file", { [LIB]: OURS, [WANTS]: `->/${LIB}`, [`etc/systemd/system/${UNIT}`]: "" }, false],
    ["a unit of that name that does something else", {
      [LIB]: "[Service]\nExecStart=/bin/true\n",
      [WANTS]: `->/${LIB}`,
    }, false],
    ["a call that is commented out", { [LIB]: "#ExecStart=/usr/bin/cos boot good\n", [WANTS]: `->/${LIB}` }, false],
    ["a path that leads out of the tree", { [WANTS]: `->/../../../../../../../../etc/passwd` }, false],
  ];
  for (const [what, files, expected] of cases) assert.equal(await marks(files), expected, what);
});
