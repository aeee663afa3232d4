/** The command lines of both older generations: what each word asks for. */
import assert from "node:assert/strict";
import { newerStatus, olderStatus } from "../../cmd/legacy/exit-status.ts";
import { LEGACY_NAMES, legacyName } from "../../cmd/legacy/names.ts";
import { isNewer, type NewerCommand, parseNewer, splitCommand } from "../../cmd/legacy/newer.ts";
import { OLDER, parseOlder } from "../../cmd/legacy/older.ts";
import { isUsage, type Parsed } from "../../cmd/legacy/request.ts";
import { CosError, ERROR_CODES, type ErrorCode } from "../../lib/base/errors.ts";

function told(parse: () => Parsed): string {
  try {
    const parsed = parse();
    if (isUsage(parsed)) return `usage of generation ${parsed.generation}`;
    const { statements, word, warnings, force, debug, quiet, elemental, logFile } = parsed;
    const said = statements.map(({ key, value }) => `${key}=${value}`);
    const more = Object.entries({ force, debug, quiet, elemental, logFile }).flatMap(([name, value]) =>
      value === undefined || value === false ? [] : [`${name}:${value}`]
    );
    const image = word === undefined ? [] : [`${word.kind}:${word.text}`];
    return [...said, ...image, ...more, ...warnings.map((text) => `! ${text.split(" has ")[0]}`)].join(" ");
  } catch (thrown) {
    if (thrown instanceof CosError) return thrown.message;
    throw thrown;
  }
}

const older = (tool: keyof typeof OLDER, line: string) =>
  told(() => parseOlder(tool, line.split(" ").filter((word) => word !== "")));
const newer = (line: string, command: NewerCommand = "upgrade") =>
  told(() => parseNewer("elemental", command, line.split(" ").filter((word) => word !== "")));

Deno.test("the first generation: flags are said or not, the first other word is the image and ends the reading", () => {
  const lines: [keyof typeof OLDER, string, string][] = [
    ["cos-upgrade", "", ""],
    ["cos-upgrade", "--docker-image r.example/os:v1", "--docker-image=true word:r.example/os:v1"],
    ["cos-upgrade", "--docker-image", "--docker-image=true"],
    [
      "cos-upgrade",
      "--no-verify --no-cosign --strict --recovery x/y:1",
      "--no-verify=true --no-cosign=true --strict=true --recovery=true word:x/y:1",
    ],
    ["cos-upgrade", "--directory --strict /tree", "--directory=true --strict=true directory:/tree"],
    ["cos-upgrade", "x/y:1 --strict", "word:x/y:1"],
    ["cos-upgrade", "x/y:1 a b", "Cannot run cos-upgrade: there are too many words."],
    ["cos-upgrade", "--directory", "Cannot run cos-upgrade: --directory is said, and no directory."],
    [
      "cos-upgrade",
      "--directory --docker-image x",
      "Cannot run cos-upgrade: --docker-image and --directory exclude each other.",
    ],
    ["cos-upgrade", "--strict --help", "usage of generation 1"],
    ["cos-upgrade", "--force x", 'Cannot run cos-upgrade: "--force" is not known.'],
    ["cos-deploy", "--force --no-verify x/y:1", "--no-verify=true word:x/y:1 force:true"],
    ["cos-deploy", "--recovery", 'Cannot run cos-deploy: "--recovery" is not known.'],
    ["cos-reset", "", ""],
    ["cos-reset", "x", 'Cannot run cos-reset: "x" is not known.'],
    ["cos-rebrand", "-h", "usage of generation 1"],
  ];
  for (const [tool, line, expected] of lines) assert.equal(older(tool, line), expected, `${tool} ${line}`);
});

