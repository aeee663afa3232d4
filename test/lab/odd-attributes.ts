/** Odd attributes of entries: modes, times, extended attributes and access lists, as `odd-entries.ts` has odd entries. */
import type { OddCase } from "./odd-case.ts";
import * as t from "./tar-writer.ts";

/** `cap_net_raw` as setcap(8) writes it: revision 2, and 3 with the root of a user namespace. */
const CAPABILITY_2 = Uint8Array.of(1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const CAPABILITY_3 = Uint8Array.of(1, 0, 0, 3, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe8, 3, 0, 0);

/** `user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---` in the kernel's form. */
const ACL = t.concat([
  Uint8Array.of(2, 0, 0, 0),
  ...[[1, 7], [2, 5, 0xe8, 3, 0, 0], [4, 5], [16, 5], [32, 0]].map(([tag = 0, rights = 0, ...id]) =>
    Uint8Array.of(tag, 0, rights, 0, ...(id.length > 0 ? id : [255, 255, 255, 255]))
  ),
]);
const ACL_TEXT = "user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---";

const NO_XATTRS = "It knows no extended attributes.";
const NO_FRACTION = "A float holds no nanoseconds.";
const ACL_AS_TEXT = "It takes lists from their text only.";
const STOPS_AT_1970 = "It sets 1970 for any time before.";

export const ODD_ATTRIBUTES: OddCase[] = [
  {
    name: "bits",
    layers: (at) => [[
      ...[0, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777].map((mode) =>
        t.file(at(mode.toString(8)), "x", { mode, uid: 70_000, gid: 80_000 })
      ),
      t.directory(at("setgid"), { mode: 0o2775, gid: 50 }),
      t.directory(at("setgid/inside"), { gid: 7 }),
      t.file(at("setgid/inside/file"), "x", { gid: 8 }),
      t.directory(at("sticky"), { mode: 0o1777 }),
      t.directory(at("closed"), { mode: 0 }),
      t.file(at("closed/file"), "x"),
      t.directory(at("unwritable"), { mode: 0o555 }),
      t.file(at("unwritable/file"), "x", { mode: 0o400 }),
    ]],
  },
  {
    name: "times",
    layers: (at) => [[
      ...[0, 1, "1700000000.123456789", "1700000000.1", "1700000000.1234567891", 4_294_967_296].map((mtime, i) =>
        t.file(at(`f${i}`), "x", { mtime })
      ),
      t.symlink(at("link"), "x", { mtime: "1600000000.000000001" }),
      t.fifo(at("fifo"), { mtime: "1600000000.5" }),
      t.directory(at("d"), { mtime: "1500000000.999999999" }),
      t.file(at("d/f"), "x"),
    ]],
    without: { tarfile: NO_FRACTION },
  },
  {
    name: "old-times",
    layers: (at) => [[
      t.file(at("f"), "x", { mtime: "-1.25" }),
      t.file(at("gnu"), "x", { mtime: -5, format: "gnu" }),
      t.directory(at("d"), { mtime: -2_147_483_648 }),
    ]],
    without: { podman: STOPS_AT_1970 },
  },
  {
    name: "far-times",
    layers: (at) => [[
      t.file(at("late"), "x", { mtime: 99_999_999_999 }),
      t.file(at("early"), "x", { mtime: -9_999_999_999 }),
    ]],
    without: {
      umoci: "It leaves it to the filesystem of this machine to clamp a time.",
      podman: "It sets 1970 for any time that it cannot hold.",
      tar: "It leaves it to the filesystem of this machine to clamp a time.",
      tarfile: "It leaves it to the filesystem of this machine to clamp a time.",
    },
  },
  {
    name: "xattrs",
    layers: (at) => {
      const xattrs = { "user.text": "value", "user.raw": Uint8Array.of(0, 61, 10, 255), "user.a": "=\n=" };
      return [[
        t.file(at("file"), "x", { xattrs }),
        t.directory(at("directory"), { xattrs }),
        t.symlink(at("link"), "x", { xattrs: { "trusted.t": "x" } }),
        t.file(at("capability"), "x", { uid: 5, mode: 0o4755, xattrs: { "security.capability": CAPABILITY_2 } }),
        t.file(at("namespaced"), "x", { xattrs: { "security.capability": CAPABILITY_3 } }),
      ]];
    },
    without: {
      tarfile: NO_XATTRS,
    },
  },
  {
    name: "selinux",
    layers: (at) => [[t.file(at("file"), "x", { xattrs: { "security.selinux": "system_u:object_r:bin_t:s0\0" } })]],
    without: {
      tarfile: NO_XATTRS,
      umoci: "It leaves labels to whoever starts a container.",
      podman: "It leaves labels to whoever starts a container.",
    },
  },
  {
    name: "acl",
    layers: (at) => [[t.file(at("file"), "x", { mode: 0o750, xattrs: { "system.posix_acl_access": ACL } })]],
    without: { tarfile: NO_XATTRS, tar: ACL_AS_TEXT },
  },
  {
    name: "default-acl",
    layers: (at) => [[
      t.directory(at("d"), { xattrs: { "system.posix_acl_default": ACL } }),
      t.file(at("d/file"), "x", { mode: 0o644 }),
      t.directory(at("d/directory"), { mode: 0o755 }),
    ]],
    without: { tarfile: NO_XATTRS, tar: ACL_AS_TEXT, podman: "What it makes in the directory inherits the list." },
  },
  {
    name: "acl-text",
    layers: (at) => [[
      t.file(at("file"), "x", { mode: 0o750, pax: [["SCHILY.acl.access", `${ACL_TEXT.replaceAll(",", "\n")}\n`]] }),
      t.file(at("minimal"), "x", { mode: 0o640, pax: [["SCHILY.acl.access", "user::rw-,group::r--,other::---"]] }),
      t.directory(at("d"), { mode: 0o750, pax: [["SCHILY.acl.access", ACL_TEXT], ["SCHILY.acl.default", ACL_TEXT]] }),
      t.file(at("d/file"), "x", { mode: 0o640 }),
    ]],
    without: {
      tarfile: NO_XATTRS,
      umoci: "It leaves ACLs out that stand as text.",
      podman: "It leaves ACLs out that stand as text.",
    },
  },
  {
    name: "star-acl-text",
    layers: (at) => [[
      t.file(at("star"), "x", {
        mode: 0o750,
        pax: [["SCHILY.acl.access", ACL_TEXT.replace("1000:r-x", "somebody:r-x:1000")]],
      }),
    ]],
    without: {
      tarfile: NO_XATTRS,
      tar: "It does not know star's number behind the rights.",
      umoci: "It leaves ACLs out that stand as text.",
      podman: "It leaves ACLs out that stand as text.",
    },
  },
  {
    name: "libarchive",
    layers: (at) => [[
      t.file(at("file"), "x", {
        pax: [["LIBARCHIVE.xattr.user.a%3Db%0A", "AP8K"], ["LIBARCHIVE.xattr.user.short", "eA"]],
      }),
      t.file(at("both"), "x", { pax: [["LIBARCHIVE.xattr.user.x", "bG93"], ["SCHILY.xattr.user.x", "high"]] }),
    ]],
    without: {
      tarfile: NO_XATTRS,
      tar: "It does not know libarchive's form.",
      umoci: "It does not know libarchive's form.",
      podman: "It does not know libarchive's form.",
    },
  },
  {
    name: "overlay-xattrs",
    layers: (at) => [[
      t.directory(at("d"), { xattrs: { "trusted.overlay.opaque": "y", "user.overlay.origin": "x", "user.kept": "1" } }),
      t.file(at("f"), "x", { xattrs: { "trusted.overlay.redirect": "/etc" } }),
    ]],
    without: {
      tarfile: NO_XATTRS,
      tar: "It sets what overlayfs noted for itself.",
      umoci: "It sets what overlayfs noted for itself.",
      podman: "It sets what overlayfs noted for itself, and overlayfs then acts on it.",
    },
  },
];
