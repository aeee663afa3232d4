/** Small files that are read where anything may stand in their place. */
import assert from "node:assert/strict";
import { byteStringOf } from "../../lib/base/byte-string.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from "../../lib/system/kernel.ts";
import { LinuxKernel } from "../../lib/system/linux-kernel.ts";
import { removeIfThere, withPlainFile, writePlainFile } from "../../lib/system/plain-files.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { openDescriptors } from "../lab/expect.ts";
import { run } from "../lab/run.ts";

Deno.test("only a plain file is read; a link, a pipe or a directory in its place is told, and waited for by nobody", async () => {
  await using scratch = scratchDirectory("plain");
  const kernel = new LinuxKernel();
  const dir = kernel.openat(AT_FDCWD, byteStringOf(scratch.path), O_RDONLY | O_DIRECTORY);
  try {
    writePlainFile(kernel, dir, "file", new TextEncoder().encode("longer than what follows"));
    writePlainFile(kernel, dir, "file", new TextEncoder().encode("content"));
    await Deno.symlink("file", `${scratch.path}/link`);
    await Deno.mkdir(`${scratch.path}/directory`);
    await run("mkfifo", [`${scratch.path}/pipe`]);
    const before = openDescriptors().length;
    const size = (name: string) => withPlainFile(kernel, dir, name, (_, status) => status.size);
    assert.deepEqual(["file", "link", "directory", "pipe", "nothing", "file/below"].map(size), [
      7,
      "odd",
      "odd",
      "odd",
      "absent",
      "absent",
    ]);
    for (let twice = 0; twice < 2; twice++) removeIfThere(kernel, dir, "file");
    assert.equal(size("file"), "absent");
    assert.equal(openDescriptors().length, before);
  } finally {
    kernel.close(dir);
  }
});
