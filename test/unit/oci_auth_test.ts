import assert from "node:assert/strict";
import { basicHeader, parseChallenges } from "../../lib/oci/auth.ts";

function parsed(header: string): [string, Record<string, string>][] {
  return parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

Deno.test("parseChallenges() reads one challenge or several, in any order and case, with all that quotes may hold", () => {
  const cases: [string, [string, Record<string, string>][]][] = [
    ["", []],
    ["Basic", [["basic", {}]]],
    ["Basic realm=lab", [["basic", { realm: "lab" }]]],
    [
      'Bearer realm="https://a.example/token",service="r.example",scope="repository:os:pull,push"',
      [["bearer", { realm: "https://a.example/token", service: "r.example", scope: "repository:os:pull,push" }]],
    ],
    ['BEARER ReAlM = "x" , SERVICE\t=\ty', [["bearer", { realm: "x", service: "y" }]]],
    ['Basic realm="a", Bearer realm="b",service=c', [["basic", { realm: "a" }], ["bearer", {
      realm: "b",
      service: "c",
    }]]],
    ['Bearer realm="b", Basic realm="a"', [["bearer", { realm: "b" }], ["basic", { realm: "a" }]]],
    ["Negotiate, Basic realm=a", [["negotiate", {}], ["basic", { realm: "a" }]]],
    ['Digest realm="a, Bearer realm=b", Basic', [["digest", { realm: "a, Bearer realm=b" }], ["basic", {}]]],
    ['Basic realm="a \\"b\\" \\\\c"', [["basic", { realm: 'a "b" \\c' }]]],
    ['Basic realm="", charset="UTF-8"', [["basic", { realm: "", charset: "UTF-8" }]]],
    ['Basic realm="open', [["basic", { realm: "open" }]]],
    [",, , Basic realm=a,,", [["basic", { realm: "a" }]]],
    ['Bearer realm="x",error="insufficient_scope",error="last"', [["bearer", { realm: "x", error: "last" }]]],
    ["realm=a", []],
    ["Negotiate YIIabc==, Basic realm=a", [["negotiate", {}], ["basic", { realm: "a" }]]],
    ["Negotiate YII+/abc=, Basic realm=a", [["negotiate", {}], ["basic", { realm: "a" }]]],
    ["Bearer\trealm=x", [["bearer", { realm: "x" }]]],
    ['"', []],
    ["Basic =", []],
    ["Basic realm=", [["basic", {}]]],
  ];
  for (const [header, challenges] of cases) assert.deepEqual(parsed(header), challenges, header);
});

Deno.test("parseChallenges() is done soon with a header of a megabyte", () => {
  for (const text of ['"', "\\", "a=", 'a="', "a ", ",", '"\\', "a=b,"]) {
    const start = performance.now();
    parseChallenges(`Basic ${text.repeat((1 << 20) / text.length)}`);
    assert.ok(performance.now() - start < 20_000, text);
  }
});

Deno.test("basicHeader() is the base64 of the UTF-8 form (RFC 7617)", () => {
  assert.equal(basicHeader({ username: "Aladdin", password: "open sesame" }), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  assert.equal(basicHeader({ username: "_json_key", password: "{\n:é€" }), "Basic X2pzb25fa2V5OnsKOsOp4oKs");
  assert.equal(basicHeader({ username: "u", password: "p".repeat(100_000) }).length, 6 + Math.ceil(100_002 / 3) * 4);
});
