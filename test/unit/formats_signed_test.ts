/** The readers of what is signed: JSON that has one meaning, Base64 and DER that have one form. */
import assert from "node:assert/strict";
import { decodeBase64, decodeBase64Url } from "../../lib/formats/base64.ts";
import {
  bitOf,
  booleanOf,
  children,
  encodeDer,
  oidOf,
  readDer,
  smallNumberOf,
  TAG,
  timeOf,
  unsignedOf,
} from "../../lib/formats/der.ts";
import { FormatError, isFormatError } from "../../lib/formats/format-error.ts";
import { parseStrictJson } from "../../lib/formats/strict-json.ts";
import * as der from "../lab/signing/der.ts";
import { Random } from "../lab/random.ts";

function json(text: string, maxBytes = 1000): unknown {
  return parseStrictJson(new TextEncoder().encode(text), maxBytes);
}

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(text.replaceAll(" ", ""));
}

Deno.test("strict JSON is JSON", () => {
  const texts = [
    ...[
      "null",
      " 1 ",
      '"a"',
      "[]",
      "{}",
      '{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}',
      '{"":1,"\\u0000":2}',
      '["\\"","{","}:"]',
    ],
    ...['{"a" :\t\r\n1}', '[{"a":1},{"a":1}]', '{"a":"a","b":"a"}', '["a","a"]', '{"a\\\\":1,"a":2}'],
  ];
  for (const text of texts) assert.deepEqual(json(text), JSON.parse(text), text);
});

Deno.test("strict JSON refuses what two readers could take for two things", () => {
  const cases: [text: string, reason: string][] = [
    ['{"a":1,"a":1}', 'it has the name "a" twice in one object'],
    ['{"a":1,"\\u0061":2}', 'it has the name "a" twice in one object'],
    ['{"b":{"a":1,"c":[{}],"a" :2}}', 'it has the name "a" twice in one object'],
    ['{"__proto__":1,"__proto__":2}', 'it has the name "__proto__" twice in one object'],
    ["{} {}", "it is no JSON"],
    ["{}x", "it is no JSON"],
    ["{'a':1}", "it is no JSON"],
    ['{"a":1,}', "it is no JSON"],
    ['{"a', "it is no JSON"],
    ['{"\\x":1}', "it is no JSON"],
    ['{"a":NaN}', "it is no JSON"],
    ["\ufeff{}", "it is no JSON"],
    ["", "it is no JSON"],
    ["[".repeat(33) + "]".repeat(33), "it is nested too deeply"],
    ["[".repeat(900), "it is nested too deeply"],
    [`"${"x".repeat(1000)}"`, "it has 1002 bytes; at most 1000 are read"],
  ];
  for (const [text, message] of cases) assert.throws(() => json(text), { name: "FormatError", message }, text);
  assert.throws(() => parseStrictJson(hex("22ff22"), 10), { name: "FormatError", message: "it is not UTF-8" });
  assert.deepEqual(json("[".repeat(32) + "]".repeat(32)), JSON.parse("[".repeat(32) + "]".repeat(32)));
});

Deno.test("strict JSON differs from the language's reader only where a name stands twice", () => {
  const random = new Random(7),
    pieces = ['"a":1', '"\\u0061":[', '"b":{', '"a"', ":", ",", ",", "{", "}", "]", "1", " ", '"\\', '"'];
  let parsed = 0, twins = 0;
  for (let round = 0; round < 20_000; round++) {
    const text = `{${round % 2 === 0 ? '"a":1,' : ""}${
      Array.from({ length: 1 + random.next(6) }, () => random.pick(pieces)).join("")
    }}`;
    let expected: unknown, valid = true;
    try {
      expected = JSON.parse(text);
    } catch {
      valid = false;
    }
    try {
      assert.deepEqual(json(text), expected, text);
      assert.ok(valid, text);
      parsed++;
    } catch (thrown) {
      if (!isFormatError(thrown)) throw thrown;
      if (!valid) continue;
      assert.match(thrown.message, /twice/, text);
      twins++;
    }
  }
  assert.ok(parsed > 300 && twins > 100, `${parsed} parsed, ${twins} with twins`);
});

Deno.test("Base64 has one form", () => {
  assert.deepEqual([decodeBase64("AAECAw=="), decodeBase64("")], [hex("00010203"), hex("")]);
  for (const text of ["AAECAw", "AAECAx==", "AAEC Aw==", "AAECAw==\n", "AA-_", "AAE=AAE=", "A", "="]) {
    assert.throws(() => decodeBase64(text), FormatError, text);
  }
});

