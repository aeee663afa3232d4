/** Owners, modes, times, extended attributes, devices, holes: what an entry says of itself is what the tree holds. */
import assert from "node:assert/strict";
import { sparseSum } from "../../lib/system/content-sums.ts";
import { type Kernel, O_NOFOLLOW, O_RDONLY } from "../../lib/system/kernel.ts";
import { rejects } from "../lab/expect.ts";
import { oldSparse } from "../lab/sparse.ts";
import { type LayerContent, unpack, unpackBothWays } from "../lab/unpacked.ts";
import * as t from "../lab/tar-writer.ts";

/** VFS_CAP_REVISION_2 with cap_net_raw, as setcap writes it. */
const CAPABILITY = Uint8Array.of(1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

Deno.test("files and directories of root get every bit of their mode, as those of others do", async () => {
  const modes = [0o4755, 0o2711, 0o1000, 0o0000, 0o6777, 0o644];
  const entries = modes.flatMap((mode) => [
    t.file(`f${mode.toString(8)}`, "x", { mode }),
    t.directory(`d${mode.toString(8)}`, { mode }),
  ]);
  await unpackBothWays([entries], ({ tree }) => {
    const found = Object.entries(tree).filter(([path]) => path !== ".").map((
      [path, { mode, uid }],
    ) => [path, mode, uid]);
    const wanted = modes.flatMap((mode) => ["f", "d"].map((kind) => [kind + mode.toString(8), mode, 0]));
    assert.deepEqual(found.sort(), wanted.sort());
  });
});

Deno.test("owner, mode, time and attributes of every kind of entry", async () => {
  const a = { mtime: "1700000000.123456789", uid: 70_000, gid: 4_000_000_000 };
  await unpackBothWays([[
    t.directory("d", { ...a, mode: 0o2775, xattrs: { "user.a": "b" } }),
    t.file("d/setuid", "x", { ...a, mode: 0o4755, xattrs: { "security.capability": CAPABILITY, "user.n": "\0=\n" } }),
    t.file("d/setgid", "x", { ...a, mode: 0o2711 }),
    t.file("d/sticky", "x", { ...a, mode: 0o1000 }),
    t.symlink("d/link", "nowhere", { ...a, xattrs: { "trusted.t": "x" } }),
    t.charDevice("d/null", 1, 3, { ...a, mode: 0o666, xattrs: { "trusted.t": "x" } }),
    t.blockDevice("d/disk", 259, 70_000, { ...a, mode: 0o660 }),
    t.fifo("d/pipe", { ...a, mode: 0o622 }),
    t.directory("d/tmp", { ...a, mode: 0o1777 }),
  ]], ({ tree, warnings }) => {
    const base = { uid: 70_000, gid: 4_000_000_000, mtime: "1700000000123456789", xattrs: {} };
    const content = {
      type: "file",
      size: 1,
      sha256: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    };
    const trusted = { "trusted.t": "eA==" };
    delete tree["."];
    assert.deepEqual(warnings, []);
    assert.deepEqual(tree, {
      "d": { ...base, path: "d", type: "directory", mode: 0o2775, xattrs: { "user.a": "Yg==" } },
      "d/setuid": {
        ...base,
        ...content,
        path: "d/setuid",
        mode: 0o4755,
        xattrs: { "security.capability": base64(CAPABILITY), "user.n": base64(t.bytesOf("\0=\n")) },
      },
      "d/setgid": { ...base, ...content, path: "d/setgid", mode: 0o2711 },
      "d/sticky": { ...base, ...content, path: "d/sticky", mode: 0o1000 },
      "d/link": { ...base, path: "d/link", type: "symlink", mode: 0o777, target: "nowhere", xattrs: trusted },
      "d/null": { ...base, path: "d/null", type: "char", mode: 0o666, device: "1:3", xattrs: trusted },
      "d/disk": { ...base, path: "d/disk", type: "block", mode: 0o660, device: "259:70000" },
      "d/pipe": { ...base, path: "d/pipe", type: "fifo", mode: 0o622 },
      "d/tmp": { ...base, path: "d/tmp", type: "directory", mode: 0o1777 },
    });
  });
});

Deno.test("in a setgid directory everything still has the group that its entry says", async () => {
  const layer = [
    t.directory("d", { mode: 0o2775, gid: 50 }),
    t.file("d/f", "x", { gid: 7 }),
    t.directory("d/e", { gid: 8, mode: 0o755 }),
  ];
  await unpackBothWays([layer], ({ tree }) => {
    assert.deepEqual([tree["d/f"]?.gid, tree["d/e"]?.gid, tree["d/e"]?.mode], [7, 8, 0o755]);
  });
});

Deno.test("times before 1970, with fractions, and beyond what ext4 keeps", async () => {
  const times: [string, string][] = [
    ["0", "0"],
    ["-1.25", "-1250000000"],
    ["-2147483648", "-2147483648000000000"],
    ["-9999999999", "-2147483648000000000"],
    ["15032385534.5", "15032385534500000000"],
    ["99999999999", "15032385535000000000"],
  ];
  const layer = times.flatMap((
    [mtime],
    i,
  ) => [t.file(`f${i}`, "x", { mtime }), t.directory(`d${i}`, { mtime }), t.symlink(`l${i}`, "x", { mtime })]);
  await unpackBothWays([layer], ({ tree }) => {
    for (const [i, [, expected]] of times.entries()) {
      assert.deepEqual([tree[`f${i}`]?.mtime, tree[`d${i}`]?.mtime, tree[`l${i}`]?.mtime], [
        expected,
        expected,
        expected,
      ]);
    }
  });
});

Deno.test("directories keep their own time, whatever is made, replaced or removed in them, also by later layers", async () => {
  await unpackBothWays([
    [
      t.directory(".", { mtime: 1 }),
      t.directory("a", { mtime: 2 }),
      t.directory("a/b", { mtime: 3 }),
      t.file("a/b/f", "x"),
      t.directory("gone", { mtime: 4 }),
      t.directory("linked", { mtime: 5 }),
      t.directory("again", { mtime: 6 }),
    ],
    [
      t.file("a/b/g", "y"),
      t.whiteout("a/b/f"),
      t.whiteout("gone"),
      t.symlink("linked", "a"),
      t.directory("again", { mtime: 7 }),
    ],
  ], ({ tree }) => {
    const seconds = (path: string) => Number(BigInt(tree[path]?.mtime ?? "-1") / 1_000_000_000n);
    assert.deepEqual([".", "a", "a/b", "again"].map(seconds), [1, 2, 3, 7]);
    assert.equal(tree["linked"]?.type, "symlink");
  });
});

Deno.test("a directory that was reached through a link keeps its time when the link goes, or leads elsewhere, or in a circle", async () => {
  const lower = [
    t.directory("d", { mtime: 1 }),
    ...["gone", "moved", "circle"].map((name) => t.symlink(name, "d")),
    ...["gone", "moved", "circle"].map((name, i) => t.directory(`${name}/in-${name}`, { mtime: 10 + i })),
  ];
  const upper = [t.whiteout("gone"), t.symlink("moved", "nowhere"), t.symlink("circle", "circle")];
  await unpackBothWays([lower, upper], ({ tree }) => {
    const times = ["d", "d/in-gone", "d/in-moved", "d/in-circle"].map((path) => tree[path]?.mtime);
    assert.deepEqual(times, ["1000000000", "10000000000", "11000000000", "12000000000"]);
  });
});

Deno.test("a directory said again has the new attributes, and none that only the old one had", async () => {
  await unpackBothWays([
    [
      t.directory("d", { mode: 0o700, uid: 5, xattrs: { "user.old": "1", "user.both": "1" } }),
      t.directory("", { xattrs: { "user.top": "1" } }),
    ],
    [t.directory("d", { mode: 0o755, uid: 6, xattrs: { "user.both": "2", "user.new": "2" } }), t.directory("")],
  ], ({ tree }) => {
    const { mode, uid, xattrs } = tree["d"] ?? {};
    assert.deepEqual({ mode, uid, xattrs }, {
      mode: 0o755,
      uid: 6,
      xattrs: { "user.both": "Mg==", "user.new": "Mg==" },
    });
    assert.deepEqual(tree["."]?.xattrs, {});
  });
});

/** An access control list with a named user, as the kernel keeps it. */
const ACL = (() => {
  const bytes = new Uint8Array(4 + 5 * 8), view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  // user::rwx, user:1000:r-x, group::r-x, mask::r-x, other::---
  for (
    const [i, [tag, permissions, id]] of ([[1, 7, -1], [2, 5, 1000], [4, 5, -1], [16, 5, -1], [32, 0, -1]] as const)
      .entries()
  ) {
    view.setUint16(4 + i * 8, tag, true);
    view.setUint16(6 + i * 8, permissions, true);
    view.setInt32(8 + i * 8, id, true);
  }
  return bytes;
})();

Deno.test("a directory's default ACL is set, and is not inherited by what the layers put into it", async () => {
  const acl = { "system.posix_acl_default": ACL };
  await unpackBothWays([
    [
      t.directory("d", { xattrs: acl }),
      t.file("d/f", "x", { mode: 0o644 }),
      t.directory("d/e"),
      t.file("d/implied/f", "x"),
    ],
    [t.file("d/later", "y", { mode: 0o600 })],
  ], ({ tree }) => {
    assert.deepEqual(tree["d"]?.xattrs, { "system.posix_acl_default": base64(ACL) });
    for (const path of ["d/f", "d/e", "d/implied", "d/implied/f", "d/later"]) {
      assert.deepEqual(tree[path]?.xattrs, {}, path);
    }
    assert.deepEqual([tree["d/f"]?.mode, tree["d/later"]?.mode, tree["d/implied"]?.mode], [0o644, 0o600, 0o755]);
  });
});

Deno.test("a directory that a layer only implies has no time of its own, wherever links lead to it", async () => {
  await unpackBothWays([
    [
      t.file("a/b/f", "x"),
      t.directory("hidden", { mtime: 1_600_000_000 }),
      t.file("hidden/f", "x"),
      t.symlink("link", "to/here"),
      t.file("link/deep/f", "x"),
      t.directory("a", { mtime: 1_600_000_001 }),
    ],
    [t.file("hidden/g", "y"), t.file(".wh.hidden", ""), t.file("a/b/c/f", "y")],
  ], ({ tree }) => {
    const times = ["a", "a/b", "a/b/c", "hidden", "to", "to/here", "to/here/deep"].map((path) => tree[path]?.mtime);
    assert.deepEqual(times.map(Number), [1_600_000_001e9, 0, 0, 0, 0, 0, 0]);
  });
});

const TEXT = "user::rwx,user:lisa:r-x:1000,group::r-x,mask::r-x,other::---";

Deno.test("access lists that stand as text become the kernel's; an attribute said in bytes beats the text", async () => {
  const pax = (access: string, more: [string, t.Bytes][] = []): t.Attributes => ({
    mode: 0o750,
    pax: [["SCHILY.acl.access", access], ...more],
  });
  await unpackBothWays([[
    t.file("f", "x", pax(TEXT)),
    t.file("plain", "x", pax("user::rw-,group::r--,other::---")),
    t.file("both", "x", pax(TEXT.replace("1000", "7"), [["SCHILY.xattr.system.posix_acl_access", ACL]])),
    t.fifo("pipe", pax(TEXT)),
    t.directory("d", { ...pax(TEXT, [["SCHILY.acl.default", TEXT]]) }),
    t.file("d/inside", "x", { mode: 0o640 }),
    t.symlink("link", "f", { pax: [["SCHILY.acl.access", TEXT]] }),
    t.hardlink("second", "f", { pax: [["SCHILY.acl.access", "user::rwx,group::rwx,other::rwx"]] }),
  ]], ({ tree, warnings }) => {
    const acl = base64(ACL);
    for (const path of ["f", "both", "pipe", "second"]) {
      assert.deepEqual([tree[path]?.xattrs, tree[path]?.mode], [{ "system.posix_acl_access": acl }, 0o750], path);
    }
    assert.deepEqual(tree["d"]?.xattrs, { "system.posix_acl_access": acl, "system.posix_acl_default": acl });
    assert.deepEqual([tree["d/inside"]?.xattrs, tree["d/inside"]?.mode], [{}, 0o640]);
    // What mode bits can say is mode bits, and the list says more exactly than the mode what the file had.
    assert.deepEqual([tree["plain"]?.xattrs, tree["plain"]?.mode], [{}, 0o640]);
    assert.deepEqual([tree["link"]?.xattrs, warnings], [{}, []]);
  });
});

Deno.test("names in access lists are those of the image's own users and groups, wherever their files stand", async () => {
  const text = "user::rwx,user:lisa:r-x,group::r-x,mask::r-x,other::---";
  const list = { mode: 0o750, pax: [["SCHILY.acl.access", text]] as [string, string][] };
  const passwd = t.file("etc/passwd", "root:x:0:0::/:\nlisa:x:1000:100::/:\n");
  const acl = { "system.posix_acl_access": base64(ACL) };
  await unpackBothWays([[
    t.file("before", "x", list),
    t.file("replaced", "x", list),
    t.directory("d", { pax: [["SCHILY.acl.default", text]] }),
    t.file("d/f", "x", { mode: 0o600 }),
    t.directory("", { mode: 0o750, pax: [["SCHILY.acl.access", text]] }),
    passwd,
    t.file("replaced", "y"),
  ], [t.file("above", "x", list), t.whiteout("etc/passwd")]], ({ tree, warnings }) => {
    assert.deepEqual([tree["before"]?.xattrs, tree["."]?.xattrs, tree["replaced"]?.xattrs], [acl, acl, {}]);
    assert.deepEqual([tree["d"]?.xattrs, tree["d/f"]?.xattrs], [{ "system.posix_acl_default": base64(ACL) }, {}]);
    // The layer above has no such file any more: nobody of that name can come, and the rest of the list stays.
    assert.deepEqual([tree["above"]?.mode, Object.keys(tree["above"]?.xattrs ?? {})], [0o750, [
      "system.posix_acl_access",
    ]]);
    assert.deepEqual(warnings, [
      'Left out the rights of the user "lisa" at "above": the image has nobody of that name.',
    ]);
  });
  // Outside of the image nobody looks for names: its etc may be a link that leads anywhere.
  await unpackBothWays([[
    t.symlink("etc", "/proc/self/root/etc"),
    t.file("f", "x", {
      pax: [["SCHILY.acl.access", text.replace("lisa", "daemon")]],
    }),
  ]], ({ warnings }) => assert.equal(warnings.length, 1));
});

Deno.test("a text that is no access list is left out with a warning, and not without end", async () => {
  const layer = Array.from(
    { length: 40 },
    (_, i) => t.file(`f${i}`, "x", { pax: [["SCHILY.acl.access", `owner@:\x1b${i}`]] }),
  );
  await unpackBothWays([layer], ({ warnings }) => {
    assert.equal(warnings.length, 20);
    assert.equal(
      warnings[0],
      'Left out the access rights of "f0": "owner@:\\\\u001b0" is no list of them.',
    );
  });
});

Deno.test("whiteouts that overlayfs left behind are no devices: they are left out with a warning", async () => {
  await unpackBothWays([[t.charDevice("d/gone\x1b", 0, 0), t.charDevice("zero", 0, 1)]], ({ tree, warnings }) => {
    assert.deepEqual(Object.keys(tree).sort(), [".", "zero"]);
    assert.deepEqual(warnings, [
      'Left out "d/gone\\\\u001b": it is a whiteout that overlayfs left behind, not a device.',
    ]);
  });
  const many = Array.from({ length: 100 }, (_, i) => t.charDevice(`gone${i}`, 0, 0));
  await unpack([many], ({ warnings }) => assert.equal(warnings.length, 20));
});

Deno.test("attributes that the filesystem does not take are left out, with one warning each, and not without end", async () => {
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`odd${i}.x`, "y"]));
  await unpackBothWays([[
    t.file("a", "", { xattrs: { "odd.x": "y", "user.kept": "z" } }),
    t.file("b", "", { xattrs: { "odd.x": "y" } }),
  ]], ({ tree, warnings }) => {
    assert.deepEqual(tree["a"]?.xattrs, { "user.kept": "eg==" });
    assert.deepEqual(warnings, [
      `Left out the extended attribute "odd.x": the image's filesystem does not take it (EOPNOTSUPP).`,
    ]);
  });
  await unpack(
    [[t.symlink("l", "x", { xattrs: { "user.x": "y" } }), t.file("f", "", { xattrs: many })]],
    ({ warnings }) => {
      assert.equal(
        warnings[0],
        `Left out the extended attribute "user.x": the image's filesystem does not take it (EPERM).`,
      );
      assert.equal(warnings.length, 20);
    },
  );
});

