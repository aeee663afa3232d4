import assert from "node:assert/strict";
import { parseBootArguments } from "../../lib/formats/bootargs.ts";
import { parseKeyValues } from "../../lib/formats/key-value.ts";
import { parseMountInfo } from "../../lib/formats/mountinfo.ts";

Deno.test("files of KEY=VALUE lines: quotes, escapes, comments, spaces, later lines win", () => {
  const text = [
    "# comment",
    "",
    "NAME=Linux",
    'VERSION="1.0 (\\"one\\" \\$x \\`y\\` \\\\ \\n)"',
    "SINGLE='a \"b\" \\n $c'",
    "export  EXPORTED=yes",
    "  INDENTED=1 ",
    "BARE=a b # remark",
    "HASH=a#b",
    "EMPTY=",
    'QUOTED_EMPTY=""',
    'BEHIND="a" # remark',
    'OPEN="a',
    "NAME=Second",
    "WINDOWS=x\r",
    "no assignment",
    "1BAD=x",
    "BA-D=x",
    "=x",
    "UNICODE=größe",
  ].join("\n");
  assert.deepEqual(Object.fromEntries(parseKeyValues(text)), {
    NAME: "Second",
    VERSION: '1.0 ("one" $x `y` \\ \\n)',
    SINGLE: 'a "b" \\n $c',
    EXPORTED: "yes",
    INDENTED: "1",
    BARE: "a b",
    HASH: "a#b",
    EMPTY: "",
    QUOTED_EMPTY: "",
    BEHIND: "a",
    OPEN: '"a',
    WINDOWS: "x",
    UNICODE: "größe",
  });
});

Deno.test("names that mean something to JavaScript are keys like others", () => {
  assert.deepEqual([...parseKeyValues("__proto__=x\nconstructor=y")], [["__proto__", "x"], ["constructor", "y"]]);
});

Deno.test("mountinfo: with and without optional fields, escapes, read-only by the mount's own options", () => {
  const text = [
    "22 27 0:21 / /proc rw,nosuid,nodev shared:12 master:1 - proc proc rw",
    "27 1 254:0 / / ro,relatime - ext4 /dev/vda rw,errors=remount-ro",
    "30 27 7:3 /a\\040dir /mnt/with\\011tab\\134back\\012line rw - ext2 /dev/loop3 ro",
    "31 27 0:5 /- /- rw - tmpfs none rw,size=1k",
    "32 27 0:6 / /dash rw shared:1 - fuse.x - rw",
    "garbage",
    "33 27 0:7 / /short rw - tmpfs",
    "",
  ].join("\n");
  const base = { root: "/", readOnly: false };
  assert.deepEqual(parseMountInfo(text), [
    {
      ...base,
      device: "0:21",
      mountPoint: "/proc",
      options: ["rw", "nosuid", "nodev"],
      type: "proc",
      source: "proc",
      superOptions: ["rw"],
    },
    {
      ...base,
      device: "254:0",
      mountPoint: "/",
      readOnly: true,
      options: ["ro", "relatime"],
      type: "ext4",
      source: "/dev/vda",
      superOptions: ["rw", "errors=remount-ro"],
    },
    {
      device: "7:3",
      root: "/a dir",
      mountPoint: "/mnt/with\ttab\\back\nline",
      readOnly: false,
      options: ["rw"],
      type: "ext2",
      source: "/dev/loop3",
      superOptions: ["ro"],
    },
    {
      ...base,
      device: "0:5",
      root: "/-",
      mountPoint: "/-",
      options: ["rw"],
      type: "tmpfs",
      source: "none",
      superOptions: ["rw", "size=1k"],
    },
    { ...base, device: "0:6", mountPoint: "/dash", options: ["rw"], type: "fuse.x", source: "-", superOptions: ["rw"] },
  ]);
});

Deno.test("this machine's own mountinfo is read line by line", () => {
  const text = Deno.readTextFileSync("/proc/self/mountinfo");
  const mounts = parseMountInfo(text);
  assert.equal(mounts.length, text.trimEnd().split("\n").length);
  assert.ok(mounts.some(({ mountPoint }) => mountPoint === "/"));
});

Deno.test("bootargs.cfg: the last assignment counts, in all the ways that GRUB scripts write one", () => {
  const text = `
set kernel=/boot/vmlinuz
if [ -n "$recoverylabel" ]; then
    set kernelcmd="console=tty1 root=live:LABEL=$recoverylabel"
else
    set kernelcmd="console=tty1 root=LABEL=$label cos-img/filename=$img quiet"
fi
  initramfs='/boot/initrd'
# set kernel=/boot/other
setkernel=/no
`;
  assert.deepEqual(parseBootArguments(text), {
    kernel: "/boot/vmlinuz",
    initramfs: "/boot/initrd",
    kernelArguments: "console=tty1 root=LABEL=$label cos-img/filename=$img quiet",
  });
  assert.deepEqual(parseBootArguments("set kernel=/a b\r\nset initramfs=\r\n"), {
    kernel: "/a",
    initramfs: "",
    kernelArguments: undefined,
  });
  assert.deepEqual(parseBootArguments(""), { kernel: undefined, initramfs: undefined, kernelArguments: undefined });
});
