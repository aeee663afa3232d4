/** Layers that try to get out of the tree, or to bring the writer down. `unpack` checks each time that nothing outside was touched. */
import assert from "node:assert/strict";
import type { Kernel } from "../../lib/system/kernel.ts";
import { SystemCallError } from "../../lib/base/errors.ts";
import { rejects } from "../lab/expect.ts";
import { type LayerContent, outline, unpack, unpackBothWays } from "../lab/unpacked.ts";
import * as t from "../lab/tar-writer.ts";

async function breaks(layers: LayerContent[], why: string): Promise<void> {
  for (const openat2 of [true, false]) {
    await rejects(() => unpack(layers, () => {}, { openat2 }), "BROKEN_LAYER", why);
  }
}

const OUT = "../../../../../../../../..";

Deno.test("links that lead out lead to the tree's own top, as in a chroot", async () => {
  const inside = [t.directory("etc"), t.directory("tmp")];
  for (const target of [`${OUT}/tmp`, "/tmp", `/etc/${OUT}/tmp`, "/proc/self/root/tmp"]) {
    await unpackBothWays(
      [[...inside, t.symlink("l", target), t.file("l/pwned", "x"), t.whiteout("l/x")]],
      ({ tree }) => {
        assert.ok(Object.keys(tree).some((path) => path.endsWith("/pwned")), target);
      },
    );
  }
  // Out of a chain, and out of a link that a hardlink gave another name.
  await unpackBothWays([[
    ...inside,
    t.symlink("a", "b/x"),
    t.symlink("b", "/etc"),
    t.symlink("etc/x", `${OUT}/tmp`),
    t.file("a/pwned", "x"),
    t.hardlink("c", "etc/x"),
    t.file("c/pwned2", "y"),
  ]], async (result) => {
    assert.deepEqual((await outline(result)).filter((line) => line.includes("pwned")), [
      "tmp/pwned = x",
      "tmp/pwned2 = y",
    ]);
  });
});

Deno.test("hardlinks, whiteouts and opaque markers do not leave the tree through links either", async () => {
  const layers = [
    [
      t.symlink("out", "/etc"),
      t.symlink("up", OUT),
      t.directory("etc"),
      t.file("etc/passwd", "ours"),
      t.file("f", "f"),
    ],
    [
      t.hardlink("stolen", "out/passwd"),
      t.hardlink("up/pwned", "f"),
      t.whiteout("out/passwd"),
      t.directory("up/etc"),
      t.opaque("up/etc"),
    ],
  ];
  await unpackBothWays(layers, async (result) => {
    assert.deepEqual(await outline(result), [
      "etc/",
      "f = f (f, pwned)",
      "out -> /etc",
      "pwned = f (f, pwned)",
      "stolen = ours",
      "up -> ../../../../../../../../..",
    ]);
  });
});

Deno.test("magic links of /proc are followed nowhere", async () => {
  const layers = [[
    t.symlink("fd", "/proc/self/cwd"),
    t.file("fd/pwned", "x"),
    t.symlink("root", "/proc/1/root"),
    t.file("root/pwned", "y"),
  ]];
  await unpackBothWays(layers, async (result) => {
    assert.deepEqual(await outline(result), [
      "fd -> /proc/self/cwd",
      "proc/",
      "proc/1/",
      "proc/1/root/",
      "proc/1/root/pwned = y",
      "proc/self/",
      "proc/self/cwd/",
      "proc/self/cwd/pwned = x",
      "root -> /proc/1/root",
    ]);
  });
});

Deno.test("a file, a directory and attributes never go through a link in the last place", async () => {
  const layers = [
    [
      t.directory("d", { mode: 0o755 }),
      t.file("f", "old", { mode: 0o600 }),
      t.symlink("l", "f"),
      t.symlink("m", "d"),
      t.symlink("n", "new"),
    ],
    [t.file("l", "x", { mode: 0o777, uid: 9 }), t.directory("m", { mode: 0o777, uid: 9 }), t.file("n", "y")],
  ];
  await unpackBothWays(layers, async (result) => {
    assert.deepEqual(await outline(result), ["d/", "f = old", "l = x", "m/", "n = y"]);
    assert.deepEqual([result.tree["f"]?.mode, result.tree["d"]?.mode, result.tree["d"]?.uid], [0o600, 0o755, 0]);
  });
});

