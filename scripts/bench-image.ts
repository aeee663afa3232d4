/** An image five times as large as the Debian base, each layer one zstd frame with a window of 8 MiB. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { type Layer, writeLayout } from "../test/lab/oci-layout.ts";
import { run } from "../test/lab/run.ts";

/** The base's tree, under other names; prints the layer's diffID and digest. */
const MAKE_LAYER = `
tree=$1 prefix=$2 file=$3
tar -C "$tree" -cf "$file.tar" --sort=name --numeric-owner --xattrs --xattrs-include='*' --format=posix \\
  --transform="flags=rSh;s,^[.],$prefix," .
zstd -q -3 --long=23 "$file.tar" -o "$file"
sha256sum "$file.tar" "$file" | cut -d' ' -f1
rm "$file.tar"
`;

/** @param layers the base's layers, lowest first, each as gzip or zstd. Returns the layout's path; its tag is `large`. */
export async function fiveTimes(
  layers: { tool: "gzip" | "zstd"; paths: string[] },
  directory: string,
): Promise<string> {
  const tree = join(directory, "tree"), made: Layer[] = [];
  await Deno.mkdir(tree);
  for (const path of layers.paths) {
    const script = `"$1" -dc < "$2" | tar -x --xattrs --xattrs-include='*' --numeric-owner -C "$3"`;
    await run("bash", ["-euo", "pipefail", "-c", script, "layer", layers.tool, path, tree]);
  }
  for (const prefix of [".", ...[1, 2, 3, 4].map((copy) => `./copies/${copy}`)]) {
    const file = join(directory, `layer-${made.length}`);
    const digests = await run("bash", ["-euo", "pipefail", "-c", MAKE_LAYER, "layer", tree, prefix, file]);
    const [diffId = "", digest = ""] = digests.trim().split("\n").map((hex) => `sha256:${hex}`);
    made.push({ content: { path: file }, digest, size: statSync(file).size, diffId, compression: "zstd" });
  }
  await run("rm", ["-rf", "--one-file-system", tree]);
  const layout = join(directory, "layout");
  writeLayout(layout, { large: { layers: made } });
  return layout;
}
