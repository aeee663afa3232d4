/** What the modules of packaging/ put into an initramfs, by the tools that make one. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { twoKernels } from "../lab/kernels.ts";
import { run } from "../lab/run.ts";
import { staticFile } from "../lab/static-file.ts";
import { debianInitramfs } from "../lab/vm/initramfs.ts";

for (const maker of ["initramfs-tools", "dracut"] as const) {
  // dracut strips what it takes along, which would cut off all that the file carries.
  Deno.test(`${maker} takes the static file along byte for byte, and the watchdog of every machine`, async () => {
    await using scratch = scratchDirectory("initramfs");
    const program = await staticFile(), [, kernel] = await twoKernels();
    const archive = join(scratch.path, "initrd"), cpio = join(scratch.path, "cpio");
    Deno.writeFileSync(archive, await debianInitramfs(kernel, program, maker));
    await run("zstd", ["-q", "-d", archive, "-o", cpio]);
    const names = (await run("cpio", ["--quiet", "--list", "--file", cpio])).split("\n");
    assert.ok(names.some((name) => name.endsWith("/drivers/watchdog/softdog.ko")));
    await run("sh", [
      ...["-ec", 'cpio --quiet --extract --to-stdout --file "$1" usr/bin/cos | cmp - "$2"', "sh", cpio, program],
    ]);
  });
}
