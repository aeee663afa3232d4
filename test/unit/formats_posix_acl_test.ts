import assert from "node:assert/strict";
import { encodeAcl, parseAcl, parseIds } from "../../lib/formats/posix-acl.ts";
import { Random } from "../lab/random.ts";
import { bytesOf } from "../lab/tar-writer.ts";

const OTHERS = [
  { tag: "groupObject", permissions: 5 },
  { tag: "mask", permissions: 7 },
  { tag: "other", permissions: 0 },
] as const;

Deno.test("parseAcl() reads what star, GNU tar and libarchive write", () => {
  const named = (who: number | string) => [{ tag: "userObject", permissions: 7 }, {
    tag: "user",
    who,
    permissions: 6,
  }, ...OTHERS];
  const texts: [string, number | string][] = [
    ["user::rwx,user:lisa:rw-:502,group::r-x,mask::rwx,other::---", 502], // star
    ["user::rwx\nuser:lisa:rw-\t#effective:rw-\ngroup::r-x\nmask::rwx\nother::---\n", "lisa"], // GNU tar
    ["user::rwx\nuser:502:rw-\ngroup::r-x\nmask::rwx\nother::---\n", 502], // GNU tar --numeric-owner
    ["user::rwx,group::r-x,other::---,user:502:rw-:502,mask::rwx", 502], // libarchive, where nobody had a name
    ["user::rwx,user::rw-:502,group::r-x,mask::rwx,other::---", 502],
    ["default:user::rwx,default:user:502:rw-,default:group::r-x,default:mask::rwx,default:other::---", 502], // Solaris
    ["u::rwx, u:502:rw, g::r-x, m:rwx, o:---", 502], // acl(5), SHORT TEXT FORM
    ["user::rwx,user:lisa\xff:rw-,group::r-x,mask::rwx,other::---", "lisa\xff"],
  ];
  const byTag = (a: { tag: string }, b: { tag: string }) => a.tag < b.tag ? -1 : 1;
  for (const [text, who] of texts) {
    assert.deepEqual(parseAcl(text)?.sort(byTag), named(who).sort(byTag), text);
  }
});

Deno.test("parseAcl() takes nothing for a list that is none", () => {
  for (
    const text of [
      "",
      "\n# nothing\n",
      "user",
      "user:rwx",
      "user::rwz",
      "user::",
      "user::rwxr",
      "user:a:rwx:b",
      "user:a:rwx:1:2",
      "user:a:rwx:4294967295",
      "user:4294967296:rwx",
      "mask:a:rwx",
      "other:1:rwx",
      "owner@:rwx:allow",
      "nobody::rwx",
      Array(8193).fill("user::rwx").join(","),
    ]
  ) assert.equal(parseAcl(text), undefined, text.slice(0, 60));
});

Deno.test("encodeAcl() gives the kernel's bytes in the kernel's order", () => {
  const list = parseAcl("other::---,mask::rwx,group:7:r--,group::r-x,user:502:rw-,user:3:-wx,user::rwx") ?? [];
  const hex = Array.from(encodeAcl(list), (byte) => byte.toString(16).padStart(2, "0")).join("");
  assert.equal(
    hex,
    [
      "02000000",
      "01000700ffffffff",
      "0200030003000000",
      "02000600f6010000",
      "04000500ffffffff",
      "0800040007000000",
      "10000700ffffffff",
      "20000000ffffffff",
    ].join(""),
  );
});

Deno.test("parseIds() reads names and numbers as getpwnam(3) does, and skips what is no line of them", () => {
  const text =
    "root:x:0:0:root:/root:/bin/sh\n\nno line\nlisa:x:502:\nlisa:x:503:\nbad:x:-1:\nbig:x:4294967295:\n:x:5:\nlast:x:7";
  assert.deepEqual([...parseIds(text)], [["root", 0], ["lisa", 502], ["last", 7]]);
});

Deno.test("damaged access lists are read or not, and nothing else happens; what is read can be encoded", () => {
  const random = new Random(11), text = bytesOf("user::rwx,user:lisa:rw-:502,group::r-x,mask::rwx,other::---\n#x\n");
  for (let i = 0; i < 20_000; i++) {
    const damaged = String.fromCharCode(...random.mutate(text));
    const numbered = parseAcl(damaged)?.filter(({ who }) => typeof who !== "string") ?? [];
    assert.equal(encodeAcl(numbered).length, 4 + 8 * numbered.length);
    parseIds(damaged);
  }
});