Deno.test("the second generation: flags as pflag reads them, and no other word", () => {
  const lines: [string, string][] = [
    ["", ""],
    ["--system.uri oci:r.example/os", "uri:oci:r.example/os"],
    ["--system.uri=docker:r.example/os", "uri:docker:r.example/os"],
    ["-d r.example/os", "uri:r.example/os"],
    ["-dr.example/os", "uri:r.example/os"],
    ["-d=r.example/os", "uri:r.example/os"],
    ["--directory /tree --strict --reboot", "--strict=true --reboot=true directory:/tree"],
    ["--strict=false --poweroff=1", "--strict=false --poweroff=true"],
    ["--recovery --recovery-system.uri x/y:1", "--recovery=true --recovery-system.uri=x/y:1"],
    ["--cosign --cosign-key /k", "--cosign=true --cosign-key=/k"],
    ["--cosign=false", ""],
    ["--cosign-key /k", "Cannot run elemental: --cosign-key needs --cosign."],
    [
      "--verify -x xz --squash-no-compression --logfile /l",
      "logFile:/l ! --verify ! --squash-compression ! --squash-no-compression",
    ],
    ["--verify=false", ""],
    ["--debug --quiet --config-dir /c", "debug:true quiet:true elemental:/c"],
    ["-d", "Cannot run elemental: --docker-image wants a value."],
    ["--strict=maybe", 'Cannot run elemental: "maybe" is no value of --strict.'],
    ["r.example/os", 'Cannot run elemental: "r.example/os" is not known.'],
    ["-d a --directory b", "Cannot run elemental: --docker-image and --directory exclude each other."],
    ["--reboot --poweroff", "Cannot run elemental: --reboot and --poweroff exclude each other."],
    ["--local", "Cannot run elemental with --local: no image is read out of a running daemon."],
    ["--constructor", 'Cannot run elemental: "--constructor" is not known.'],
    ["-h", "usage of generation 2"],
  ];
  for (const [line, expected] of lines) assert.equal(newer(line), expected, line);
  assert.equal(
    newer("--reset-oem --reset-persistent --disable-boot-entry --tty ttyS0", "reset"),
    "--reset-persistent=true --reset-oem=true ! --disable-boot-entry ! --tty",
  );
  assert.equal(newer("--recovery", "reset"), 'Cannot run elemental: "--recovery" is not known.');
});

Deno.test("under an older name, the second generation's words leave a log where its wrappers left it", () => {
  assert.equal(
    told(() => parseNewer("cos-upgrade", "upgrade", ["--reboot"])),
    "--reboot=true logFile:/tmp/elemental.log",
  );
  assert.equal(told(() => parseNewer("cos-reset", "reset", ["--logfile=/l"])), "logFile:/l");
});

Deno.test("cos-upgrade takes both grammars: a flag that only the second has decides", () => {
  const lines = [
    "--docker-image x",
    "--directory x",
    "--recovery --strict",
    "x --reboot",
    "--docker-image=x",
    "-d x",
    "--system.uri x",
  ];
  assert.deepEqual(lines.map((line) => isNewer(line.split(" "))), [false, false, false, true, true, true, true]);
});

Deno.test("elemental's command stands before or behind its global flags", () => {
  const split = (line: string) => splitCommand(line.split(" "));
  assert.deepEqual(split("--logfile upgrade upgrade --strict"), {
    command: "upgrade",
    rest: ["--logfile", "upgrade", "--strict"],
  });
  assert.deepEqual(split("--debug reset"), { command: "reset", rest: ["--debug"] });
  assert.equal(split("run-stage upgrade"), undefined);
  assert.equal(split("--version"), undefined);
});

Deno.test("names are told by their last part", () => {
  assert.deepEqual(LEGACY_NAMES.map((name) => legacyName(`/usr/sbin/${name}`)), [...LEGACY_NAMES]);
  assert.deepEqual(
    [legacyName("cos"), legacyName("/proc/self/exe"), legacyName(undefined), legacyName("cos-upgrade2")],
    [
      undefined,
      undefined,
      undefined,
      undefined,
    ],
  );
});

Deno.test("every error has a status of each generation, never that of success or of an upgrade that is done", () => {
  const error = (code: ErrorCode, stage?: string) =>
    new CosError(code, "", { hint: "", ...stage !== undefined && { details: { stage } } });
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    assert.ok(![0, 41, 42, 43].includes(newerStatus(error(code))), code);
    assert.equal(olderStatus(error(code)), code === "INTERRUPTED" ? 130 : 1);
  }
  const stages = ["before-upgrade", "after-upgrade", "after-upgrade-chroot", "post-upgrade", "before-install"];
  assert.deepEqual(stages.map((stage) => newerStatus(error("HOOK_FAILED", stage))), [36, 38, 39, 72, 36]);
});
