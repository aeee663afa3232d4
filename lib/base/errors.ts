/** What can go wrong, as people and programs are told it. One class, a closed set of codes, one exit status each. */

/**
 * Every code, its exit status and its meaning. `docs/errors.md` is made from this table (`scripts/generate`).
 * The statuses are part of the interface: a code never changes its own.
 */
export const ERROR_CODES = {
  USAGE: { exit: 2, meaning: "the command line is wrong" },
  NOT_ROOT: { exit: 3, meaning: "the command changes the machine and was not run by root" },
  NOT_IMAGE_BASED: { exit: 4, meaning: "no state partition with system images was found here" },
  NEWER_GENERATION: { exit: 5, meaning: "the machine is of the newer, snapshot-based generation of these systems" },
  UNSUPPORTED_FILESYSTEM: { exit: 6, meaning: "the state partition is neither ext4 nor XFS nor btrfs" },
  AMBIGUOUS_STATE: { exit: 7, meaning: "more than one partition could be the state partition" },
  LOCKED: { exit: 8, meaning: "another run of cos is at work on the same state partition" },
  REBOOT_FIRST: { exit: 9, meaning: "the running image is no slot any more; only a reboot leads on" },
  INVALID_REFERENCE: { exit: 10, meaning: "what was given as the image cannot be read as one" },
  IMAGE_NOT_FOUND: { exit: 11, meaning: "the registry, layout or directory holds no such image" },
  REGISTRY_UNREACHABLE: { exit: 12, meaning: "no connection to the registry, or it broke off" },
  UNAUTHORIZED: { exit: 13, meaning: "the registry does not let us read the image" },
  REGISTRY_ERROR: { exit: 14, meaning: "the registry answered with an error, or not as the protocol says" },
  DIGEST_MISMATCH: { exit: 15, meaning: "bytes are not those that their digest names" },
  UNSUPPORTED_IMAGE: { exit: 16, meaning: "the manifest is malformed, or no system image for this machine" },
  BROKEN_LAYER: { exit: 17, meaning: "a layer cannot be decompressed or unpacked, or holds what no layer may" },
  UNVERIFIED: { exit: 18, meaning: "nothing proves where the image comes from, and nobody waived the proof" },
  INCOMPLETE_SYSTEM: { exit: 19, meaning: "the image lacks the kernel, initrd or boot arguments: it could not boot" },
  NO_SPACE: { exit: 20, meaning: "the state partition or the image is too small" },
  TOOL_MISSING: { exit: 21, meaning: "a program that the job needs is not installed" },
  TOOL_FAILED: { exit: 22, meaning: "a program that the job needs ended with an error" },
  IMAGE_DAMAGED: { exit: 23, meaning: "the image that was written does not read back as it was written" },
  NO_FALLBACK: { exit: 24, meaning: "there is no other system to roll back to" },
  ALREADY_DEPLOYED: { exit: 25, meaning: "the state partition already holds a system" },
  SYSTEM_CALL: { exit: 27, meaning: "the kernel refused a call that the job needs" },
  CONFIGURATION: { exit: 28, meaning: "a file or a variable that configures cos cannot be used" },
  BLOCKED: { exit: 29, meaning: "the configuration of this machine forbids the registry" },
  BROKEN_ARCHIVE: { exit: 30, meaning: "a file is no archive of images, or is damaged or cut off" },
  UNTRUSTED: { exit: 31, meaning: "the policy of this machine refuses the image" },
  CLOCK: {
    exit: 32,
    meaning:
      "the clock is earlier than this program, or than what was verified before: nothing that has an end can be verified",
  },
  DOWNGRADE: { exit: 33, meaning: "the image is older than what ran well here" },
  DIFFERENT: { exit: 34, meaning: "an installed system is not what its image holds" },
  HOOK_FAILED: { exit: 35, meaning: "a hook failed, and hooks must succeed (--strict)" },
  NOT_IN_RECOVERY: { exit: 36, meaning: "this is done from a recovery system or a live CD only" },
  IN_RECOVERY: { exit: 37, meaning: "this is not done from the recovery system itself" },
  KNOWN_BAD: { exit: 40, meaning: "the image was tried on this machine and fell back" },
  ON_TRIAL: { exit: 41, meaning: "the running system is still on trial, and would be lost as a fallback" },
  CHECK_FAILED: { exit: 42, meaning: "the operator's checks say that the running system is not well" },
  NOT_COUNTING: { exit: 43, meaning: "GRUB cannot count boots on this machine, or there is nothing to count" },
  INTERNAL: { exit: 70, meaning: "a fault in cos itself" },
  INTERRUPTED: { exit: 130, meaning: "stopped by a signal before the switch; everything was undone" },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorOptions {
  /** One sentence that says what to do now. */
  hint: string;
  cause?: unknown;
  /** Figures and names for `--json`; never needed to understand the message. */
  details?: Record<string, string | number>;
}

/** The one error that leaves an operation. The message says what happened to what; the hint says what to do. */
export class CosError extends Error {
  override readonly name = "CosError";
  readonly hint: string;
  readonly details: Record<string, string | number>;

  constructor(readonly code: ErrorCode, message: string, options: ErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hint = options.hint;
    this.details = options.details ?? {};
  }

  get exitStatus(): number {
    return ERROR_CODES[this.code].exit;
  }
}

/** A call that the kernel refused. Callers that know what it means for the operator make a `CosError` of it. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  /** @param errno the name, like `ENOENT`. @param subject what the call was applied to, as people read it. */
  constructor(readonly errno: string, readonly call: string, readonly subject: string) {
    super(`${call}(${subject}) failed: ${errno}`);
  }
}

/** What was thrown, in words: a part of a sentence of ours, which has a full stop of its own. */
export function messageOf(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return text.replace(/\.$/, "");
}

/** Makes a `CosError` of anything thrown, so that nobody ever reads a bare stack trace without asking for it. */
export function asCosError(thrown: unknown): CosError {
  if (thrown instanceof CosError) return thrown;
  if (thrown instanceof SystemCallError) {
    return new CosError("SYSTEM_CALL", `The kernel refused ${thrown.call}(${thrown.subject}): ${thrown.errno}.`, {
      hint:
        "Look at the kernel's log (dmesg) for errors of the disk; run it again with --debug to see what it was for.",
      cause: thrown,
    });
  }
  const text = messageOf(thrown);
  return new CosError("INTERNAL", `Unexpected fault: ${text}.`, {
    hint: "Run it again with --debug and report what it prints.",
    cause: thrown,
  });
}
