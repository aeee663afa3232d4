import assert from "node:assert/strict";
import { readInPieces, readTar } from "../lab/tar-events.ts";
import { thrownBy } from "../lab/expect.ts";
import * as t from "../lab/tar-writer.ts";

function refused(archive: Uint8Array, why: string): void {
  assert.deepEqual(thrownBy(() => readTar(archive)), {
    code: "BROKEN_LAYER",
    message: `Cannot read the layer as a tar archive: ${why}.`,
  });
}

function pax(body: string): Uint8Array {
  return t.tar([t.file("f", "", { paxBody: body })]);
}

const CHECKSUM = "a header's checksum is wrong: this is no tar archive, or a damaged one";

Deno.test("what is no archive, or a damaged one, is refused", () => {
  refused(t.tar([t.file("a", "x", { raw: { checksum: "000000\0 " } })]), CHECKSUM);
  refused(new Uint8Array(512).fill(0x41), "a header's checksum is no octal number");
  refused(t.bytesOf("<html>".repeat(200)), "a header's checksum is no octal number");
  const flipped = t.tar([t.file("a", "x")]);
  flipped[0] = 0x62;
  refused(flipped, CHECKSUM);
});

Deno.test("an archive that stops inside an entry or before the one that was announced is refused", () => {
  const one = t.tar([t.file("name", "x".repeat(600))], { endBlocks: 0 });
  refused(one.subarray(0, 100), "the archive ends in the middle of a header");
  refused(one.subarray(0, 511), "the archive ends in the middle of a header");
  refused(one.subarray(0, 512), 'the archive ends in the middle of "name"');
  refused(one.subarray(0, 1000), 'the archive ends in the middle of "name"');
  const announced = t.tar([t.file("name", "", { pax: [["path", "other"]] })], { endBlocks: 0 });
  for (const length of [512, 512 + 10, 512 + 20, 1023, 1024]) {
    refused(announced.subarray(0, length), "the archive ends in the middle of a header");
  }
  const sparse = t.tar([t.file("name", "", { pax: [["GNU.sparse.offset", "0"]] })], { endBlocks: 0 });
  refused(sparse.subarray(0, 1024), "the archive ends in the middle of a header");
  const long = t.tar([t.file("n".repeat(300), "", { format: "gnu" })], { endBlocks: 0 });
  refused(long.subarray(0, 1024), "the archive ends in the middle of a header");
  // The end where an entry was announced: whoever reads on would see it.
  refused(t.concat([long.subarray(0, 1024), new Uint8Array(1024)]), "the archive ends in the middle of a header");
});

Deno.test("entries behind a lone block of zeros are neither read nor skipped", () => {
  const archive = t.tar([t.file("a"), new Uint8Array(512), t.file("b")]);
  refused(archive, "an entry follows after a block of zeros, where the archive should end");
});

Deno.test("types that no layer may hold are refused by name", () => {
  for (const flag of ["A", "D", "M", "N", "V", "X", "8", "9", " ", "\xff"]) {
    const archive = t.tar([{ ...t.file("f"), raw: { typeflag: Uint8Array.of(flag.charCodeAt(0)) } }]);
    refused(archive, `"f" is of type ${JSON.stringify(flag)}, which no layer may hold`);
  }
});

Deno.test("pax headers whose records do not fit are refused", () => {
  const wrong = "an extended header holds a record with a wrong length";
  for (
    const body of [
      "x",
      "6 a=b",
      "6 a=bX",
      "7 a=b\n",
      "5 a=b\n",
      "0 a=b\n",
      "-6 a=b\n",
      "+6 a=b\n",
      "0x6 a=b\n",
      " 6 a=b\n",
      "999999999 a=b\n",
      "99999999 a=b\n",
      "6 a=b\n6 c=",
      "6 a=b\n\0\0x",
      "3 \n",
    ]
  ) refused(pax(body), wrong);
  refused(pax("6 abc\n"), "an extended header holds a record without a value");
});

Deno.test("a pax header padded with NULs is read", () => {
  const [entry] = readTar(pax("10 path=g\n\0\0\0\0")).entries;
  assert.equal(entry?.name, "g");
});

Deno.test("numbers that are none, or out of all range, are refused", () => {
  const value = (key: string, text: string) => t.tar([t.file("f", "", { pax: [[key, text]] })]);
  const raw = (field: t.HeaderField, text: t.Bytes) => t.tar([t.file("f", "12345678", { raw: { [field]: text } })]);
  const huge = Uint8Array.of(0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255);
  const minus = new Uint8Array(12).fill(255);
  refused(value("size", "-1"), 'size is "-1", which is no number');
  refused(value("size", "1e3"), 'size is "1e3", which is no number');
  refused(value("size", " 1"), 'size is " 1", which is no number');
  refused(value("size", "9007199254740992"), 'size is "9007199254740992", which is no number');
  refused(value("size", "9007199254740991"), '"f" has the impossible size 9007199254740991');
  refused(value("uid", "\x1b[2J"), 'uid is "\\\\u001b[2J", which is no number');
  refused(value("mtime", "yesterday"), 'a time is "yesterday", which is no number');
  refused(value("mtime", "-"), 'a time is "-", which is no number');
  refused(value("mtime", "1.5.5"), 'a time is "1.5.5", which is no number');
  refused(value("mtime", "9".repeat(16)), `a time is "${"9".repeat(16)}", which is no number`);
  refused(raw("size", "0000000008x\0"), "a header's size is no octal number");
  refused(raw("size", "00000000018\0"), "a header's size is no octal number");
  refused(raw("size", "-0000000001\0"), "a header's size is no octal number");
  refused(raw("size", "1 0 0\0"), "a header's size is no octal number");
  refused(raw("size", huge), "a header's size is out of range");
  refused(raw("size", minus), '"f" has the impossible size -1');
  refused(raw("mtime", huge), "a header's mtime is out of range");
  refused(raw("mode", "rwxr-xr\0"), "a header's mode is no octal number");
});

