/**
 * Makes the generated pages of the manual from the tables that the program itself uses.
 *
 *   deno run -A scripts/generate.ts [--check]     --check: fail where a page is stale, write nothing
 */
import { type Application, type CommandContext, generateHelpTextForAllCommands } from "@stricli/core";
import { application } from "../cmd/application.ts";
import { ERROR_CODES } from "../lib/base/errors.ts";

const ROOT = new URL("../", import.meta.url);
const NOTE = "<!-- Made by scripts/generate.ts; do not edit. -->";

function errorsPage(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, { exit, meaning }]) => `| ${exit} | \`${code}\` | ${meaning} |`);
  return `# Errors and exit statuses

${NOTE}

An error is one sentence that says what happened to what, and a second that says what to do. With \`--json\` it is printed as
\`{"schemaVersion": 1, "error": {"code", "exitStatus", "message", "hint", "details"}}\`; programs should look at \`code\`.
\`--debug\` adds the causes. A code never changes its exit status; 0 is success, warnings included.

| status | code | meaning |
| --- | --- | --- |
${rows.join("\n")}
`;
}

function commandsPage(): string {
  // Help is made from the table alone: the context that commands run in plays no part.
  const table = application as unknown as Application<CommandContext>;
  const pages = generateHelpTextForAllCommands(table).map(([name, help]) =>
    `## ${name}\n\n\`\`\`\n${help.replace(/[ \t]+$/gm, "").trimEnd()}\n\`\`\`\n`
  );
  return `# Commands

${NOTE}

What \`cos COMMAND --help\` prints. \`cos --version\` names the version, the commit and Deno's version.

${pages.join("\n")}`;
}

/** A file of `packaging/` as a literal: one beside the program could not be read by the one static file. */
function literal(path: string): string {
  const text = Deno.readTextFileSync(new URL(`packaging/${path}`, ROOT));
  return `\`${text.replace(/[\\`]|\$\{/g, "\\$&")}\``;
}

function grubParts(): string {
  const part = (name: string) => literal(`grub/${name}.cfg`);
  return `// Made by scripts/generate.ts from packaging/grub; do not edit.

/** Added to \`/grubcustom\`, which the boot menus of this family read. */
export const GRUB_HOOK = ${part("grubcustom")};

/** \`/grub_boot_assessment\`. */
export const GRUB_SCRIPT = ${part("grub_boot_assessment")};

/** Added to \`/grubcustom\` as well. */
export const IMAGE_HOOK = ${part("grubcustom-image")};

/** \`/grub_image_uuid\`. */
export const IMAGE_SCRIPT = ${part("grub_image_uuid")};
`;
}

/** Where the files for images go: what makes an initramfs there, their source in `packaging/`, their place, and who may run them. */
const IMAGE_PARTS: [needs: "all" | "dracut" | "initramfs-tools", source: string, target: string, mode: number][] = [
  ["all", "systemd/cos-boot-good.service", "usr/lib/systemd/system/cos-boot-good.service", 0o644],
  ["all", "systemd/cos-boot-note.service", "usr/lib/systemd/system/cos-boot-note.service", 0o644],
  ["initramfs-tools", "initramfs-tools/hooks/cos", "etc/initramfs-tools/hooks/cos", 0o755],
  ["initramfs-tools", "initramfs-tools/scripts/cos", "etc/initramfs-tools/scripts/cos", 0o644],
  ["initramfs-tools", "initramfs-tools/scripts/init-top/cos", "etc/initramfs-tools/scripts/init-top/cos", 0o755],
  ["dracut", "dracut/50-cos.conf", "usr/lib/dracut/dracut.conf.d/50-cos.conf", 0o644],
  ...[...Deno.readDirSync(new URL("packaging/dracut/90cos", ROOT))].map(({ name }) => name).sort().map((
    name,
  ): [needs: "dracut", source: string, target: string, mode: number] => [
    "dracut",
    `dracut/90cos/${name}`,
    `usr/lib/dracut/modules.d/90cos/${name}`,
    name.endsWith(".sh") ? 0o755 : 0o644,
  ]),
];

function imageParts(): string {
  const parts = IMAGE_PARTS.map(([needs, source, target, mode]) =>
    `  {\n    needs: "${needs}",\n    path: "${target}",\n    mode: 0o${mode.toString(8)},\n    text: ${
      literal(source)
    },\n  },`
  );
  return `// Made by scripts/generate.ts from packaging; do not edit.

export interface ImagePart {
  /** What must be in the image for it to be of use. */
  needs: "all" | "dracut" | "initramfs-tools";
  /** Within the image. */
  path: string;
  mode: number;
  text: string;
}

export const IMAGE_PARTS: readonly ImagePart[] = [
${parts.join("\n")}
];
`;
}

export function generatedPages(): Record<string, string> {
  return {
    "docs/errors.md": errorsPage(),
    "docs/commands.md": commandsPage(),
    "lib/boot/grub-parts.ts": grubParts(),
    "lib/boot/image-parts.ts": imageParts(),
  };
}

if (import.meta.main) {
  let stale = 0;
  for (const [path, text] of Object.entries(generatedPages())) {
    const url = new URL(path, ROOT);
    if (!Deno.args.includes("--check")) Deno.writeTextFileSync(url, text);
    else if (Deno.readTextFileSync(url) !== text) {
      console.error(`${path} is stale: run deno run -A scripts/generate.ts`);
      stale++;
    }
  }
  Deno.exit(stale > 0 ? 1 : 0);
}
