/** GRUB itself, in qemu, boots from a sparse image on btrfs, whatever it thinks of holes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { attach, makeFilesystem, mount } from "../lab/disk.ts";
import { BY_SERIAL, GRUB_NEEDS, SERIAL_MODULES, startGrub, writeGrubDisk } from "../lab/grub-in-qemu.ts";
import { run } from "../lab/run.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { staticFile } from "../lab/static-file.ts";
import * as t from "../lab/tar-writer.ts";

const FILES = ["/boot/vmlinuz", "/boot/initrd", "/etc/cos/bootargs.cfg"];
const EARLY = `${BY_SERIAL}loopback image (hd1)/cOS/active.img
${FILES.map((file) => `hashsum --hash sha1 (image)${file}`).join("\n")}
hashsum --hash sha1 (hd1)/cOS/active.img
reboot
`;

/** A few MiB in which long runs are zeros: they are written, and are no holes of the image. */
function initrd(): Uint8Array {
  const bytes = new Uint8Array(3 << 20);
  for (let at = 0; at < bytes.length; at++) if ((at >> 18) % 3 !== 1) bytes[at] = (at * 2654435761) >>> 16;
  return bytes;
}

const sha1 = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest("hex");

for (
  const [name, features, options] of [
    ["with no_holes", "no-holes", "rw"],
    ["with no_holes and compression", "no-holes", "rw,compress-force=zstd"],
    ["that knows holes", "^no-holes", "rw"],
  ] as const
) {
  Deno.test(
    `GRUB reads kernel, initrd and boot arguments out of a sparse image on a btrfs ${name}`,
    GRUB_NEEDS,
    async () => {
      await using scratch = scratchDirectory("grub");
      const path = (file: string) => join(scratch.path, file), layout = path("os");
      writeSmallOs(layout, { v1: { replace: { "boot/initrd": t.file("boot/initrd", initrd()) } } });
      await run("truncate", ["-s", "320M", path("state.img")]);
      const sums: string[] = [];
      {
        await using loop = await attach(path("state.img"));
        await makeFilesystem(loop.device, "COS_STATE", "btrfs", ["-O", features]);
        await using mounted = await mount(loop.device, options);
        const install = ["deploy", `oci:${layout}:v1`, "--no-verify", "--size", "64", "--state", loop.device];
        await run(await staticFile(), install);
        const image = join(mounted.path, "cOS/active.img"), { size, blocks } = Deno.statSync(image);
        assert.ok((blocks ?? size) * 512 < size / 4, "the image is not sparse");
        copyFileSync(image, path("active.img"));
      }
      for (const file of FILES) {
        await run("debugfs", ["-R", `dump ${file} ${path("file")}`, path("active.img")]);
        sums.push(sha1(Deno.readFileSync(path("file"))));
      }
      assert.equal(sums[1], sha1(initrd()));
      await writeGrubDisk(path("grub.img"), EARLY, [
        ...SERIAL_MODULES,
        "btrfs",
        "ext2",
        "loopback",
        "hashsum",
        "gcry_sha1",
      ]);
      const said = await startGrub([path("grub.img"), path("state.img")]);
      const read = [...said.matchAll(/([0-9a-f]{40}) {2}\(image\)/g)].map(([, sum]) => sum);
      assert.deepEqual(read, sums, said);
      // From end to end it reads one only where holes are noted: what it boots from has none.
      const whole = new RegExp(`${sha1(Deno.readFileSync(path("active.img")))} {2}\\(hd1\\)`).test(said);
      assert.equal(whole, features === "^no-holes", said);
    },
  );
}
