/** Why a block or a place cannot be counted in: what no lab disk shows. */
import assert from "node:assert/strict";
import {
  counterBlockObstacle,
  type CountObstacle,
  placeObstacle,
  saveCounter,
  writeTries,
} from "../../lib/boot/counter.ts";
import { AT_FDCWD, BTRFS_MAGIC, EXT4_MAGIC, O_DIRECTORY, O_RDONLY } from "../../lib/system/kernel.ts";
import { LinuxKernel } from "../../lib/system/linux-kernel.ts";
import { scratchDirectory } from "../lab/cleanup.ts";

const EMPTY = "# GRUB Environment Block\n".padEnd(1024, "#");

async function withPlace(
  kernel: LinuxKernel,
  block: string,
  use: (place: { fd: number; type: number }, path: string) => void,
) {
  await using scratch = scratchDirectory("counter");
  const path = `${scratch.path}/boot_assessment`;
  Deno.writeTextFileSync(path, block);
  const fd = kernel.openat(AT_FDCWD, scratch.path, O_RDONLY | O_DIRECTORY);
  try {
    use({ fd, type: EXT4_MAGIC }, path);
  } finally {
    kernel.close(fd);
  }
}

Deno.test("a place that GRUB cannot write to is named", () => {
  const cases: [type: number, device: string | undefined, obstacle: CountObstacle | undefined][] = [
    [EXT4_MAGIC, "sda3", undefined],
    [EXT4_MAGIC, "nvme0n1p3", undefined],
    [EXT4_MAGIC, "loop0p2", undefined],
    [EXT4_MAGIC, undefined, undefined],
    [BTRFS_MAGIC, "sda3", "filesystem"],
    [EXT4_MAGIC, "dm-0", "device"],
    [EXT4_MAGIC, "md127", "device"],
  ];
  for (const [type, blockDevice, obstacle] of cases) {
    assert.equal(placeObstacle({ fd: -1, type, blockDevice }), obstacle, `${type} ${blockDevice}`);
  }
});

Deno.test("a hole in the block is found by the kernel's own word", async () => {
  class WithHole extends LinuxKernel {
    override seekHole(): number {
      return 512;
    }
  }
  await withPlace(new WithHole(), EMPTY, (place) => assert.equal(counterBlockObstacle(new WithHole(), place), "hole"));
});

Deno.test("the counter is written in place: the same file, the same size, one sector", async () => {
  const writes: [length: number, offset: number][] = [];
  class Noting extends LinuxKernel {
    override pwrite(fd: number, buffer: Uint8Array, offset: number): void {
      writes.push([buffer.length, offset]);
      super.pwrite(fd, buffer, offset);
    }
  }
  const kernel = new Noting();
  await withPlace(kernel, EMPTY, (place, path) => {
    const before = Deno.statSync(path);
    writeTries(kernel, place.fd, "3");
    const after = Deno.statSync(path);
    assert.deepEqual([after.ino, after.size], [before.ino, 1024]);
    assert.match(Deno.readTextFileSync(path), /^# GRUB Environment Block\ncos_tries=3\n#+$/);
    writeTries(kernel, place.fd, "");
    assert.equal(Deno.readTextFileSync(path), EMPTY);
    assert.equal(new TextDecoder().decode(saveCounter(kernel, place)), EMPTY);
  });
  assert.deepEqual(writes, [[512, 0], [512, 0]]);
});
