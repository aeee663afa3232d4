/** The last look at a finished image: what is whole passes, and every kind of damage is found, with the second thread and without. */
import assert from "node:assert/strict";
import { CosError } from "../../lib/base/errors.ts";
import { checkImage } from "../../lib/image/check.ts";
import { filesBeside } from "../../lib/image/files-service.ts";
import { makeImage } from "../../lib/image/make.ts";
import { mountImage } from "../../lib/image/mount.ts";
import { secondThread } from "../../lib/operations/second-thread.ts";
import { crc32 } from "../../lib/system/codecs.ts";
import { ContentSums, sparseSum } from "../../lib/system/content-sums.ts";
import { ExtentMap } from "../../lib/system/extents.ts";
import { AT_FDCWD, O_CREAT, O_DIRECTORY, O_RDONLY, O_RDWR } from "../../lib/system/kernel.ts";
import { LinuxKernel } from "../../lib/system/linux-kernel.ts";
import { RealPrograms } from "../../lib/system/process.ts";
import { Thread } from "../../lib/system/thread.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import { openDescriptors } from "../lab/expect.ts";
import { Random } from "../lab/random.ts";
import { run } from "../lab/run.ts";

const kernel = new LinuxKernel();
const system = { kernel, programs: new RealPrograms(), pid: Deno.pid };
const random = new Random(3);
const NOISE = Uint8Array.from({ length: 3_000_001 }, () => random.next(256));

interface Finished {
  path: string;
  fd: number;
  sums: ContentSums;
  /** Where a file's first byte lies in the image, and its number of pieces. */
  places: Map<string, { first: number; pieces: number }>;
}

const NAMES = ["empty", "tiny", "page", "large", "sparse", "left", "right"];

/** An image with files of every kind, closed as the program closes it. */
async function withImage(look: (image: Finished) => Promise<void>, directories = 0): Promise<void> {
  await using scratch = scratchDirectory("check");
  const dir = kernel.openat(AT_FDCWD, scratch.path, O_RDONLY | O_DIRECTORY);
  const sum = await crc32(), sums = new ContentSums(sum), places: Finished["places"] = new Map();
  using file = await makeImage(system, dir, "image", {
    size: 256 << 20,
    label: "COS_ACTIVE",
    uuid: crypto.randomUUID(),
  });
  kernel.close(dir);
  {
    using mounted = mountImage(kernel, Deno.pid, file.fd, { readOnly: false, direct: true, name: "cos-test" });
    const open = (name: string) => kernel.openat(mounted.fd, name, O_RDWR | O_CREAT, 0o644);
    const write = (name: string, ...pieces: Uint8Array[]) => {
      const fd = open(name);
      for (const piece of pieces) kernel.write(fd, piece);
      sums.set(kernel.fstat(fd).ino, pieces.reduce((before, piece) => sum(piece, before), 0));
      kernel.close(fd);
    };
    write("empty");
    write("tiny", NOISE.subarray(0, 1));
    write("page", NOISE.subarray(0, 4096));
    write("large", NOISE, NOISE, NOISE);
    kernel.linkat(mounted.fd, "tiny", mounted.fd, "other name");
    kernel.symlinkat("nowhere", mounted.fd, "link");
    const sparse = open("sparse");
    kernel.pwrite(sparse, NOISE.subarray(0, 5000), 1 << 20);
    kernel.ftruncate(sparse, 10 << 20);
    sums.set(kernel.fstat(sparse).ino, sparseSum(kernel, sparse, sum, new Uint8Array(65536)), true);
    kernel.close(sparse);
    // Written by turns and flushed in between, two files get pieces by turns as well.
    const [left, right] = [open("left"), open("right")];
    for (let i = 0; i < 20; i++) {
      for (const fd of [left, right]) {
        kernel.write(fd, NOISE.subarray(i * 40_960, (i + 1) * 40_960));
        kernel.fsync(fd);
      }
    }
    for (const fd of [left, right]) {
      sums.set(kernel.fstat(fd).ino, sum(NOISE.subarray(0, 20 * 40_960), 0));
      kernel.close(fd);
    }
    for (let i = 0; i < directories; i++) {
      kernel.mkdirat(mounted.fd, `d${i}`, 0o755);
      for (let k = 0; k < 30; k++) write(`d${i}/f${k}`, NOISE.subarray(i * 100 + k, i * 100 + 7 * k));
    }
    kernel.syncfs(mounted.fd);
    const map = new ExtentMap(kernel);
    for (const name of NAMES) {
      const fd = kernel.openat(mounted.fd, name, O_RDONLY), found: number[] = [];
      map.pieces(fd, kernel.fstat(fd).size, (place) => found.push(place));
      places.set(name, { first: found[0] ?? 0, pieces: found.length });
      kernel.close(fd);
    }
  }
  kernel.fsync(file.fd);
  await look({ path: `${scratch.path}/image`, fd: file.fd, sums, places });
}

