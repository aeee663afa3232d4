/** `cos config` and `cos install-links`, as the static file does them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { etcRoom } from "../lab/etc-room.ts";
import { runProgram } from "../lab/machine.ts";
import { staticFile } from "../lab/static-file.ts";

const NAMES = ["cos-upgrade", "cos-rollback", "cos-reset", "cos-deploy", "cos-rebrand", "suc-upgrade"];

Deno.test("links are made once, lead to the file, are taken away again, and nothing of others is touched", async () => {
  await using scratch = scratchDirectory("links");
  const program = join(scratch.path, "usr/bin/cos"), sbin = join(scratch.path, "usr/sbin");
  for (const name of ["bin", "sbin"]) Deno.mkdirSync(join(scratch.path, "usr", name), { recursive: true });
  Deno.linkSync(await staticFile(), program);
  const links = () => [...Deno.readDirSync(sbin)].map(({ name }) => name).sort();
  const cos = (...words: string[]) => runProgram(program, ["install-links", sbin, ...words]);
  const made = await cos();
  assert.deepEqual([made.status, made.out], [0, `Made in ${sbin}: ${NAMES.join(", ")}\n`], made.err);
  assert.equal(Deno.readLinkSync(join(sbin, "cos-upgrade")), "../bin/cos");
  assert.equal((await runProgram(join(sbin, "cos-upgrade"), ["--help"])).out.split(" ")[1], "cos-upgrade");
  assert.match((await runProgram(join(sbin, "suc-upgrade"), ["--help"])).out, /^USAGE\n {2}cos suc-upgrade /);
  assert.equal((await cos()).out, "They are all there already.\n");
  Deno.removeSync(join(sbin, "cos-reset"));
  Deno.writeTextFileSync(join(sbin, "cos-reset"), "#!/bin/sh\n");
  Deno.removeSync(join(sbin, "cos-deploy"));
  const refused = await cos();
  assert.deepEqual([refused.status, refused.err.split("\n")[0]], [
    28,
    `Error: Cannot make the link ${sbin}/cos-reset: something else stands there.`,
  ]);
  assert.deepEqual(links(), ["cos-rebrand", "cos-reset", "cos-rollback", "cos-upgrade", "suc-upgrade"]);
  const removed = await cos("--remove", "--json");
  assert.deepEqual(JSON.parse(removed.out).changed, ["cos-upgrade", "cos-rollback", "cos-rebrand", "suc-upgrade"]);
  assert.deepEqual(links(), ["cos-reset"]);
  assert.equal((await cos("--remove")).out, "There are no links of ours.\n");
  // The one that an image may need for other things is made only if that is said, and goes with the others.
  const elemental = await cos("--elemental", "--json");
  assert.equal(elemental.status, 28);
  Deno.removeSync(join(sbin, "cos-reset"));
  assert.deepEqual(JSON.parse((await cos("--elemental", "--json")).out).changed, [...NAMES, "elemental"]);
  assert.match((await runProgram(join(sbin, "elemental"), ["upgrade", "--help"])).out, /^Usage: elemental upgrade /);
  assert.deepEqual(JSON.parse((await cos("--remove", "--json")).out).changed, [...NAMES, "elemental"]);
  const nowhere = await runProgram(program, ["install-links", join(scratch.path, "no")]);
  assert.equal(nowhere.status, 28);
});

Deno.test("cos config names every setting with where it stands", async () => {
  await using scratch = scratchDirectory("config");
  await using room = await etcRoom({ directory: scratch.path });
  for (const name of ["environment", "cos-upgrade-image"]) room.write(name, "");
  room.write("cos/config", "UPGRADE_IMAGE=r.example/os:v1\nVERIFY=false\n");
  room.write("elemental/config.yaml", "strict: true\n");
  const text = await room.cos("config");
  assert.equal(text.status, 0, text.err);
  const lines = text.out.split("\n").map((line) => line.split(/ {2,}/));
  assert.deepEqual(lines.filter(([, , where = ""]) => where.includes("/etc/")), [
    ["image", "r.example/os:v1", "UPGRADE_IMAGE in /etc/cos/config"],
    ["verify", "false", "VERIFY in /etc/cos/config"],
    ["strict", "true", "strict in /etc/elemental/config.yaml"],
  ]);
  assert.deepEqual(lines.find(([name]) => name === "size"), ["size", "3240", "the default"]);
  const { settings } = JSON.parse((await room.cos("config", "--json")).out);
  assert.deepEqual(settings.image, {
    about: "the system to upgrade to",
    value: "r.example/os:v1",
    origin: "/etc/cos/config",
    key: "UPGRADE_IMAGE",
  });
  assert.deepEqual(settings.recovery, {
    about: "whether the recovery system is upgraded",
    value: false,
    origin: "the default",
  });
  room.write("cos/config", "VERIFY=perhaps\n");
  const broken = await room.cos("config");
  assert.equal(
    broken.err.split("\n")[0],
    'Error: Cannot use /etc/cos/config, line 1: the value of VERIFY is "perhaps", and must be true or false.',
  );
  assert.equal(broken.status, 28);
});
