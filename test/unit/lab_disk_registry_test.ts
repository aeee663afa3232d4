import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../lab/cleanup.ts";
import { createDisk, imageLabel, mount } from "../lab/disk.ts";
import { packLayer, writeLayout } from "../lab/oci-layout.ts";
import { startRegistry } from "../lab/registry.ts";
import { run } from "../lab/run.ts";
import { file, tar } from "../lab/tar-writer.ts";

Deno.test("createDisk() makes the four labelled partitions, and leaves nothing when it is closed", async () => {
  let path: string;
  {
    await using disk = await createDisk({ stateMiB: 128, recoveryMiB: 32 });
    path = disk.path;
    const table = await run("sgdisk", ["-p", disk.path]);
    const blkid = await Promise.all(
      Object.entries(disk.partitions).map(async ([name, node]) =>
        `${name} ${(await run("blkid", ["-p", "-s", "LABEL", "-o", "value", node])).trim()}`
      ),
    );
    assert.deepEqual(blkid, ["oem COS_OEM", "state COS_STATE", "recovery COS_RECOVERY", "persistent COS_PERSISTENT"]);
    assert.deepEqual(table.trim().split("\n").slice(-4).map((line) => line.split(/ +/).at(-1)), [
      ...["oem", "state", "recovery", "persistent"],
    ]);
    assert.equal(imageLabel(disk.partitions.state), "COS_STATE");
    {
      await using state = await mount(disk.partitions.state, "rw");
      writeFileSync(join(state.path, "a"), "a");
    }
    await using state = await mount(disk.partitions.state);
    assert.equal(readFileSync(join(state.path, "a"), "utf8"), "a");
  }
  assert.equal(existsSync(path), false);
  assert.doesNotMatch(await run("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"]), new RegExp(path));
});

Deno.test("a registry with a password and a certificate of its own takes OCI and docker images byte for byte", async () => {
  await using scratch = scratchDirectory();
  await using registry = await startRegistry({ tls: true, user: { name: "lab", password: "a:b c" } });
  const layers = [packLayer(tar([file("a", "a")]), "gzip")];
  const [oci, docker, index] = writeLayout(scratch.path, {
    oci: { layers },
    docker: { layers, mediaTypes: "docker" },
    list: {
      images: [{ layers, mediaTypes: "docker" }, {
        layers,
        mediaTypes: "docker",
        platform: { os: "linux", architecture: "arm64" },
      }],
      mediaTypes: "docker",
    },
  });
  for (const written of [oci, docker, index]) {
    assert.ok(written !== undefined);
    const reference = `demo/os:${written.tag}`;
    await registry.push(scratch.path, written.tag, reference);
    assert.equal(await registry.manifestDigest(reference), written.descriptor.digest);
  }
  using client = Deno.createHttpClient({ caCerts: [readFileSync(registry.caFile ?? "", "utf8")] });
  const response = await fetch(`https://${registry.host}/v2/`, { client });
  await response.body?.cancel();
  assert.equal(response.status, 401);
});
