/** `cos verify`: signatures of images, and installed systems against the image that they claim to be. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { mount } from "../lab/disk.ts";
import { etcRoom } from "../lab/etc-room.ts";
import { heldBy, labMachine } from "../lab/machine.ts";
import { layoutDescriptor } from "../lab/oci-layout.ts";
import { run } from "../lab/run.ts";
import { MEDIA_TYPES, statement } from "../lab/signing/bundles.ts";
import { makeKey } from "../lab/signing/keys.ts";
import { bundle, layoutPlace, publishReferrers } from "../lab/signing/publish.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import * as t from "../lab/tar-writer.ts";

Deno.test("an installed system is compared with its image, entry by entry", async () => {
  await using machine = await labMachine({ stateMiB: 200 });
  const layout = join(machine.directory, "os"),
    more = [
      t.file("usr/tool", "a tool", { mode: 0o755, xattrs: { "user.note": new Uint8Array([1, 2]) } }),
      t.symlink("usr/link", "tool"),
      t.charDevice("usr/zero", 1, 5),
      t.file("usr/big", new Uint8Array(3_000_000).fill(7)),
    ];
  writeSmallOs(layout, { v1: { more } });
  await machine.must("deploy", `oci:${layout}:v1`, "--no-verify");
  const verify = (...words: string[]) => machine.cos("verify", "--slot", "active", "--no-verify", ...words);
  const before = await machine.slots(), { digest } = layoutDescriptor(layout, "v1");
  const same = await verify();
  assert.equal(same.status, 0, same.err);
  assert.match(
    same.out,
    new RegExp(
      `^The active system and oci:${layout}:v1 \\(${digest}\\)\n  proof    NOT VERIFIED: waived with --no-verify by \\S+\nThey are the same: [0-9]+ entries, with their contents and attributes\\.\n$`,
    ),
  );
  {
    await using state = await mount(machine.state, "rw");
    await using image = await mount(join(state.path, "cOS/active.img"), "rw,loop");
    const at = (name: string) => join(image.path, name);
    const big = Deno.openSync(at("usr/big"), { write: true });
    big.seekSync(2_999_999, Deno.SeekMode.Start);
    big.writeSync(new Uint8Array([8]));
    big.close();
    await run("touch", ["-d", "@1767945600", at("usr/big")]);
    Deno.chmodSync(at("usr/tool"), 0o4755);
    await run("setfattr", ["-x", "user.note", at("usr/tool")]);
    Deno.removeSync(at("usr/link"));
    Deno.symlinkSync("elsewhere", at("usr/link"));
    Deno.removeSync(at("usr/zero"));
    Deno.mkdirSync(at("usr/zero"));
    Deno.writeTextFileSync(at("boot/extra"), "");
    Deno.removeSync(at("boot/initrd"));
    await run("chown", ["1:2", at("etc/os-release")]);
  }
  const other = await verify("--json");
  assert.equal(other.status, 34);
  const found = JSON.parse(other.out) as { count: number; differences: { path: string; how: string }[] };
  const told = found.differences.filter(({ how }) => !how.startsWith("was changed at"));
  assert.deepEqual(told.map(({ path, how }) => `${path} ${how}`), [
    "boot/extra is not in the image",
    "boot/initrd is missing",
    "etc/os-release belongs to 1:2, not 0:0",
    "usr/big has another content",
    "usr/link leads to elsewhere, not tool",
    "usr/tool has the mode 4755, not 755",
    "usr/tool lacks the attribute user.note",
    "usr/zero is a directory, not a character device",
  ]);
  assert.equal(found.count, found.differences.length);
  assert.match((await verify()).out, /They differ in [0-9]+ places, of [0-9]+ entries:\n {2}boot was changed at /);
  const { active } = await machine.slots();
  assert.equal(active?.ino, before.active?.ino);
  assert.deepEqual(await heldBy(machine.state), []);
});

Deno.test("an image is verified for whoever asks: by a key, by a policy; nothing is installed", async () => {
  await using machine = await labMachine({ stateMiB: 128 });
  await using room = await etcRoom({ directory: machine.directory });
  const layout = join(machine.directory, "os"), key = await makeKey("p256"), image = `oci:${layout}:v1`;
  writeSmallOs(layout, { v1: {} });
  const subject = layoutDescriptor(layout, "v1");
  const none = await room.cos("verify", image);
  assert.deepEqual([none.status, none.out], [28, ""]);
  room.write("cos/release.pub", key.pem);
  const unsigned = await room.cos("verify", image, "--key", "/etc/cos/release.pub");
  assert.equal(unsigned.status, 31);
  assert.match(
    unsigned.out,
    /NO {7}must be signed in a Sigstore bundle by the key sha256:[0-9a-f]{64}\n {11}.*it has no such signature\nIt would be refused\.\n$/,
  );
  const signature = await bundle({ version: "0.3", key, statement: statement(subject.digest.slice(7)) });
  await publishReferrers(layoutPlace(layout), subject, MEDIA_TYPES["0.3"], [signature]);
  const signed = await room.cos("verify", image, "--key", "/etc/cos/release.pub");
  assert.equal(signed.status, 0, signed.out);
  assert.match(signed.out, /signed {3}by key sha256:[0-9a-f]{64}\nIt would be installed\.\n$/);
  room.write("cos/policy.json", JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }));
  // What a policy waives is not verified.
  assert.equal((await room.cos("verify", image)).status, 31);
  assert.equal((await room.cos("policy", "test", image)).status, 0);
  const { out } = await room.cos("policy", "check");
  assert.equal(
    out,
    "Policy /etc/cos/policy.json: of all scopes that an image is in, the most specific one alone decides.\n\n" +
      "  default\n    The image must be whatever it likes: nothing is verified.\n" +
      "    Doubtful: Nothing is verified here; status shows it of each image for ever.\n",
  );
});
