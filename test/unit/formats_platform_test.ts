import assert from "node:assert/strict";
import { x86Level } from "../../lib/formats/cpuinfo.ts";
import type { Descriptor, Platform } from "../../lib/formats/manifest.ts";
import { choosePlatform, fit, formatPlatform, type MachinePlatform, platformOf } from "../../lib/formats/platform.ts";

const AMD64: Platform = { os: "linux", architecture: "amd64" };
const ARM64: Platform = { os: "linux", architecture: "arm64", variant: "v8" };

function entry(text: string | undefined): Descriptor {
  const [os, architecture, variant] = (text ?? "").split("/");
  const platform = text === undefined ? undefined : { os, architecture, ...(variant !== undefined && { variant }) };
  return { digest: `sha256:${"0".repeat(64)}` as Descriptor["digest"], size: 1, platform };
}

/** Which of the platforms is chosen: its place, or -1. */
function chosen(wanted: MachinePlatform, ...offered: (string | undefined)[]): number {
  const entries = offered.map(entry), found = choosePlatform(entries, wanted);
  return found === undefined ? -1 : entries.indexOf(found);
}

Deno.test("platformOf() names this machine in the words of images", () => {
  assert.deepEqual(platformOf("x86_64"), AMD64);
  assert.deepEqual(platformOf("aarch64"), ARM64);
});

Deno.test("the entry for this system and processor is chosen, wherever it stands", () => {
  assert.equal(chosen(AMD64, "linux/arm64", "windows/amd64", "linux/amd64"), 2);
  assert.equal(chosen(ARM64, "linux/arm/v7", "linux/arm64/v8", "linux/amd64"), 1);
  assert.equal(chosen(AMD64, "linux/arm64", "linux/s390x"), -1);
  assert.equal(chosen(AMD64), -1);
});

Deno.test("a list of materials beside an image, which names no platform either, is not taken for it", () => {
  const artifact = { ...entry(undefined), artifactType: "application/spdx+json" }, image = entry(undefined);
  assert.equal(choosePlatform([artifact, image], AMD64), image);
  assert.equal(choosePlatform([artifact], AMD64), undefined);
});

Deno.test("the first of equals wins", () => {
  assert.equal(chosen(AMD64, "linux/amd64", "linux/amd64"), 0);
});

Deno.test("arm64 without a variant and arm64/v8 are the same", () => {
  assert.equal(chosen(ARM64, "linux/arm64"), 0);
  assert.equal(chosen(ARM64, "linux/arm64/v9"), -1);
});

Deno.test("of amd64 the highest level is chosen that the processor has, and the baseline where nobody knows", () => {
  const all = ["linux/amd64/v4", "linux/amd64", "linux/amd64/v3", "linux/amd64/v2"];
  assert.deepEqual([1, 2, 3, 4].map((level) => chosen({ ...AMD64, level: () => level }, ...all)), [1, 3, 2, 0]);
  assert.equal(chosen(AMD64, "linux/amd64/v3", "linux/amd64/v2", "linux/amd64/v1"), 2);
  assert.equal(chosen(AMD64, "linux/amd64/v3", "linux/amd64"), 1);
  assert.equal(chosen(AMD64, "linux/amd64/v2"), -1);
  assert.equal(chosen({ ...AMD64, level: () => 4 }, "linux/amd64/v5", "linux/amd64/x", "linux/amd64/v22"), -1);
  assert.equal(chosen({ ...AMD64, level: () => 4 }, "linux/amd64/v1", "linux/amd64"), 0);
});

Deno.test("the processor is looked at only where an image wants more than the baseline", () => {
  const never = { ...AMD64, level: () => assert.fail("it was asked") };
  assert.equal(chosen(never, "linux/amd64", "linux/arm64/v8", "linux/amd64/v1"), 0);
  assert.equal(fit({ os: "linux", architecture: "amd64" }, never), 2);
  assert.equal(fit({ os: "linux", architecture: "amd64", variant: "v3" }, { ...AMD64, level: () => 2 }), 0);
});

Deno.test("32-bit Arm takes the latest of what its processor runs: v7, v6, v5", () => {
  const arm = (variant?: string): Platform => ({ os: "linux", architecture: "arm", variant });
  const all = ["linux/arm/v5", "linux/arm/v8", "linux/arm/v6", "linux/arm/v7"];
  assert.deepEqual(["v7", "v6", "v5", undefined].map((own) => chosen(arm(own), ...all)), [3, 2, 0, 3]);
  assert.equal(chosen(arm("v6"), "linux/arm"), -1);
  assert.equal(chosen(arm("v7"), "linux/arm/v4", "linux/arm64"), -1);
});

Deno.test("x86Level() asks for every feature of a level, on every processor", () => {
  const v2 = "fpu sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3", v3 = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave";
  const v4 = "avx512f avx512bw avx512cd avx512dq avx512vl";
  const flags = (...words: string[]) => words.map((word) => `processor\t: 0\nflags\t\t: ${word}\n`).join("\n");
  assert.deepEqual(
    [
      "",
      "processor\t: 0\nFeatures\t: fp asimd\n",
      flags("fpu sse2"),
      flags(v2),
      flags(`${v2} ${v3}`),
      flags(`${v2} ${v3} ${v4}`),
      flags(`${v2} ${v3.replace("movbe ", "")} ${v4}`),
      flags(`${v2} ${v3}`, v2),
      flags(`${v3} ${v4}`),
      flags(v2.replace("pni", "xpni")),
    ].map(x86Level),
    [1, 1, 1, 2, 3, 4, 2, 2, 1, 1],
  );
});

Deno.test("attestations never fit, and an entry without a platform only where nothing better is offered", () => {
  assert.equal(chosen(AMD64, "unknown/unknown"), -1);
  assert.equal(chosen(AMD64, "unknown/unknown", undefined), 1);
  assert.equal(chosen(AMD64, undefined, "linux/amd64"), 1);
  assert.equal(chosen(AMD64, undefined, "linux/arm64"), 0);
  assert.equal(choosePlatform([{ ...entry(undefined), platform: null }], AMD64) !== undefined, true);
});

Deno.test("fit() of a configuration: its own words decide", () => {
  assert.deepEqual([
    fit({}, AMD64),
    fit({ os: "linux", architecture: "amd64" }, AMD64),
    fit({ os: "linux", architecture: "arm64" }, AMD64),
    fit({ os: "windows", architecture: "amd64" }, AMD64),
    fit({ os: "linux" }, AMD64),
    fit({ os: "linux", architecture: "riscv64" }, { os: "linux", architecture: "riscv64" }),
  ], [1, 2, 0, 0, 0, 2]);
});

Deno.test("formatPlatform() shows what is known, and nothing that steers a terminal", () => {
  assert.deepEqual([
    formatPlatform(AMD64),
    formatPlatform(ARM64),
    formatPlatform({}),
    formatPlatform({ os: "linux" }),
    formatPlatform({ os: "\x1b[2J", architecture: "x".repeat(99), variant: "a\nb" }),
  ], ["linux/amd64", "linux/arm64/v8", "?/?", "linux/?", `\\u001b[2J/${"x".repeat(32)}…/a\\nb`]);
});
