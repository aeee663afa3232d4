import assert from "node:assert/strict";
import { bytesOf, byteString, byteStringOf, displayName, displayText, writeBytes } from "../../lib/base/byte-string.ts";
import { digestAlgorithm, digestHex, isDigest, parseDigest, shortDigest } from "../../lib/base/digest.ts";
import { asCosError, CosError, ERROR_CODES } from "../../lib/base/errors.ts";
import { formatSize } from "../../lib/base/size.ts";

Deno.test("a byte string holds any bytes and gives them back, however many", () => {
  for (const length of [0, 1, 255, 256, 4096, 4097, 100_000]) {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 7);
    const text = byteString(bytes);
    assert.equal(text.length, length);
    assert.deepEqual(bytesOf(text), bytes);
  }
  assert.equal(byteString(Uint8Array.of(0x61, 0xff, 0x62, 0x63), 1, 3), "\xffb");
});

Deno.test("byteStringOf() is the UTF-8 form of a text", () => {
  assert.equal(byteStringOf("usr/bin"), "usr/bin");
  assert.equal(byteStringOf("é€"), "\xc3\xa9\xe2\x82\xac");
});

Deno.test("writeBytes() refuses what is no byte instead of cutting it", () => {
  const target = new Uint8Array(4);
  assert.equal(writeBytes("a\xff", target, 1), 2);
  assert.deepEqual(target, Uint8Array.of(0, 0x61, 0xff, 0));
  assert.throws(() => writeBytes("€", target), {
    name: "RangeError",
    message: 'Cannot use "€" as a name: it is not a byte string',
  });
});

Deno.test("displayName() shows UTF-8 as it is, other bytes as escapes, and lets nothing steer a terminal", () => {
  const cases: [string, string][] = [
    ["etc/passwd", "etc/passwd"],
    [byteStringOf("größe/€/𝄞"), "größe/€/𝄞"],
    ["caf\xe9", "caf\\xe9"],
    ["\xff\xfe\x80", "\\xff\\xfe\\x80"],
    ["a\nb\tc\rd", "a\\nb\\tc\\u000dd"],
    ["\x1b[2J\x1b]0;owned\x07", "\\u001b[2J\\u001b]0;owned\\u0007"],
    ["\x7f\x00", "\\u007f\\u0000"],
    ["\xc2\x9b31m", "\\u009b31m"], // the one-character form of ESC [, in UTF-8
    ["\x9b31m", "\\x9b31m"], // and as a bare byte
    [byteStringOf("a\u202etxt.exe"), "a\\u202etxt.exe"], // right-to-left override
    [byteStringOf("a\u2066b\u2069\u200f\u200e\u061c"), "a\\u2066b\\u2069\\u200f\\u200e\\u061c"], // isolates and marks
    [byteStringOf("a\u2028b\u2029"), "a\\u2028b\\u2029"],
    [byteStringOf("\ufeffa"), "\\ufeffa"],
    ["\xed\xa0\x80", "\\xed\\xa0\\x80"], // a lone surrogate is no UTF-8
  ];
  for (const [name, shown] of cases) assert.equal(displayName(name), shown);
});

Deno.test("displayText() makes words of a stranger fit for a line of ours: no escapes, no more than asked for", () => {
  assert.equal(displayText("größe"), "größe");
  assert.equal(displayText("a\x1b[2J\nb\u202e\x9b"), "a\\u001b[2J\\nb\\u202e\\u009b");
  assert.equal(displayText("x".repeat(200)), "x".repeat(200));
  assert.equal(displayText("x".repeat(201)), `${"x".repeat(200)}…`);
  assert.equal(displayText("abcdef", 3), "abc…");
  assert.equal(displayText("ab𝄞", 3), "ab…"); // no half of a character
});

Deno.test("only lower-case sha256 and sha512 of full length are digests", () => {
  const hex = "0123456789abcdef";
  const sha256 = `sha256:${hex.repeat(4)}`, sha512 = `sha512:${hex.repeat(8)}`;
  assert.deepEqual([sha256, sha512].map(parseDigest), [sha256, sha512]);
  const bad = [
    "",
    "sha256:",
    hex.repeat(4),
    sha256.slice(0, -1),
    `${sha256}0`,
    `${sha256}\n`,
    ` ${sha256}`,
    sha256.toUpperCase(),
    `sha512:${hex.repeat(4)}`,
    `sha384:${hex.repeat(6)}`,
    `sha256:../${hex.repeat(4).slice(3)}`,
  ];
  assert.deepEqual(bad.filter(isDigest), []);
  assert.ok(isDigest(sha512));
  assert.deepEqual([digestAlgorithm(sha512), digestHex(sha512), shortDigest(sha512)], [
    "sha512",
    hex.repeat(8),
    "0123456789ab",
  ]);
});

Deno.test("formatSize() changes the unit before four digits would stand there, also by rounding", () => {
  const cases: [number, string][] = [
    [0, "0 bytes"],
    [1023, "1023 bytes"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [1024 * 99.94, "99.9 KiB"],
    [1024 * 99.96, "100 KiB"],
    [1024 * 512.4, "512 KiB"],
    [1024 * 1023.4, "1023 KiB"],
    [1024 * 1024 - 1, "1 MiB"],
    [1024 ** 2, "1 MiB"],
    [1024 ** 3 - 1, "1 GiB"],
    [3.25 * 1024 ** 3, "3.3 GiB"],
    [5000 * 1024 ** 4, "5000 TiB"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatSize(bytes), text);
});

Deno.test("every exit status of an error is its own", () => {
  const statuses = Object.values(ERROR_CODES).map(({ exit }) => exit);
  assert.equal(new Set(statuses).size, statuses.length);
});

Deno.test("asCosError() keeps an error of ours and wraps any other with its cause", () => {
  const ours = new CosError("NO_SPACE", "Full.", { hint: "Make room.", details: { free: 0 } });
  assert.equal(asCosError(ours), ours);
  assert.deepEqual([ours.exitStatus, ours.details], [20, { free: 0 }]);
  const other = new TypeError("x is not a function"), wrapped = asCosError(other);
  assert.deepEqual([wrapped.code, wrapped.message, wrapped.cause], [
    "INTERNAL",
    "Unexpected fault: x is not a function.",
    other,
  ]);
  assert.equal(asCosError("thrown text").message, "Unexpected fault: thrown text.");
});