Deno.test("DER has one form", () => {
  const faults: [bytes: string, reason: RegExp][] = [
    ["", /cut short/],
    ["30", /cut short/],
    ["3001", /cut short/],
    ["3000 00", /bytes follow/],
    ["3080 0000", /length of another form/],
    ["308100", /shortest form/],
    ["30820001 00", /shortest form/],
    ["3085 0000000001 00", /length of another form/],
    ["3084 ffffffff", /cut short/],
    ["3f8101 00", /tag of many bytes/],
  ];
  for (const [bytes, message] of faults) {
    assert.throws(() => readDer(hex(bytes)), { name: "FormatError", message }, bytes);
  }
  const long = encodeDer(TAG.octetString, new Uint8Array(300));
  assert.deepEqual(readDer(long).content.length, 300);
  assert.throws(() => children(readDer(hex("040100"))), /not made of others/);
  assert.throws(() => children(readDer(encodeDer(TAG.sequence, new Uint8Array(4096)))), /too many parts/);
});

Deno.test("DER's values", () => {
  const value = (bytes: string) => readDer(hex(bytes));
  for (
    const dotted of [
      "1.2.840.113549.1.1.11",
      "2.5.29.17",
      "1.3.6.1.4.1.57264.1.8",
      "2.16.840.1.101.3.4.2.1",
      "0.9.2342",
      "2.999.3",
    ]
  ) {
    assert.equal(oidOf(readDer(der.oid(dotted))), dotted);
  }
  for (const bytes of ["0600", "060180", "06022a80", "06032a8001", "060b2affffffffffffffff7f01"]) {
    assert.throws(() => oidOf(value(bytes)), FormatError, bytes);
  }
  assert.deepEqual(unsignedOf(value("02020080")), hex("80"));
  assert.deepEqual([smallNumberOf(value("020100")), smallNumberOf(value("020301e240"))], [0, 123456]);
  for (const bytes of ["0200", "020180", "02020001", "0400"]) {
    assert.throws(() => unsignedOf(value(bytes)), FormatError, bytes);
  }
  assert.throws(() => smallNumberOf(value("02050100000000")), /too large/);
  assert.deepEqual([booleanOf(value("0101ff")), booleanOf(value("010100"))], [true, false]);
  assert.throws(() => booleanOf(value("010101")), FormatError);
  assert.deepEqual([0, 5, 8, 20].map((bit) => bitOf(value("03020284"), bit)), [true, true, false, false]);
});

Deno.test("DER's times", () => {
  const read = (tag: number, text: string) => timeOf(readDer(der.text(text, tag))).toISOString();
  const good: [tag: number, text: string, time: string][] = [
    [TAG.utcTime, "491231235959Z", "2049-12-31T23:59:59.000Z"],
    [TAG.utcTime, "500101000000Z", "1950-01-01T00:00:00.000Z"],
    [TAG.generalizedTime, "20500101000000Z", "2050-01-01T00:00:00.000Z"],
    [TAG.generalizedTime, "00990228000000Z", "0099-02-28T00:00:00.000Z"],
    [TAG.generalizedTime, "20240229120000.125Z", "2024-02-29T12:00:00.125Z"],
    [TAG.generalizedTime, "20240229120000.123456Z", "2024-02-29T12:00:00.123Z"],
  ];
  for (const [tag, text, time] of good) assert.equal(read(tag, text), time);
  const bad: [tag: number, text: string][] = [
    [TAG.utcTime, "20500101000000Z"],
    [TAG.utcTime, "500101000000+0100"],
    [TAG.utcTime, "5001010000Z"],
    [TAG.generalizedTime, "20230229120000Z"],
    [TAG.generalizedTime, "20231301120000Z"],
    [TAG.generalizedTime, "20231201240000Z"],
    [TAG.generalizedTime, "20231201126000Z"],
    [TAG.generalizedTime, "20231201120000.10Z"],
    [TAG.generalizedTime, "20231201120000.Z"],
    [TAG.octetString, "20231201120000Z"],
  ];
  for (const [tag, text] of bad) assert.throws(() => read(tag, text), FormatError, text);
});

Deno.test("Base64url has one form: JOSE's, without padding", () => {
  assert.deepEqual(["", "-_8", "YQ", "YWI", "YWJj"].map((text) => decodeBase64Url(text).toHex()), [
    ...["", "fbff", "61", "6162", "616263"],
  ]);
  for (const text of ["YQ==", "YWI=", "+/8", "Y", "YR", "YWJ", "YQ\n", " YQ", "YW Jj", "YWJjY", "é"]) {
    assert.throws(() => decodeBase64Url(text), { name: "FormatError", message: /^it is no Base64url/ }, text);
  }
});