Deno.test("attributes that are larger than the filesystem can keep are refused by name and size", async () => {
  for (
    const [name, length] of [["user.x", 5000], ["user.x", 65536], ["user.x", 65537], [
      `user.${"n".repeat(260)}`,
      1,
    ]] as const
  ) {
    const layer = [t.file("f", "", { xattrs: { [name]: new Uint8Array(length) } })];
    await rejects(
      () => unpack([layer], () => {}),
      "BROKEN_LAYER",
      `Cannot unpack the layer: the extended attribute "${name}" of ${length} bytes is more than the image's filesystem can keep.`,
    );
  }
});

async function sumsAgree(layers: LayerContent[], expected: Record<string, { sparse: boolean }>): Promise<void> {
  await unpackBothWays(layers, async ({ sums, kernel, fd, path }) => {
    for (const [name, { sparse }] of Object.entries(expected)) {
      const content = await Deno.readFile(`${path}/${name}`), { ino } = kernel.statat(fd, name);
      const sum = sparse ? sparseSumOf(kernel, fd, name, sums.crc32) : sums.crc32(content, 0);
      assert.deepEqual(sums.get(ino), { sum, sparse }, name);
    }
  });
}

function sparseSumOf(
  kernel: Kernel,
  dir: number,
  name: string,
  crc32: (bytes: Uint8Array, start: number) => number,
): number {
  const file = kernel.openat(dir, name, O_RDONLY | O_NOFOLLOW);
  try {
    return sparseSum(kernel, file, crc32, new Uint8Array(65536));
  } finally {
    kernel.close(file);
  }
}

