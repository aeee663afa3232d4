/** GRUB on a lab disk as installers of the family put it there: for BIOS and for UEFI, with one menu on the state partition. */
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchDirectory } from "../cleanup.ts";
import { mount, type OpenDisk } from "../disk.ts";
import { run } from "../run.ts";

/** Debian packages that installing it needs. */
export const GRUB_PACKAGES = ["dosfstools", "grub-common", "grub-efi-amd64-bin", "grub-pc-bin", "mtools"];

const MODULES = "/usr/lib/grub";
const BIOS = "i386-pc", EFI = "x86_64-efi";
/** What the core must hold to reach the others, which lie on the state partition. */
const CORE = ["part_gpt", "ext2", "search", "search_label", "normal"];

/** The menu is found by the partition's label, so that it is one for both kinds of firmware. */
const EARLY = `search --no-floppy --label --set=root COS_STATE
set prefix=($root)/grub2
`;

/** @param title behind the system's name. @param partition and @param label are names of labels. */
const entry = (
  { id, title, image, partition, label }: Record<"id" | "title" | "image" | "partition" | "label", string>,
) =>
  `menuentry "\${display_name}${title}" --id ${id} {
  search --no-floppy --label --set=root "\${${partition}_label}"
  set img=/cOS/${image}.img
  set label=\${${label}_label}
  echo "lab: entry ${id}"
  loopback ${image} "/$img"
  source (${image})/etc/cos/bootargs.cfg
  linux (${image})$kernel $kernelcmd \${extra_cmdline} \${extra_${image}_cmdline}
  initrd (${image})$initramfs
}
`;

/**
 * The menu, of the shape that the family's have (facts about it: docs/boot-safety.md): it finds everything by label, reads the
 * operator's variables, takes a one-shot entry once, and takes the rest out of the image. Everything goes over the serial line too.
 */
const MENU = `serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=0
set display_name="lab"
set state_label=COS_STATE
set active_label=COS_ACTIVE
set passive_label=COS_PASSIVE
set recovery_label=COS_RECOVERY
set system_label=COS_SYSTEM
set default=0

search --no-floppy --file --set=installed /grub_oem_env
if [ -n "\${installed}" ]; then load_env -f "(\${installed})/grub_oem_env"; fi
search --no-floppy --file --set=operator /grubenv
if [ -n "\${operator}" ]; then load_env -f "(\${operator})/grubenv"; fi
if [ -n "\${saved_entry}" ]; then set default="\${saved_entry}"; fi
if [ -n "\${next_entry}" ]; then
  set default="\${next_entry}"
  set selected_entry="\${next_entry}"
  set next_entry=
  save_env -f "(\${operator})/grubenv" next_entry
fi
set fallback="0 1 2"

${entry({ id: "cos", title: "", image: "active", partition: "state", label: "active" })}\
${entry({ id: "fallback", title: " (fallback)", image: "passive", partition: "state", label: "passive" })}\
${entry({ id: "recovery", title: " recovery", image: "recovery", partition: "recovery", label: "system" })}
search --no-floppy --file --set=more /grubmenu
if [ -n "\${more}" ]; then source "(\${more})/grubmenu"; fi
search --no-floppy --file --set=more /grubcustom
if [ -n "\${more}" ]; then source "(\${more})/grubcustom"; fi
`;

/** @param disk a bootable one. */
export async function installGrub({ device, partitions }: OpenDisk): Promise<void> {
  if (partitions.efi === undefined) throw new Error("Cannot install GRUB on a disk that is not bootable");
  await using scratch = scratchDirectory("grub");
  const early = join(scratch.path, "early.cfg");
  writeFileSync(early, EARLY);
  const core = (platform: string, output: string, more: string[]) =>
    run("grub-mkimage", ["-O", platform, "-o", output, "-p", "/grub2", "-c", early, ...CORE, ...more]);

  await using state = await mount(partitions.state, "rw");
  for (const platform of [BIOS, EFI]) copyModules(platform, join(state.path, "grub2", platform));
  writeFileSync(join(state.path, "grub2/grub.cfg"), MENU);
  writeFileSync(join(scratch.path, "device.map"), `(hd0) ${device}\n`);
  const bios = join(state.path, "grub2", BIOS);
  await core(BIOS, join(bios, "core.img"), ["biosdisk"]);
  await run(`${MODULES}/${BIOS}/grub-bios-setup`, ["-d", bios, "-m", join(scratch.path, "device.map"), device]);

  // This machine's kernel may not know FAT: the tools for it need none.
  const program = join(scratch.path, "BOOTX64.EFI");
  await core(EFI, program, []);
  await run("mmd", ["-i", partitions.efi, "::/EFI", "::/EFI/BOOT"]);
  await run("mcopy", ["-i", partitions.efi, program, "::/EFI/BOOT/BOOTX64.EFI"]);
}

function copyModules(platform: string, to: string): void {
  mkdirSync(to, { recursive: true });
  const from = join(MODULES, platform);
  for (const name of readdirSync(from)) {
    if (/\.(mod|lst|img)$/.test(name)) copyFileSync(join(from, name), join(to, name));
  }
}