Deno.test("paths that lead upwards are refused wherever they stand", async () => {
  for (const name of ["..", "../x", "a/../x", "/../x", "a/b/..", "./../../x"]) {
    await breaks([[t.file(name, "x")]], `Cannot unpack the layer: the path ${JSON.stringify(name)} leads upwards.`);
    await breaks(
      [[t.file("f", "x"), t.hardlink("h", name)]],
      `Cannot unpack the layer: the path ${JSON.stringify(name)} leads upwards.`,
    );
  }
});

Deno.test("paths that no filesystem holds are refused; names of strangers are escaped in the message", async () => {
  const deep = "d/".repeat(257);
  await breaks(
    [[t.file("n".repeat(256))]],
    "Cannot unpack the layer: a name is 256 bytes long; at most 255 are possible.",
  );
  await breaks([[t.file(deep)]], "Cannot unpack the layer: a path is 257 directories deep; at most 256 are allowed.");
  await breaks(
    [[t.file("n/".repeat(2048) + "x")]],
    "Cannot unpack the layer: a path is 4097 bytes long; at most 4095 are possible.",
  );
  await breaks(
    [[t.file("f", "", { pax: [["path", "a\0\x1b[2J"]] })]],
    'Cannot unpack the layer: the path "a\\\\u0000\\\\u001b[2J" holds a NUL byte.',
  );
  await breaks(
    [[t.symlink("l", "a", { pax: [["linkpath", "a\0b"]] })]],
    'Cannot unpack the layer: the target of the link "l" holds a NUL byte.',
  );
  await breaks([[t.symlink("l", "")]], 'Cannot unpack the layer: the link "l" leads nowhere.');
  await breaks([[t.file("./", "x")]], "Cannot unpack the layer: its top is a file.");
  for (const [openat2, call] of [[true, "openat2"], [false, "statx"]] as const) {
    await rejects(
      () => unpack([[t.symlink("l", `${"n".repeat(256)}/x`), t.file("l/f", "x")]], () => {}, { openat2 }),
      "BROKEN_LAYER",
      `Cannot unpack the layer: "l/f" cannot be written: ${call} failed with ENAMETOOLONG.`,
    );
  }
});

Deno.test("names of 255 bytes, trees of 255 directories and names that are not UTF-8 are fine", async () => {
  const name = "n".repeat(255), deep = "d/".repeat(255), raw = Uint8Array.of(0x66, 0xff, 0x2f, 0x01, 0x0a, 0x1b);
  await unpackBothWays(
    [[t.file(name, "x"), t.file(`${deep}f`, "y"), t.file(raw, "z"), t.symlink("s", raw)]],
    ({ tree }) => {
      assert.deepEqual([tree[name]?.size, tree[`${deep}f`]?.size, tree["f\xff/\x01\n\x1b"]?.size], [1, 1, 1]);
      assert.equal(tree["s"]?.target, "f\xff/\x01\n\x1b");
    },
  );
});

function chain(length: number): t.TarItem[] {
  const links = Array.from({ length }, (_, i) => t.symlink(`l${i}`, i + 1 < length ? `l${i + 1}` : "d"));
  return [t.directory("d"), ...links, t.file("l0/f", "x")];
}

Deno.test("forty links are followed, forty-one and circles are not", async () => {
  await unpackBothWays([chain(40)], ({ tree }) => assert.equal(tree["d/f"]?.size, 1));
  await breaks([chain(41)], "Cannot follow a path in the image: the path l0 goes through too many links.");
  await breaks(
    [[t.symlink("a", "b"), t.symlink("b", "a"), t.file("a/f", "x")]],
    "Cannot follow a path in the image: the path a goes through too many links.",
  );
});

