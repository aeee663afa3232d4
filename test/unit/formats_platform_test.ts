import assert from "node:assert/strict";
import type { Descriptor, Platform } from "../../lib/formats/manifest.ts";
import { choosePlatform, fit, formatPlatform, platformOf } from "../../lib/formats/platform.ts";

const AMD64: Platform = { os: "linux", architecture: "amd64" };
const ARM64: Platform = { os: "linux", architecture: "arm64", variant: "v8" };

function entry(text: string | undefined): Descriptor {
  const [os, architecture, variant] = (text ?? "").split("/");
  const platform = text === undefined ? undefined : { os, architecture, ...(variant !== undefined && { variant }) };
  return { digest: `sha256:${"0".repeat(64)}` as Descriptor["digest"], size: 1, platform };
}

/** Which of the platforms is chosen: its place, or -1. */
function chosen(wanted: Platform, ...offered: (string | undefined)[]): number {
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

Deno.test("the first of equals wins", () => {
  assert.equal(chosen(AMD64, "linux/amd64", "linux/amd64"), 0);
});

Deno.test("arm64 without a variant and arm64/v8 are the same", () => {
  assert.equal(chosen(ARM64, "linux/arm64"), 0);
  assert.equal(chosen(ARM64, "linux/arm64/v9"), -1);
});

Deno.test("of amd64 only the baseline is chosen: no processor is asked for what a later level needs", () => {
  assert.equal(chosen(AMD64, "linux/amd64/v3", "linux/amd64/v2", "linux/amd64/v1"), 2);
  assert.equal(chosen(AMD64, "linux/amd64/v3", "linux/amd64"), 1);
  assert.equal(chosen(AMD64, "linux/amd64/v2"), -1);
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
  ], [1, 3, 0, 0, 0, 3]);
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
