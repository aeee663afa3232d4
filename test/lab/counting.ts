/** Lab machines whose GRUB counts boots, and a stand-in for that GRUB: the script that `cos boot install` writes, run by a shell. */
import { join } from "node:path";
import { MOUNT_POINTS } from "./booted.ts";
import { scratchDirectory } from "./cleanup.ts";
import { mount } from "./disk.ts";
import { run } from "./run.ts";
import * as t from "./tar-writer.ts";

const UNITS = "usr/lib/systemd/system";

/** Entries of a system that marks itself good: our unit, enabled. */
export function markingUnit(): t.TarItem[] {
  const unit = Deno.readTextFileSync(new URL("../../packaging/systemd/cos-boot-good.service", import.meta.url));
  return [
    ...[
      "usr/lib",
      "usr/lib/systemd",
      UNITS,
      "etc/systemd",
      "etc/systemd/system",
      "etc/systemd/system/multi-user.target.wants",
    ]
      .map((path) => t.directory(path)),
    t.file(`${UNITS}/cos-boot-good.service`, unit),
    t.symlink("etc/systemd/system/multi-user.target.wants/cos-boot-good.service", `/${UNITS}/cos-boot-good.service`),
  ];
}

export function mountPoints(): t.TarItem[] {
  return MOUNT_POINTS.map((name) => t.directory(name));
}

/** What a menu has decided before it reads the hook. */
export interface Menu {
  default?: string;
  selectedEntry?: string;
  /** `save_env` fails. */
  unwritable?: boolean;
}

export interface Chosen {
  entry: string;
  active: string;
  passive: string;
}

/** GRUB's commands for a shell: a device is a directory named `(hd0)`, and variables of a block are written by grub-editenv. */
const COMMANDS = `
search() {
  for word in "$@"; do case $word in --set=*) name=\${word#--set=};; esac; last=$word; done
  case " $* " in
    *" --label "*) [ "$last" = COS_STATE ] && eval "$name=hd0";;
    *) [ -e "(hd0)$last" ] && eval "$name=hd0";;
  esac
  return 0
}
load_env() {
  file=$2; shift 2
  for name in "$@"; do
    line=$(grub-editenv "$file" list | grep "^$name=" | tail -n 1)
    [ -z "$line" ] || eval "$name=\\"\${line#*=}\\""
  done
}
save_env() {
  [ -z "$UNWRITABLE" ] || return 1
  file=$2; shift 2
  for name in "$@"; do eval "value=\\"\\$$name\\""; grub-editenv "$file" set "$name=$value"; done
}
source() { . "./$1"; }
`;

/** Lets the scripts on the state partition choose as GRUB would, and change the counter as it would. */
export async function chooseEntry(state: string, menu: Menu = {}): Promise<Chosen> {
  await using mounted = await mount(state, "rw");
  await using work = scratchDirectory("grub");
  await translate(mounted.path, work.path);
  const script = `${COMMANDS}
default="$1" selected_entry="$2" UNWRITABLE="$3" extra_active_cmdline=A extra_passive_cmdline=P
source "(hd0)/grubcustom"
printf '%s\\n%s\\n%s\\n' "$default" "$extra_active_cmdline" "$extra_passive_cmdline"
`;
  const args = [menu.default ?? "cos", menu.selectedEntry ?? "", menu.unwritable === true ? "1" : ""];
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-euc", `set +u; ${script}`, "sh", ...args],
    cwd: work.path,
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  const [entry = "", active = "", passive = ""] = new TextDecoder().decode(stdout).split("\n");
  // GRUB writes in place; grub-editenv makes a file of the same bytes.
  await run("cp", [join(work.path, "(hd0)/boot_assessment"), join(mounted.path, "boot_assessment")]);
  return { entry, active, passive };
}

/** GRUB's language but for `set`, which a shell needs not. */
async function translate(from: string, path: string): Promise<void> {
  const device = join(path, "(hd0)");
  Deno.mkdirSync(device);
  for (const name of ["grubcustom", "grub_boot_assessment"]) {
    const text = await Deno.readTextFile(join(from, name));
    Deno.writeTextFileSync(join(device, name), text.replace(/^(\s*)set (\w+=)/gm, "$1$2"));
  }
  Deno.copyFileSync(join(from, "boot_assessment"), join(device, "boot_assessment"));
}

/** The variables on the state partition, as grub-editenv lists them. */
export async function variables(state: string): Promise<Record<string, string>> {
  await using mounted = await mount(state);
  const listed = await run("grub-editenv", [join(mounted.path, "boot_assessment"), "list"]);
  return Object.fromEntries(
    listed.split("\n").filter((line) => line !== "").map((line) => line.split("=") as [string, string]),
  );
}

/** Changes them. @param words of grub-editenv, behind the file's name: `set a=1`, `unset a`. */
export async function editVariables(state: string, ...words: string[]): Promise<void> {
  await using mounted = await mount(state, "rw");
  await run("grub-editenv", [join(mounted.path, "boot_assessment"), ...words]);
}
