/** The table of commands: help, usage and completions come from here, and each command's code is loaded when it is called. */
import { buildApplication, buildCommand, buildRouteMap } from "@stricli/core";
import type { CommonFlags, CosContext } from "./context.ts";
import { boot } from "./boot-routes.ts";
import { commonFlags, imageArgument, type ImageFlags, imageFlags, span, systems, word } from "./flags.ts";
import type { ResetFlags } from "./reset.ts";
import type { ConfigFlags } from "./config.ts";
import type { RebootFlags } from "./reboot.ts";
import type { LinkFlags } from "./install-links.ts";
import { policy } from "./policy-routes.ts";
import type { SucFlags } from "./suc-upgrade.ts";
import type { PinFlags } from "./pin.ts";
import type { RollbackFlags } from "./rollback.ts";
import type { SwitchFlags } from "./switch.ts";
import type { VerifyFlags } from "./verify.ts";
import type { UpgradeFlags } from "./upgrade.ts";

const deploy = buildCommand<ImageFlags, [string], CosContext>({
  loader: async () => (await import("./deploy.ts")).runDeploy,
  parameters: { flags: imageFlags, positional: { kind: "tuple", parameters: [imageArgument] } },
  docs: {
    brief: "Put the first system on an empty state partition",
    fullDescription:
      "Pulls IMAGE and writes it to cOS/active.img; cOS/passive.img is a second name of the same image until the first upgrade.\n" +
      "Refuses where a system is there already.\n\n" +
      "  cos deploy registry.example.org/os/base:v1 --state /dev/sda3 --no-verify",
  },
});

const upgrade = buildCommand<UpgradeFlags, [string?], CosContext>({
  loader: async () => (await import("./upgrade.ts")).runUpgrade,
  parameters: {
    flags: {
      keep: {
        kind: "parsed",
        parse: systems,
        optional: true,
        placeholder: "N",
        brief: "Systems that stay in all (2); those that ran well are kept for cos switch, the newest first",
      },
      recovery: word("Upgrade the recovery system instead, in the form that is there (an image or a squashfs)"),
      dryRun: word("Print what would be done, and do nothing"),
      acceptRunning: word("The running system is still on trial, and it is good (as cos boot good says it)"),
      try: word("Give it one boot instead of three to say that it is good; refused where GRUB cannot count"),
      allowDowngrade: word("Install an image that is older than what ran well here; that is recorded"),
      retryBad: word("Install an image that was tried on this machine before and fell back"),
      reboot: word("Reboot when it is done, unless the machine runs that system already"),
      poweroff: word("Power off when it is done, unless the machine runs that system already"),
      spread: {
        kind: "parsed",
        parse: span,
        optional: true,
        placeholder: "TIME",
        brief: "Wait first, for this machine's share of TIME (90s, 30m, 2h): a fleet then does not ask all at once",
      },
      ...imageFlags,
    },
    positional: { kind: "tuple", parameters: [{ ...imageArgument, optional: true }] },
  },
  docs: {
    brief: "Make IMAGE the next system, and keep this one as the fallback",
    fullDescription:
      "Pulls IMAGE, proves its digests, writes it to a third image, reads it back, and only then switches: in one step it becomes the\n" +
      "active system, and the system that runs now becomes the passive one. The running system is never touched. Until the switch\n" +
      "everything can be stopped and is undone; afterwards a reboot starts the new system. Downloads about what the image's layers weigh.\n" +
      "Without IMAGE it is the one that the settings name (UPGRADE_IMAGE; cos config shows them).\n\n" +
      "  cos upgrade registry.example.org/os/base:v2 --no-verify\n" +
      "  cos upgrade registry.example.org/os/base:v2 --dry-run --no-verify",
  },
});

const retryBadSystem = word("Switch to a system that was tried on this machine before and fell back");

