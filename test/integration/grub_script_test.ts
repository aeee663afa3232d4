/** GRUB's own interpreter, in qemu, runs the scripts of `cos boot install`, and counts in its own way on a real filesystem. */
import assert from "node:assert/strict";
import { scratchDirectory } from "../lab/cleanup.ts";
import { BY_SERIAL, GRUB_NEEDS, SERIAL_MODULES, startGrub, writeGrubDisk } from "../lab/grub-in-qemu.ts";
import { run } from "../lab/run.ts";

const SOURCES = new URL("../../packaging/grub/", import.meta.url);
const EARLY = `${BY_SERIAL}search --no-floppy --label COS_STATE --set=root
set prefix=($root)/grub2
configfile ($root)/grub2/grub.cfg
`;
/** What the menus of this family do before and after they read the hook; then it says what it would boot. */
const MENU = `set default=cos
set fallback="0 1 2"
source ($root)/grubcustom
echo "ENTRY $default"
for word in $extra_active_cmdline; do echo "ACTIVE $word"; done
for word in $extra_passive_cmdline; do echo "PASSIVE $word"; done
for word in $extra_recovery_cmdline; do echo "RECOVERY $word"; done
reboot
`;
const MODULES = [
  ...SERIAL_MODULES,
  ..."ext2 squash4 xfs search search_label search_fs_file loopback probe normal test loadenv configfile true".split(
    " ",
  ),
];

interface GrubMachine {
  boot(): Promise<{ entry?: string; active?: string; passive?: string; recovery?: string; errors?: string[] }>;
  variables(): Promise<string>;
}

/**
 * Disks for GRUB, for the state partition and for the recovery partition. Nothing of it needs a loop device.
 * @param images in the slots, by slot the UUID of each. @param recovery makes the recovery system at that path; null: there is no
 * such partition.
 */
async function grubMachine(
  directory: string,
  set: string[],
  images: Record<string, string> = {},
  recovery: ((path: string) => Promise<unknown>) | null = () => Promise.resolve(),
): Promise<GrubMachine> {
  const path = (name: string) => `${directory}/${name}`;
  for (const place of ["state/grub2", "state/cOS", "recovery/cOS"]) Deno.mkdirSync(path(place), { recursive: true });
  for (const name of ["grub_boot_assessment", "grub_image_uuid"]) {
    Deno.copyFileSync(new URL(`${name}.cfg`, SOURCES), path(`state/${name}`));
  }
  const hooks = ["grubcustom", "grubcustom-image"].map((name) =>
    Deno.readTextFileSync(new URL(`${name}.cfg`, SOURCES))
  );
  Deno.writeTextFileSync(path("state/grubcustom"), hooks.join(""));
  for (const [name, uuid] of Object.entries(images)) {
    await extImage(path(`state/cOS/${name}.img`), uuid);
  }
  await recovery?.(path("recovery/cOS/recovery.img"));
  Deno.writeTextFileSync(path("state/grub2/grub.cfg"), MENU);
  await run("grub-editenv", [path("state/boot_assessment"), "create"]);
  await run("grub-editenv", [path("state/boot_assessment"), "set", "mine=1", ...set]);
  for (const name of ["state", "recovery"]) {
    const disk = path(`${name}.img`), label = `COS_${name.toUpperCase()}`;
    await run("truncate", ["-s", "32M", disk]);
    const options = ["-O", "^metadata_csum_seed,^orphan_file", "-L", label, "-d", path(name)];
    await run("mke2fs", ["-q", "-F", "-t", "ext4", ...options, disk]);
  }
  await writeGrubDisk(path("grub.img"), EARLY, MODULES);
  return {
    boot: async () => {
      const disks = ["grub", "state", ...recovery === null ? [] : ["recovery"]];
      const serial = await startGrub(disks.map((name) => path(`${name}.img`)));
      // A word a line: its terminal breaks lines of 80 columns.
      const said = (what: string) =>
        [...serial.matchAll(new RegExp(`${what} (\\S+)`, "g"))].map(([, w]) => w).join(" ");
      const ofRecovery = said("RECOVERY"), errors = serial.match(/error: .*/g) ?? [];
      return {
        ...{ entry: said("ENTRY"), active: said("ACTIVE"), passive: said("PASSIVE") },
        ...ofRecovery !== "" && { recovery: ofRecovery },
        ...errors.length > 0 && { errors },
      };
    },
    variables: async () => {
      const block = await run("debugfs", ["-R", "cat /boot_assessment", path("state.img")]);
      assert.equal(block.length, 1024);
      return block.replace(/^#.*$/gm, "").trim().split("\n").sort().join(" ");
    },
  };
}

async function extImage(path: string, uuid: string): Promise<void> {
  await run("truncate", ["-s", "1M", path]);
  await run("mke2fs", ["-q", "-F", "-t", "ext2", "-U", uuid, path]);
}

const REBOOT = "rd.emergency=reboot rd.shell=0 panic=5 systemd.crash_reboot";

Deno.test("GRUB itself counts three boots down, falls back, and rests there", GRUB_NEEDS, async () => {
  await using scratch = scratchDirectory("grub");
  const machine = await grubMachine(scratch.path, ["cos_tries=3"]);
  for (const left of [2, 1, 0]) {
    const active = `cos.tries_left=${left} ${REBOOT}`;
    assert.deepEqual(await machine.boot(), { entry: "cos", active, passive: "" });
    assert.equal(await machine.variables(), `cos_tries=${left} mine=1`);
  }
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await machine.boot(), { entry: "fallback", active: "", passive: "upgrade_failure" });
    assert.equal(await machine.variables(), "cos_tries=0 mine=1");
  }
});