async function bothWays(check: (thread: Thread | undefined) => Promise<void>): Promise<void> {
  await check(undefined);
  using thread = new Thread(secondThread());
  await check(thread);
}

async function finds(image: Finished, message: string): Promise<void> {
  await bothWays((thread) =>
    assert.rejects(checkImage(system, image.fd, image.sums, thread), (thrown) => {
      assert.ok(thrown instanceof CosError, String(thrown));
      // A file with two names is met by the one that the directory, in an order of its own each time, has first.
      const told = thrown.message.replace("/other name", "/tiny");
      assert.deepEqual([thrown.code, told], ["IMAGE_DAMAGED", `The new image is damaged: ${message}.`]);
      return true;
    })
  );
}

/** Changes one byte behind the back of everything that wrote the image. */
function damage(image: Finished, at: number): void {
  const byte = new Uint8Array(1);
  kernel.pread(image.fd, byte, at);
  kernel.pwrite(image.fd, Uint8Array.of((byte[0] ?? 0) ^ 1), at);
  kernel.fsync(image.fd);
}

Deno.test("an image that is whole passes, and its files are counted once each", async () => {
  await withImage(async (image) => {
    assert.ok((image.places.get("left")?.pieces ?? 0) > 1, "the file in pieces lies in one");
    await bothWays(async (thread) =>
      assert.equal(await checkImage(system, image.fd, image.sums, thread), NAMES.length)
    );
  });
});

Deno.test("thousands of files in many directories pass, in batches", async () => {
  await withImage(async (image) => {
    await bothWays(async (thread) => {
      assert.equal(await checkImage(system, image.fd, image.sums, thread), NAMES.length + 400 * 30);
    });
  }, 400);
});

Deno.test("a check that is stopped leaves no file of the image open, and the thread can do another", async () => {
  await withImage(async (image) => {
    await bothWays(async (thread) => {
      await thread?.ready;
      const before = openDescriptors(), reason = new Error("stopped");
      await assert.rejects(checkImage(system, image.fd, image.sums, thread, AbortSignal.abort(reason)), reason);
      assert.deepEqual(openDescriptors().filter((one) => !before.includes(one)), []);
      assert.equal(await checkImage(system, image.fd, image.sums, thread), NAMES.length + 400 * 30);
    });
  }, 400);
});

Deno.test("a thread that ends before it was ready, or in the middle of a walk, is not waited for", async () => {
  const thread = new Thread(secondThread());
  thread[Symbol.dispose]();
  assert.equal(await thread.ready, false);
  await withImage(async (image) => {
    using other = new Thread(secondThread());
    await other.ready;
    using mounted = mountImage(kernel, Deno.pid, image.fd, { readOnly: true, name: "cos-test" });
    const walk = filesBeside(other, mounted.fd);
    await walk.next();
    other[Symbol.dispose]();
    await assert.rejects(async () => {
      for await (const _ of walk);
    }, /the second thread has ended/);
    await filesBeside(other, mounted.fd).return(undefined);
  }, 400);
});

for (const [name, offset] of [["tiny", 0], ["page", 4095], ["large", 9_000_002], ["right", 100_000]] as const) {
  Deno.test(`one bit that differs on the disk is found: ${name}`, async () => {
    await withImage(async (image) => {
      const { first, pieces } = image.places.get(name) ?? { first: 0, pieces: 0 };
      damage(image, first + (pieces > 1 ? offset % 4096 : offset));
      await finds(image, `/${name} reads back otherwise than it was written`);
    });
  });
}

Deno.test("one bit that differs in a file with holes is found", async () => {
  await withImage(async (image) => {
    let place = 0;
    {
      using mounted = mountImage(kernel, Deno.pid, image.fd, { readOnly: true, name: "cos-test" });
      const fd = kernel.openat(mounted.fd, "sparse", O_RDONLY), map = new ExtentMap(kernel);
      assert.ok(map.ask(fd, 0, 0) > 0);
      place = map.place(0);
      kernel.close(fd);
    }
    damage(image, place + 100);
    await finds(image, "/sparse reads back otherwise than it was written");
  });
});

Deno.test("a file that nobody wrote is found", async () => {
  await withImage(async (image) => {
    {
      using mounted = mountImage(kernel, Deno.pid, image.fd, { readOnly: false, name: "cos-test" });
      kernel.close(kernel.openat(mounted.fd, "stranger", O_RDWR | O_CREAT, 0o644));
    }
    await finds(image, "/stranger is there, and nobody wrote it");
  });
});

Deno.test("a filesystem that contradicts itself is found", async () => {
  await withImage(async (image) => {
    // A file's inode that is marked as free.
    const { path } = image;
    await run("debugfs", ["-w", "-R", "freei /tiny", path]);
    await finds(image, "e2fsck ended with status 4");
  });
});

Deno.test("a block that the disk was never given is found", async () => {
  await withImage(async (image) => {
    await run("fallocate", ["--keep-size", "--offset", String(200 << 20), "--length", "8192", image.path]);
    await finds(image, `the block at ${200 << 20} is not written on the disk`);
  });
});