const switchCommand = buildCommand<SwitchFlags, [string], CosContext>({
  loader: async () => (await import("./switch.ts")).runSwitch,
  parameters: {
    flags: {
      acceptRunning: word("The running system is still on trial, and it is good (as cos boot good says it)"),
      retryBad: retryBadSystem,
      ...commonFlags,
    },
    positional: {
      kind: "tuple",
      parameters: [{
        parse: String,
        placeholder: "SYSTEM",
        brief: "passive, or a kept system's version, or how its UUID or digest begins (see cos status)",
      }],
    },
  },
  docs: {
    brief: "Make a system that is here already the active one: the passive one, or one that was kept",
    fullDescription:
      "Nothing is downloaded. The running system becomes the passive one; what was passive is kept in the place of the one that is chosen.\n" +
      "cos upgrade --keep N keeps systems.",
  },
});

const reset = buildCommand<ResetFlags, [string?], CosContext>({
  loader: async () => (await import("./reset.ts")).runReset,
  parameters: {
    flags: {
      resetPersistent: word("Empty the partition of persistent data (COS_PERSISTENT) as well"),
      resetOem: word("Empty the partition of cloud-config (COS_OEM) as well"),
      ...imageFlags,
    },
    positional: { kind: "tuple", parameters: [{ ...imageArgument, optional: true }] },
  },
  docs: {
    brief: "From a recovery system: make both slots the recovery system, or IMAGE",
    fullDescription:
      "Writes the recovery system (or IMAGE) as the new active system beside the old ones, checks it, and only then lets it take both names.\n" +
      "At every instant something boots. Refused where the machine runs from one of the slots.",
  },
});

const pin = buildCommand<PinFlags, [string], CosContext>({
  loader: async () => (await import("./pin.ts")).runPin,
  parameters: {
    flags: { remove: word("It need not stay any longer"), ...commonFlags },
    positional: {
      kind: "tuple",
      parameters: [{
        parse: String,
        placeholder: "SYSTEM",
        brief: "active, passive, or a system's version, or how its UUID or digest begins (see cos status)",
      }],
    },
  },
  docs: {
    brief: "Keep a system for good",
    fullDescription:
      "Whatever upgrades, rollbacks and resets put in its place, cos switch can go to it. It takes its space on the state partition, and\n" +
      "is not counted among those that --keep keeps.",
  },
});

const rollback = buildCommand<RollbackFlags, [], CosContext>({
  loader: async () => (await import("./rollback.ts")).runRollback,
  parameters: {
    flags: { retryBad: retryBadSystem, ...commonFlags },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "Make the passive system the active one again",
    fullDescription:
      "Switches the two slots; nothing is downloaded, and it takes less than a second. A reboot starts the other system.",
  },
});

const status = buildCommand<CommonFlags, [], CosContext>({
  loader: async () => (await import("./status.ts")).runStatus,
  parameters: { flags: commonFlags, positional: { kind: "tuple", parameters: [] } },
  docs: {
    brief: "Show both systems: version, origin, proof, and what boots next",
    fullDescription: "The running system is marked with *. Changes nothing.",
  },
});

const repair = buildCommand<CommonFlags, [], CosContext>({
  loader: async () => (await import("./repair.ts")).runRepair,
  parameters: { flags: commonFlags, positional: { kind: "tuple", parameters: [] } },
  docs: {
    brief: "Mend what an earlier run left unfinished",
    fullDescription:
      "Every command that changes anything does this first; alone it is for the careful. Twice in a row changes nothing.",
  },
});

const verify = buildCommand<VerifyFlags, [string?], CosContext>({
  loader: async () => (await import("./verify.ts")).runVerify,
  parameters: {
    flags: {
      slot: {
        kind: "enum",
        values: ["active", "passive"],
        optional: true,
        brief: "Compare this installed system, file by file, with the image that it was installed from",
      },
      ...imageFlags,
    },
    positional: { kind: "tuple", parameters: [{ ...imageArgument, optional: true }] },
  },
  docs: {
    brief: "Verify the signature of IMAGE, or an installed system against its image",
    fullDescription:
      "Without --slot: whether somebody whom the policy trusts has signed IMAGE; ends with 0 if so, 31 if not.\n" +
      "With --slot: pulls the image once more into a third one and compares both, contents, owners, modes, times and attributes; it takes\n" +
      "the time and space of an upgrade and changes neither system. Ends with 0 if they are the same, 34 if not.\n\n" +
      "  cos verify registry.example.org/os/base:v2\n" +
      "  cos verify --slot active",
  },
});