Deno.test("owners that chown(2) takes for 'no change', and device numbers that no node can have, are refused", () => {
  refused(t.tar([t.file("f", "", { uid: 2 ** 32 - 1 })]), '"f" has the impossible owner 4294967295');
  refused(t.tar([t.file("f", "", { gid: 2 ** 33 })]), '"f" has the impossible owner 8589934592');
  const minus = t.file("f", "", { format: "gnu", uid: -1, base256: ["uid"] });
  refused(t.tar([minus]), '"f" has the impossible owner -1');
  refused(t.tar([t.charDevice("c", 4096, 1)]), '"c" has the impossible device number 4096:1');
  refused(t.tar([t.blockDevice("b", 1, 0x100000)]), '"b" has the impossible device number 1:1048576');
  const negative = t.charDevice("c", -1, 1, { format: "gnu", base256: ["devmajor"] });
  refused(t.tar([negative]), '"c" has the impossible device number -1:1');
  assert.equal(readTar(t.tar([t.charDevice("c", 4095, 0xfffff)])).entries.length, 1);
});

Deno.test("headers that would fill the memory are refused before anything is kept of them", () => {
  const longName = { name: "././@LongLink", typeflag: "L", claimedSize: 2 ** 32, format: "gnu" as const };
  refused(t.tar([longName]), "an extension header is 4294967296 bytes long; at most 1048576 are read");
  const header = { name: "PaxHeaders", typeflag: "x", claimedSize: 1048577 };
  refused(t.tar([header]), "an extension header is 1048577 bytes long; at most 1048576 are read");
  const minus = { name: "x", typeflag: "x", raw: { size: new Uint8Array(12).fill(255) } };
  refused(t.tar([minus]), "an extension header is -1 bytes long; at most 1048576 are read");
});

Deno.test("global headers that pile up are refused", () => {
  const header = (i: number) => t.globalHeader([[`key${i}`, "v".repeat(1_000_000)]]);
  const archive = t.tar([header(1), header(2), t.file("f")]);
  const why = "global headers hold more than 1048576 bytes";
  assert.deepEqual(thrownBy(() => readInPieces(archive, 0)), {
    code: "BROKEN_LAYER",
    message: `Cannot read the layer as a tar archive: ${why}.`,
  });
  // One that replaces its own records does not pile up.
  const replaced = t.tar([header(1), header(1), header(1), t.file("f")]);
  assert.equal(readInPieces(replaced, 0).entries.length, 1);
});

Deno.test("two names for one entry, or two headers, are refused where readers would choose differently", () => {
  const x = (records: [string, t.Bytes][]) => ({ name: "x", typeflag: "x", content: t.paxBody(records) });
  const long = (typeflag: string, name: string) => ({ name: "././@LongLink", typeflag, content: `${name}\0` });
  refused(t.tar([x([["path", "a"]]), x([["path", "b"]]), t.file("f")]), "two extended headers stand before one entry");
  refused(
    t.tar([x([["GNU.sparse.offset", "1"]]), x([["path", "b"]]), t.file("f")]),
    "two extended headers stand before one entry",
  );
  const two = "an entry has two different names, and readers differ in which they take";
  refused(t.tar([long("L", "a"), x([["path", "b"]]), t.file("f")]), two);
  refused(t.tar([long("K", "a"), x([["linkpath", "b"]]), t.symlink("f", "c")]), two);
  const same = t.tar([long("L", "a"), x([["path", "a"]]), t.file("f")]);
  assert.deepEqual(readTar(same).entries.map(({ name }) => name), ["a"]);
});

Deno.test("a key with a NUL, which the kernel would read to there, is refused", () => {
  refused(pax("26 SCHILY.xattr.a\0b=value\n"), "an extended header holds a key with a NUL byte");
  refused(
    t.tar([t.file("f", "", { pax: [["LIBARCHIVE.xattr.a%00b", "eA"]] })]),
    "an extended attribute's name holds a NUL byte",
  );
});

Deno.test("an attribute whose base64 is none is refused", () => {
  const archive = t.tar([t.file("f", "", { pax: [["LIBARCHIVE.xattr.user.\x1b", "?"]] })]);
  refused(archive, 'the extended attribute "user.\\\\u001b" is not valid base64');
});
