/** `cos boot …` in the table of commands. */
import { buildCommand, buildRouteMap } from "@stricli/core";
import type { CommonFlags, CosContext } from "./context.ts";
import type { GoodFlags, InstallFlags, RootFlags } from "./boot.ts";
import { commonFlags, seconds, word } from "./flags.ts";

const good = buildCommand<GoodFlags, [], CosContext>({
  loader: async () => (await import("./boot.ts")).runGood,
  parameters: {
    flags: {
      checks: word(
        "Run the operator's checks first: the executables in /etc/cos/checks.d, in the order of their names",
      ),
      checkTimeout: {
        kind: "parsed",
        parse: seconds,
        optional: true,
        placeholder: "SECONDS",
        brief: "Time that each check may take (60)",
      },
      ...commonFlags,
    },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "Say that the running system runs well: GRUB stops counting its boots",
    fullDescription:
      "Acts only if the system that was booted is still the active one. cos-boot-good.service calls it after each counted boot.\n" +
      "On the fallback it remembers that the active system failed. Twice in a row changes nothing.",
  },
});

const bootStatus = buildCommand<CommonFlags, [], CosContext>({
  loader: async () => (await import("./boot.ts")).runBootStatus,
  parameters: { flags: commonFlags, positional: { kind: "tuple", parameters: [] } },
  docs: {
    brief: "Show whether GRUB counts boots, what it would start next, and what failed",
    fullDescription: "Changes nothing.",
  },
});

const retry = buildCommand<CommonFlags, [], CosContext>({
  loader: async () => (await import("./boot.ts")).runRetry,
  parameters: { flags: commonFlags, positional: { kind: "tuple", parameters: [] } },
  docs: {
    brief: "Put the active system on trial again, after it failed and the passive one took its place",
    fullDescription: "GRUB tries it three times from the next boot on. Nothing is downloaded.",
  },
});

const install = buildCommand<InstallFlags, [], CosContext>({
  loader: async () => (await import("./boot.ts")).runInstall,
  parameters: {
    flags: {
      remove: word("Take away what this command wrote, and put back what it replaced"),
      image: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "DIR",
        brief: "While an image is built: write units and initramfs modules into its tree instead of GRUB's parts",
      },
      ...commonFlags,
    },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "Let GRUB count boots on this machine: writes its parts to the state partition and checks them",
    fullDescription:
      "Adds hooks to /grubcustom, and writes /grub_boot_assessment, /grub_image_uuid and /boot_assessment, all on the state partition.\n" +
      "What others wrote there is kept, and grub.cfg is not touched. Twice in a row changes nothing.\n\n" +
      "An image gets its own part while it is built, before its initramfs is made:\n\n" +
      "  cos boot install --image / && update-initramfs -u",
  },
});

const root = buildCommand<RootFlags, [], CosContext>({
  loader: async () => (await import("./boot.ts")).runRoot,
  parameters: {
    flags: {
      target: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "DIR",
        brief: "Where to mount it (/sysroot)",
      },
      wait: {
        kind: "parsed",
        parse: seconds,
        optional: true,
        placeholder: "SECONDS",
        brief: "How long to wait for its disk (60)",
      },
      json: commonFlags.json,
      debug: commonFlags.debug,
    },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "In an initramfs: mount the image that the kernel came from as the root",
    fullDescription:
      "Finds the state partition, mounts it read-only on /run/initramfs/cos-state, and mounts the image whose UUID GRUB has passed on\n" +
      "(cos.image_uuid=), else the one that the entry names (cos-img/filename=); where that one is broken, the other. Mends what a power\n" +
      "cut has left. In a boot that GRUB counts it starts a watchdog, which cos boot good stops; cos.watchdog=SECONDS sets its time (600).",
  },
});

export const boot = buildRouteMap({
  routes: { good, status: bootStatus, retry, install, root },
  docs: { brief: "Boot counting and fallback" },
});