const config = buildCommand<ConfigFlags, [], CosContext>({
  loader: async () => (await import("./config.ts")).runConfig,
  parameters: {
    flags: { json: commonFlags.json, debug: commonFlags.debug },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "Show the settings that are in effect, and where each comes from",
    fullDescription:
      "From the files and variables of the older tools, each stronger than those before: /etc/environment, /etc/os-release,\n" +
      "/etc/cos/config, /etc/cos-upgrade-image, /etc/elemental/config.yaml, /etc/elemental/config.d/*.yaml, the environment. A\n" +
      "command's own flags are stronger than all. Changes nothing.",
  },
});

const reboot = buildCommand<RebootFlags, [], CosContext>({
  loader: async () => (await import("./reboot.ts")).runReboot,
  parameters: {
    flags: {
      into: { kind: "enum", values: ["active", "passive", "recovery"], brief: "The system of the next boot alone" },
      ...commonFlags,
    },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "Reboot into another system, once",
    fullDescription:
      "Tells GRUB which entry to start next (next_entry in /grubenv, on COS_OEM or where it lies), and reboots. The boot after that is\n" +
      "as before. Such a boot is not counted.",
  },
});

const installLinks = buildCommand<LinkFlags, [string], CosContext>({
  loader: async () => (await import("./install-links.ts")).runInstallLinks,
  parameters: {
    flags: {
      remove: word("Take away the links that lead to this file"),
      elemental: word(
        "Make one named elemental, too, which runs its upgrade and its reset, and no stages of cloud-config",
      ),
      json: commonFlags.json,
      debug: commonFlags.debug,
    },
    positional: {
      kind: "tuple",
      parameters: [{ parse: String, placeholder: "DIR", brief: "Where programs are looked for, like /usr/sbin" }],
    },
  },
  docs: {
    brief: "Link the older tools' names to this file: cos-upgrade, cos-rollback, …",
    fullDescription:
      "Called by such a name it reads that tool's words, files and variables (docs/compatibility.md). What is not ours is not\n" +
      "overwritten: then nothing is changed.",
  },
});

const sucUpgrade = buildCommand<SucFlags, [], CosContext>({
  loader: async () => (await import("./suc-upgrade.ts")).runSucUpgrade,
  parameters: {
    flags: { verbose: imageFlags.verbose, debug: commonFlags.debug },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "In a pod of system-upgrade-controller: make the node's host what the Plan says",
    fullDescription:
      "Installs UPGRADE_IMAGE on the host that is mounted at /host (HOST_DIR), else this pod's own image, else its files. Also called as suc-upgrade.\n" +
      "Ends with 0 once the host runs it; before that it reboots the host and ends with 1, and the next pod finds it done.\n" +
      "FORCE=true allows what is older. Plans, and the rest of the environment: docs/kubernetes.md.",
  },
});

export const application = buildApplication(
  buildRouteMap({
    routes: {
      deploy,
      upgrade,
      rollback,
      switch: switchCommand,
      pin,
      reset,
      status,
      repair,
      verify,
      boot,
      policy,
      config,
      installLinks,
      reboot,
      sucUpgrade,
    },
    docs: {
      brief: "Upgrade, roll back and report on a Linux system whose root is a filesystem image",
    },
  }),
  {
    name: "cos",
    scanner: { caseStyle: "allow-kebab-for-camel", allowArgumentEscapeSequence: true },
    documentation: { disableAnsiColor: true },
  },
);