Deno.test("the sum of every file's content is that of what lies on the filesystem", async () => {
  const noise = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >> 3);
  await sumsAgree([
    [
      t.file("empty"),
      t.file("small", "abc"),
      t.file("large", noise),
      t.file("replaced", "one"),
      ...oldSparse([[8192, 3], [500_000, 2]], 1 << 20, "abcde"),
    ],
    [t.file("replaced", "two"), t.hardlink("linked", "small")],
  ], {
    empty: { sparse: false },
    small: { sparse: false },
    large: { sparse: false },
    replaced: { sparse: false },
    linked: { sparse: false },
    sparse: { sparse: true },
  });
});

Deno.test("sparse files have their content, their size and their holes", async () => {
  const large = 64 << 20;
  await unpackBothWays([oldSparse([[8192, 3], [large - 2, 2]], large, "abcde")], ({ kernel, fd, path }) => {
    const { size, blocks } = kernel.statat(fd, "sparse");
    assert.deepEqual([size, blocks], [large, 16]); // two blocks of 4 KiB, counted in 512 bytes
    using file = Deno.openSync(`${path}/sparse`);
    const read = (at: number, length: number) => {
      file.seekSync(at, Deno.SeekMode.Start);
      const bytes = new Uint8Array(length);
      return new TextDecoder().decode(bytes.subarray(0, file.readSync(bytes) ?? 0));
    };
    assert.deepEqual([read(8190, 7), read(large - 3, 5)], ["\0\0abc\0\0", "\0de"]);
  });
});

Deno.test("a file that claims to be larger than any can be is refused", async () => {
  const size = String(2 ** 50);
  const layer = [t.file("f", "x", { pax: [["GNU.sparse.size", size], ["GNU.sparse.map", "0,1"]] })];
  await rejects(
    () => unpack([layer], () => {}),
    "BROKEN_LAYER",
    'Cannot unpack the layer: "f" cannot be written: ftruncate failed with EFBIG.',
  );
});
