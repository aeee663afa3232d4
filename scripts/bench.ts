/**
 * Measures `cos upgrade` (the static file, a local registry) on a Debian system of some 500 MB against
 * (a) `skopeo copy`, `umoci unpack` and `cp -a` into a mounted loop ext4, and
 * (b) the bare floor: `gzip -dc | tar x`, or `zstd -dc | tar x`, into a fresh mounted loop ext4, with sync.
 * And its peak memory, also for an image five times as large. All in one run, one after the other, the median of several.
 */
import { join } from "node:path";
import { fiveTimes } from "./bench-image.ts";
import { scratchDirectory } from "../test/lab/cleanup.ts";
import { debianBase } from "../test/lab/debian-base.ts";
import { startRegistry } from "../test/lab/registry.ts";
import { run } from "../test/lab/run.ts";
import { staticFile } from "../test/lab/static-file.ts";

interface Row {
  row: string;
  /** Seconds, or MB for memory. */
  ours: number;
  theirs: number;
  ratio: number;
}

interface Measured {
  seconds: number;
  /** Largest resident set, in MB. */
  memory: number;
}

const json = Deno.args.includes("--json");
const runs = Number(Deno.args[Deno.args.indexOf("--runs") + 1] ?? 5) || 5;

/** Runs a command under GNU time. What the disk still has to write from before is no part of it. */
async function measure(script: string, ...args: string[]): Promise<Measured> {
  await run("sync", []);
  const figures = await Deno.makeTempFile({ prefix: "cos-bench-" });
  try {
    await run("/usr/bin/time", [
      "-f",
      "%e %M",
      "-o",
      figures,
      "bash",
      "-euo",
      "pipefail",
      "-c",
      script,
      "bench",
      ...args,
    ]);
    const [seconds = NaN, kilobytes = NaN] = (await Deno.readTextFile(figures)).trim().split(" ").map(Number);
    return { seconds, memory: kilobytes / 1000 };
  } finally {
    await Deno.remove(figures);
  }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

const FRESH_EXT4 = `
work=$1; shift
rm -f "$work/image"; truncate -s 3240M "$work/image"; mke2fs -q -t ext4 "$work/image"
mkdir -p "$work/mount"; mount -o loop "$work/image" "$work/mount"
trap 'umount "$work/mount"' EXIT
`;
const PEER = `${FRESH_EXT4}
rm -rf "$work/layout" "$work/bundle"
skopeo copy --quiet --src-tls-verify=false "docker://$1" "oci:$work/layout:base"
umoci unpack --image "$work/layout:base" "$work/bundle" 2>/dev/null
cp -a "$work/bundle/rootfs/." "$work/mount/"
sync -f "$work/mount"
`;
const FLOOR = `${FRESH_EXT4}
tool=$1; shift
for layer; do "$tool" -dc < "$layer" | tar -x --xattrs --xattrs-include='*' --numeric-owner -C "$work/mount"; done
sync -f "$work/mount"
`;

/** The layers' blobs of the layout's one image, lowest first. */
function layerFiles(layout: string): string[] {
  const blob = (digest: string) => join(layout, "blobs", digest.replace(":", "/"));
  const read = (path: string) => JSON.parse(Deno.readTextFileSync(path));
  const index = read(join(layout, "index.json"));
  const { layers } = read(blob(index.manifests[0].digest)) as { layers: { digest: string }[] };
  return layers.map(({ digest }) => blob(digest));
}

const say = (text: string) => console.error(text);
say("making the Debian system, unless it is there (one or two minutes)");
const base = await debianBase();
const program = await staticFile();
await using registry = await startRegistry();
await using scratch = scratchDirectory("bench");
// A directory as the state partition: the images of all lie on the same filesystem, with one loop device between.
const state = join(scratch.path, "state");
Deno.mkdirSync(state);
const cos = (command: string, kind: string) => run(program, [command, image(kind), "--no-verify", "--state", state]);
const image = (kind: string) => `${registry.host}/os/base:${kind}`;
const kinds = ["gzip", "zstd"] as const;
for (const kind of kinds) await registry.push(base[kind], base.tag, `os/base:${kind}`);
await cos("deploy", "gzip");

const rows: Row[] = [];
const add = (row: string, ours: number, theirs: number) => rows.push({ row, ours, theirs, ratio: ours / theirs });
for (const kind of kinds) {
  const ours: Measured[] = [], floor: Measured[] = [], peer: Measured[] = [];
  for (let i = 1; i <= runs; i++) {
    say(`${kind}, run ${i} of ${runs}`);
    // Another image is active in between: an upgrade to what is there already would do nothing.
    await cos("upgrade", kind === "gzip" ? "zstd" : "gzip");
    ours.push(await measure('exec "$@"', program, "upgrade", image(kind), "--no-verify", "--state", state));
    floor.push(await measure(FLOOR, scratch.path, kind, ...layerFiles(base[kind])));
    // umoci 0.4.7 knows no zstd.
    if (kind === "gzip") peer.push(await measure(PEER, scratch.path, image(kind)));
  }
  const wall = (measured: Measured[]) => median(measured.map(({ seconds }) => seconds));
  if (peer.length > 0) {
    add(`upgrade, ${kind}, wall time (s) / skopeo copy + umoci unpack + cp -a`, wall(ours), wall(peer));
  }
  add(`upgrade, ${kind}, wall time (s) / ${kind} -dc | tar x, with sync`, wall(ours), wall(floor));
  const memory = (measured: Measured[]) => Math.max(...measured.map(({ memory }) => memory));
  add(`upgrade, ${kind}, peak memory (MB) / the limit`, memory(ours), 170);
}
say("an image five times as large, with windows of 8 MiB (a minute or two)");
await registry.push(
  await fiveTimes({ tool: "zstd", paths: layerFiles(base.zstd) }, scratch.path),
  "large",
  "os/base:large",
);
const large = await measure('exec "$@"', program, "upgrade", image("large"), "--no-verify", "--state", state);
add("upgrade, five times the image, zstd with windows of 8 MiB, peak memory (MB) / the same limit", large.memory, 170);
const left = [...Deno.readDirSync(join(state, "cOS"))].map(({ name }) => name).sort().join(" ");
if (left !== "active.img passive.img state.json") throw new Error(`scratch files stayed: ${left}`);
for (const { row, ours, theirs, ratio } of rows) {
  const numbers = { ours: Number(ours.toFixed(2)), theirs: Number(theirs.toFixed(2)), ratio: Number(ratio.toFixed(2)) };
  console.log(
    json ? JSON.stringify({ row, ...numbers }) : `${row}: ${numbers.ours} / ${numbers.theirs} = ${numbers.ratio}`,
  );
}