Deno.test("GRUB itself counts nothing where nothing is armed, and an older tool's one try", GRUB_NEEDS, async () => {
  {
    await using scratch = scratchDirectory("grub");
    const machine = await grubMachine(scratch.path, []);
    assert.deepEqual(await machine.boot(), { entry: "cos", active: "", passive: "" });
    assert.equal(await machine.variables(), "mine=1");
  }
  await using scratch = scratchDirectory("grub");
  const machine = await grubMachine(scratch.path, ["enable_boot_assessment=yes"]);
  assert.deepEqual(await machine.boot(), { entry: "cos", active: REBOOT, passive: "" });
  assert.equal(await machine.variables(), "boot_assessment_tentative=yes enable_boot_assessment=yes mine=1");
  assert.deepEqual(await machine.boot(), { entry: "fallback", active: "", passive: "upgrade_failure" });
});

Deno.test("GRUB itself passes on which image each entry's kernel comes from", GRUB_NEEDS, async () => {
  const [one, two] = ["0b2d1c5e-9a34-4c41-8f0e-5d1f6a7b8c9d", "f3c1a2b4-0000-4abc-9def-0123456789ab"];
  {
    await using scratch = scratchDirectory("grub");
    const machine = await grubMachine(scratch.path, ["cos_tries=3"], { active: one, passive: two });
    const active = `cos.tries_left=2 ${REBOOT} cos.image_uuid=${one}`;
    assert.deepEqual(await machine.boot(), { entry: "cos", active, passive: `cos.image_uuid=${two}` });
  }
  await using scratch = scratchDirectory("grub");
  // Without an active image, and without a recovery partition: GRUB says so, and does not wait for a key.
  const machine = await grubMachine(scratch.path, [], { passive: two }, null);
  const errors = ["error: no such device: COS_RECOVERY."];
  assert.deepEqual(await machine.boot(), { entry: "cos", active: "", passive: `cos.image_uuid=${two}`, errors });
});

Deno.test(
  "GRUB itself passes on which image the recovery system's kernel comes from, if it is no squashfs",
  GRUB_NEEDS,
  async () => {
    const uuid = "5a0c3f2e-1111-4abc-8def-0123456789ab";
    {
      await using scratch = scratchDirectory("grub");
      const machine = await grubMachine(scratch.path, [], {}, (path) => extImage(path, uuid));
      assert.deepEqual(await machine.boot(), {
        entry: "cos",
        active: "",
        passive: "",
        recovery: `cos.image_uuid=${uuid}`,
      });
    }
    await using scratch = scratchDirectory("grub");
    const machine = await grubMachine(scratch.path, [], {}, async (path) => {
      await run("mksquashfs", [`${scratch.path}/state`, path, "-no-progress"]);
    });
    assert.deepEqual(await machine.boot(), { entry: "cos", active: "", passive: "" });
  },
);
