/** From outside: logins, certificates and mirrors of the installed active system count where nothing here says any. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { boot } from "../lab/booted.ts";
import { mountPoints } from "../lab/counting.ts";
import { deployedMachine } from "../lab/deployed.ts";
import { mount } from "../lab/disk.ts";
import { etcRoom } from "../lab/etc-room.ts";
import { heldBy } from "../lab/machine.ts";
import { startRegistry } from "../lab/registry.ts";
import { run } from "../lab/run.ts";
import { writeSmallOs } from "../lab/small-os.ts";
import { scratchDirectory } from "../lab/cleanup.ts";
import * as t from "../lab/tar-writer.ts";

const USER = { name: "user", password: "word" };

const below = (path: string) => path.split("/").map((_, i, parts) => t.directory(parts.slice(0, i + 1).join("/")));

Deno.test("a login, a CA and a mirror that only the active system knows lead to the image; its own word comes first", async () => {
  await using scratch = scratchDirectory("layout");
  await using registry = await startRegistry({ user: USER, tls: true });
  writeSmallOs(scratch.path, { v2: {} });
  await registry.push(scratch.path, "v2", "team/os:v2");
  const login = (password: string) => {
    const auth = btoa(`${USER.name}:${password}`);
    return JSON.stringify({ auths: { [registry.host]: { auth } } });
  };
  const mirror = `[host."https://${registry.host}"]\n`, mirrors = "etc/containerd/certs.d/images.example";
  const hosts = `etc/docker/certs.d/${registry.host}`, ca = Deno.readTextFileSync(registry.caFile ?? "");
  const own = [
    ...below("etc/cos"),
    ...below(hosts),
    ...below(mirrors),
    t.file(`${mirrors}/hosts.toml`, mirror),
    t.file("etc/cos/auth.json", login(USER.password)),
    t.file(`${hosts}/ca.crt`, ca),
  ];
  await using machine = await deployedMachine({ v1: { more: [...mountPoints(), ...own] } }, { stateMiB: 300 });
  const words = ["upgrade", "images.example/team/os:v2", "--no-verify"];
  {
    await using room = await etcRoom(machine);
    const done = await room.cos(...words, "--dry-run");
    assert.equal(done.status, 0, done.err);
    assert.deepEqual(await heldBy(machine.state), []);
    // The room has a login, too: it is the one that is taken.
    room.write("cos/auth.json", login("wrong"));
    const refused = await room.cos(...words, "--json");
    assert.match(JSON.parse(refused.out).error.message, /127\.0\.0\.1:[0-9]+ refuses access/);
    room.remove("cos/auth.json");
    const upgraded = await room.cos(...words);
    assert.equal(upgraded.status, 0, upgraded.err);
  }
  assert.deepEqual(await heldBy(machine.state), []);
  const { active, passive } = await machine.slots();
  assert.deepEqual([active?.version, passive?.version], ["v2", "v1"]);
});

Deno.test("a machine that runs one of its systems asks no other one", async () => {
  const own = [
    ...below("etc/cos"),
    t.file("etc/cos/registries.conf", '[[registry]]\nlocation = "images.example"\nblocked = true\n'),
  ];
  const images = { v1: { more: mountPoints() }, v2: { more: [...mountPoints(), ...own] } };
  await using machine = await deployedMachine(images, { stateMiB: 300, upgrades: ["v2"] });
  const words = ["upgrade", "images.example/os:v3", "--no-verify", "--json"];
  await using room = await etcRoom(machine);
  assert.equal(JSON.parse((await room.cos(...words)).out).error.code, "BLOCKED");
  await using booted = await boot(machine, "passive");
  const { error } = JSON.parse((await booted.cos(...words)).out);
  assert.equal(error.code, "REGISTRY_UNREACHABLE", error.message);
});

Deno.test("an active system that is too damaged to be asked can be mended from outside", async () => {
  await using registry = await startRegistry();
  const images = { v1: { more: [...mountPoints(), ...below("etc/cos"), t.file("etc/cos/auth.json", "{}")] }, v2: {} };
  await using machine = await deployedMachine(images, { stateMiB: 300 });
  await registry.push(machine.layout, "v2", "team/os:v2");
  {
    await using state = await mount(machine.state, "rw");
    const image = join(state.path, "cOS/active.img");
    await run("debugfs", ["-w", "-R", "set_inode_field /etc/cos block[0] 99999999", image]);
  }
  await using room = await etcRoom(machine);
  const words = ["upgrade", `${registry.host}/team/os:v2`, "--no-verify", "--plain-http"];
  const upgraded = await room.cos(...words);
  assert.equal(upgraded.status, 0, upgraded.err);
  assert.match(upgraded.err, /^Warning: The active system cannot be asked for its configuration: /m);
  assert.equal((await machine.slots()).active?.version, "v2");
});

Deno.test("a state partition that does not mount keeps nobody from asking about an image in a registry", async () => {
  await using registry = await startRegistry();
  await using machine = await deployedMachine({ v1: {} }, { stateMiB: 300 });
  await registry.push(machine.layout, "v1", "team/os:v1");
  // Its own, so that no other machine of this host is found.
  const label = `ROOT_${Deno.pid}`;
  await run("e2label", [machine.state, label]);
  {
    // The table of its groups, behind the superblock.
    using device = await Deno.open(machine.state, { write: true });
    await device.seek(2048, Deno.SeekMode.Start);
    await device.write(new Uint8Array(8192).fill(0x55));
    await device.sync();
  }
  await using room = await etcRoom({ directory: machine.directory });
  room.write("cos/config", `STATE_LABEL=${label}\n`);
  room.write("cos/policy.json", JSON.stringify({ default: [{ type: "reject" }] }));
  const { status, out, err } = await room.cos("verify", `${registry.host}/team/os:v1`, "--plain-http");
  assert.deepEqual([status, /^It would be refused\.$/m.test(out)], [31, true], err);
  assert.match(err, /^Warning: The active system cannot be asked for its configuration: /m);
});
