/** Exit statuses as scripts around the older tools know them. */
import type { CosError, ErrorCode } from "../../lib/base/errors.ts";

/** Of the first generation: a handled error, and wrong usage. */
export const OLDER_FAILURE = 1;
/** Of the second: the upgrade is done, and tidying up behind it failed. */
export const CLEANUP_FAILED = 41;
export const RESTART_FAILED = { reboot: 42, poweroff: 43 } as const;

const SOURCE = 18, CONFIG = 31, FLAGS = 32, SPEC = 33, MOUNT_STATE = 34, NOT_ROOT = 58, IMAGE = 76, OTHER = 255;

/** elemental-cli's pkg/error/exit-codes.go, as far as `cos` knows a reason of that kind. */
const NEWER: Record<ErrorCode, number> = {
  USAGE: FLAGS,
  NOT_ROOT,
  NOT_IMAGE_BASED: SPEC,
  NEWER_GENERATION: SPEC,
  UNSUPPORTED_FILESYSTEM: MOUNT_STATE,
  AMBIGUOUS_STATE: SPEC,
  LOCKED: OTHER,
  REBOOT_FIRST: OTHER,
  INVALID_REFERENCE: SPEC,
  IMAGE_NOT_FOUND: SOURCE,
  REGISTRY_UNREACHABLE: SOURCE,
  UNAUTHORIZED: SOURCE,
  REGISTRY_ERROR: SOURCE,
  DIGEST_MISMATCH: SOURCE,
  UNSUPPORTED_IMAGE: SOURCE,
  BROKEN_LAYER: SOURCE,
  UNVERIFIED: SOURCE,
  INCOMPLETE_SYSTEM: SOURCE,
  NO_SPACE: IMAGE,
  TOOL_MISSING: IMAGE,
  TOOL_FAILED: IMAGE,
  IMAGE_DAMAGED: IMAGE,
  NO_FALLBACK: SPEC,
  ALREADY_DEPLOYED: SPEC,
  SYSTEM_CALL: OTHER,
  CONFIGURATION: CONFIG,
  BLOCKED: SOURCE,
  BROKEN_ARCHIVE: SOURCE,
  UNTRUSTED: SOURCE,
  CLOCK: SOURCE,
  DOWNGRADE: SOURCE,
  DIFFERENT: OTHER,
  HOOK_FAILED: OTHER,
  NOT_IN_RECOVERY: SPEC,
  IN_RECOVERY: SPEC,
  KNOWN_BAD: SOURCE,
  ON_TRIAL: OTHER,
  CHECK_FAILED: OTHER,
  NOT_COUNTING: OTHER,
  INTERNAL: OTHER,
  INTERRUPTED: 130,
};

const HOOKS: Record<string, number> = { before: 36, after: 38, chroot: 39, post: 72 };

export function newerStatus({ code, details }: CosError): number {
  if (code !== "HOOK_FAILED") return NEWER[code];
  const { stage } = details, [, before, chroot] = /^(before|after|post)-[a-z]+(?:-(chroot))?/.exec(String(stage)) ?? [];
  return HOOKS[chroot ?? before ?? ""] ?? OTHER;
}

export function olderStatus({ code }: CosError): number {
  return code === "INTERRUPTED" ? 130 : OLDER_FAILURE;
}