Deno.test("links cannot build a tree so deep that nobody could remove it", async () => {
  const half = "d/".repeat(250), items: t.TarItem[] = [t.file(`${half}f`, "x")];
  items.push(
    t.symlink("s1", half),
    t.file(`s1/${half}f`, "x"),
    t.symlink("s2", `s1/${half}`),
    t.file(`s2/${half}f`, "x"),
  );
  for (const openat2 of [true, false]) {
    await unpack([items], () => {}, { openat2 }).then(
      () => assert.fail("it was made"),
      ({ code, message }) => {
        assert.equal(code, "BROKEN_LAYER");
        assert.match(message, /^Cannot follow a path in the image: the path s2\/(d\/)+d leads to a place too deep\.$/);
      },
    );
  }
});

Deno.test("extended attributes that say what to follow elsewhere are not set", async () => {
  const xattrs = { "trusted.overlay.opaque": "y", "user.overlay.redirect": "/etc", "user.kept": "1" };
  await unpackBothWays([[t.directory("d", { xattrs }), t.file("f", "", { xattrs })]], ({ tree, warnings }) => {
    assert.deepEqual([tree["d"]?.xattrs, tree["f"]?.xattrs, warnings], [{ "user.kept": "MQ==" }, {
      "user.kept": "MQ==",
    }, []]);
  });
});

/** The real kernel, with one method replaced. */
function replaced<K extends keyof Kernel>(name: K, make: (real: Kernel) => Kernel[K]): (real: Kernel) => Kernel {
  return (real) => {
    const method = make(real);
    return new Proxy(real, {
      get: (target, key) => {
        if (key === name) return method;
        const value = target[key as keyof Kernel] as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
}

Deno.test("where openat2(2) is unknown or forbidden the tree is walked instead", async () => {
  for (const errno of ["ENOSYS", "EPERM"]) {
    let asked = 0;
    const kernel = replaced("openat2", () => () => {
      asked++;
      throw new SystemCallError(errno, "openat2", "");
    });
    await unpack([[t.symlink("l", "/d"), t.file("l/f", "x"), t.file("d/g", "y")]], ({ tree }) => {
      assert.deepEqual([tree["d/f"]?.size, tree["d/g"]?.size], [1, 1]);
    }, { kernel });
    assert.equal(asked, 1);
  }
});

Deno.test("where something else was renamed or mounted meanwhile, openat2(2) is asked again", async () => {
  let refusals = 0;
  const kernel = replaced("openat2", (real) => (...args) => {
    if (refusals++ % 5 < 4) throw new SystemCallError("EAGAIN", "openat2", "");
    return real.openat2(...args);
  });
  const layers = [[
    t.directory("usr"),
    t.directory("usr/lib"),
    t.symlink("usr/up", "../usr/lib"),
    t.file("usr/up/f", "x"),
  ], [t.whiteout("usr/up/f")]];
  await unpack(layers, ({ tree }) => assert.equal(tree["usr/lib/f"], undefined), { kernel });
  assert.ok(refusals > 5);
});

Deno.test("an error in the middle of a layer leaves no descriptor open, and says which file it was", async () => {
  const full = replaced("write", () => () => {
    throw new SystemCallError("ENOSPC", "write", "3");
  });
  await rejects(
    () => unpack([[t.file("d/e/f", "x")]], () => {}, { kernel: full }),
    "NO_SPACE",
    `Cannot write "d/e/f": the image's filesystem is full.`,
  );
  const broken = replaced("fchown", () => () => {
    throw new SystemCallError("EIO", "fchown", "3");
  });
  await rejects(
    () => unpack([[t.file("d/f", "x", { uid: 7 })]], () => {}, { kernel: broken }),
    "SYSTEM_CALL",
    'Cannot write "d/f": fchown failed with EIO.',
  );
  const unlink = replaced("unlinkat", () => () => {
    throw new SystemCallError("EIO", "unlinkat", "f");
  });
  await rejects(
    () => unpack([[t.file("f", "x")], [t.whiteout("f")]], () => {}, { kernel: unlink }),
    "SYSTEM_CALL",
    'Cannot write ".wh.f": unlinkat failed with EIO.',
  );
});
