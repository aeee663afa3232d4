/** Real kernels for the images of the lab: Debian's packages, unpacked in the cache of this checkout, not installed. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { disposable } from "./cleanup.ts";
import { run } from "./run.ts";

export interface Kernel {
  /** As `uname -r` says it. */
  version: string;
  vmlinuz: string;
  /** The directory of its modules, `…/lib/modules/VERSION`. */
  modules: string;
}

/** Where the lab keeps what is slow to get; not part of the checkout's history. */
export const CACHE = join(import.meta.dirname ?? ".", "..", "..", ".cache", "lab");

const KERNELS = join(CACHE, "kernels");

/** Two kernels of different versions, the older one first. Gets them from Debian when the cache does not hold them. */
export async function twoKernels(): Promise<[Kernel, Kernel]> {
  let kernels = cachedKernels();
  if (kernels.length < 2) {
    for (const name of await newestPackages()) await fetchKernel(name);
    kernels = cachedKernels();
  }
  const [older, newer] = kernels.slice(-2);
  if (older === undefined || newer === undefined) throw new Error("Cannot get two kernels from Debian's repository");
  return [older, newer];
}

function cachedKernels(): Kernel[] {
  if (!existsSync(KERNELS)) return [];
  return readdirSync(KERNELS)
    .filter((name) => name.startsWith("linux-image-"))
    .map((name) => ({ name, version: name.slice("linux-image-".length) }))
    .sort((a, b) => a.version.localeCompare(b.version, "en", { numeric: true }))
    .map(({ name, version }) => ({
      version,
      vmlinuz: join(KERNELS, name, "boot", `vmlinuz-${version}`),
      modules: join(KERNELS, name, "lib", "modules", version),
    }));
}

/** Names of the two newest cloud kernels; where only one is served, the generic one is the other. */
async function newestPackages(): Promise<string[]> {
  const search = async (flavour: string) =>
    (await run("apt-cache", ["search", "--names-only", `^linux-image-[0-9.]+-[0-9]+-${flavour}$`]))
      .split("\n").map((line) => line.split(" ")[0] ?? "").filter((name) => name !== "")
      .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if ((await search("cloud-amd64")).length === 0) await run("apt-get", ["update", "-qq"]);
  const cloud = (await search("cloud-amd64")).slice(-2);
  return cloud.length === 2 ? cloud : [...cloud, ...(await search("amd64")).slice(-1)];
}

async function fetchKernel(name: string): Promise<void> {
  const place = join(KERNELS, name);
  if (existsSync(place)) return;
  console.error(`getting ${name} from Debian`);
  mkdirSync(KERNELS, { recursive: true });
  const temporary = mkdtempSync(join(CACHE, "unpacking-"));
  await using _removed = disposable(() => rmSync(temporary, { recursive: true, force: true }));
  // The sandbox user cannot write into a checkout that belongs to root alone.
  await run("apt-get", ["download", "-qq", "-o", "APT::Sandbox::User=root", name], { cwd: temporary });
  const packages = readdirSync(temporary);
  await run("dpkg", ["-x", join(temporary, packages[0] ?? ""), join(temporary, "tree")]);
  try {
    renameSync(join(temporary, "tree"), place);
  } catch (error) {
    // Another run has put it there meanwhile.
    if (!existsSync(place)) throw error;
  }
}
