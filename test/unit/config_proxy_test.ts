/** Which requests go through a proxy: the table is that of golang.org/x/net/http/httpproxy's documentation and code. */
import assert from "node:assert/strict";
import { inNetwork, parseIp, parseNetwork } from "../../lib/formats/ip.ts";
import { proxyRules } from "../../lib/formats/proxy.ts";
import { httpSettings } from "../../lib/config/http.ts";
import { fails } from "../lab/expect.ts";

function settings(env: Record<string, string>) {
  return httpSettings((name) => env[name], () => {});
}

function proxied(noProxy: string, ...urls: string[]): boolean[] {
  const rules = proxyRules({ httpProxy: "http://p:1", httpsProxy: "http://p:2", noProxy, cgi: false });
  return urls.map((url) => rules(new URL(url)) !== undefined);
}

Deno.test("each scheme has its proxy; the upper-case variable is read first, and an empty one is none", () => {
  const of = (env: Record<string, string>, url: string) => settings(env).proxy(new URL(url))?.url;
  const both = { HTTP_PROXY: "http://upper:1", http_proxy: "http://lower:2", https_proxy: "http://secure:3" };
  assert.deepEqual([
    of(both, "http://r.example/"),
    of(both, "https://r.example/"),
    of({ ...both, HTTPS_PROXY: "http://upper:4" }, "https://r.example/"),
    of({ ...both, HTTP_PROXY: "" }, "http://r.example/"),
    of({ HTTP_PROXY: "http://p:1" }, "https://r.example/"),
    of({ HTTPS_PROXY: "http://p:1" }, "http://r.example/"),
    of({ ALL_PROXY: "http://p:1" }, "https://r.example/"),
    of({ ...both, NO_PROXY: "r.example" }, "https://r.example/"),
    of({ ...both, no_proxy: "r.example" }, "https://r.example/"),
    of({ ...both, NO_PROXY: "x", no_proxy: "r.example" }, "https://r.example/"),
  ], [
    "http://upper:1",
    "http://secure:3",
    "http://upper:4",
    "http://lower:2",
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
    "http://secure:3",
  ]);
});

Deno.test("loopback is never proxied, whatever is said", () => {
  assert.deepEqual(
    proxied("", "http://localhost:5000/", "http://127.0.0.1/", "https://127.9.9.9/", "http://[::1]:5000/"),
    [false, false, false, false],
  );
  assert.deepEqual(proxied("", "http://[::ffff:127.0.0.1]/", "http://127.1/"), [false, false]);
  assert.deepEqual(proxied("", "http://localhost.example/", "http://128.0.0.1/", "http://[::2]/"), [true, true, true]);
});

Deno.test("NO_PROXY: names with what is below them, suffixes, ports, addresses, networks, and a star", () => {
  const cases: [string, string, boolean][] = [
    ["example.org", "https://example.org/", false],
    ["example.org", "https://r.example.org/", false],
    ["example.org", "https://badexample.org/", true],
    ["example.org", "https://example.org.evil/", true],
    [".example.org", "https://example.org/", true],
    [".example.org", "https://r.example.org/", false],
    ["*.example.org", "https://example.org/", true],
    ["*.example.org", "https://a.b.example.org/", false],
    ["EXAMPLE.org", "https://Example.ORG/", false],
    [" a , example.org ,", "https://example.org/", false],
    ["example.org:443", "https://example.org/", false],
    ["example.org:443", "http://example.org/", true],
    ["example.org:80", "http://example.org/", false],
    ["example.org:5000", "https://example.org:5000/", false],
    ["example.org:5000", "https://r.example.org:5000/", false],
    ["example.org:5000", "https://example.org/", true],
    [".example.org:5000", "https://r.example.org:5000/", false],
    ["10.1.2.3", "http://10.1.2.3:5000/", false],
    ["10.1.2.3:5000", "http://10.1.2.3:5000/", false],
    ["10.1.2.3:5000", "http://10.1.2.3/", true],
    ["10.0.0.0/8", "http://10.200.1.1/", false],
    ["10.0.0.0/8", "http://11.0.0.1/", true],
    ["10.1.0.0/15", "http://10.0.9.9/", false],
    ["0.0.0.0/0", "http://8.8.8.8/", false],
    ["0.0.0.0/0", "http://[fd00::1]/", true],
    ["fd00::/8", "http://[fd12::1]/", false],
    ["fd00::/8", "http://[fe80::1]/", true],
    ["fd00::1", "http://[fd00:0::1]/", false],
    ["[fd00::1]:5000", "http://[fd00::1]:5000/", false],
    ["[fd00::1]:5000", "http://[fd00::1]/", true],
    ["[fd00::1]", "http://[fd00::1]/", false],
    ["10.0.0.0/8", "http://10.example.org/", true],
    // As in Go, where the rule is one of text.
    ["1", "http://10.0.0.1/", false],
    ["0.1", "http://10.0.0.1/", false],
    ["0.1", "http://10.0.0.2/", true],
    [".1:80", "http://10.0.0.1/", false],
    ["bücher.example", "https://bücher.example/", false],
    ["*.bücher.example", "https://r.xn--bcher-kva.example/", false],
    ["bücher.example:5000", "https://BÜCHER.example:5000/", false],
    ["*", "https://example.org/", false],
    ["*", "https://10.1.2.3/", false],
    ["a,*", "https://10.1.2.3/", false],
    [":5000", "http://r.example:5000/", true],
    ["10.0.0.0/33", "http://10.0.0.1/", true],
  ];
  for (const [noProxy, url, through] of cases) assert.deepEqual(proxied(noProxy, url), [through], `${noProxy} ${url}`);
});

Deno.test("a proxy's address may lack its scheme, and hold a login", () => {
  const of = (httpsProxy: string) =>
    proxyRules({ httpProxy: "", httpsProxy, noProxy: "", cgi: false })(new URL("https://r.example/"));
  const plain = { socks: false, username: "", password: "" };
  assert.deepEqual([
    of("proxy:3128"),
    of("http://us%40er:p%3Aw@proxy:3128/path"),
    of("https://proxy"),
    of("socks5://u:p@proxy:1080"),
    of("http://user:50%@proxy"),
    of("[fd00::1]:3128"),
  ], [
    { ...plain, url: "http://proxy:3128" },
    { ...plain, url: "http://proxy:3128", username: "us@er", password: "p:w" },
    { ...plain, url: "https://proxy" },
    { url: "socks5://proxy:1080", socks: true, username: "u", password: "p" },
    { ...plain, url: "http://proxy", username: "user", password: "50%" },
    { ...plain, url: "http://[fd00::1]:3128" },
  ]);
});

Deno.test("a proxy that cannot be used is an error without its address, which may hold a password", () => {
  const use = (proxy: string, url: string, cgi = false) =>
    proxyRules({ httpProxy: proxy, httpsProxy: proxy, noProxy: "direct.example", cgi })(new URL(url));
  const why = "Cannot use the proxy that HTTPS_PROXY names: ";
  fails(
    () => use("ftp://u:secret@p", "https://r.example/"),
    "CONFIGURATION",
    `${why}it wants ftp://, and only http, https and socks5 are known.`,
  );
  fails(() => use("http://u:secret@p:99999", "https://r.example/"), "CONFIGURATION", `${why}it is no address.`);
  assert.equal(use("ftp://p", "https://direct.example/"), undefined);
  fails(
    () => use("http://p", "http://r.example/", true),
    "CONFIGURATION",
    "Cannot use the proxy that HTTP_PROXY names: REQUEST_METHOD is set, so that anybody could have said it.",
  );
  assert.equal(use("http://p", "https://r.example/", true)?.url, "http://p");
  assert.equal(use("http://p", "http://localhost/", true), undefined);
  fails(
    () => settings({ REQUEST_METHOD: "GET", http_proxy: "http://p" }).proxy(new URL("http://r.example/")),
    "CONFIGURATION",
    "Cannot use the proxy that HTTP_PROXY names: REQUEST_METHOD is set, so that anybody could have said it.",
  );
});

Deno.test("addresses are compared as numbers, and what is none is none", () => {
  for (
    const text of [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "01.2.3.4",
      "1.2.3.256",
      "1.2.3.-4",
      "::g",
      ":::",
      "1::2::3",
      "12345::",
      "r.example",
    ]
  ) {
    assert.equal(parseIp(text), undefined, text);
  }
  assert.deepEqual(parseIp("::ffff:10.0.0.1"), [10, 0, 0, 1]);
  assert.deepEqual(parseIp("fd00::1:0:2"), [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
  assert.equal(parseIp("::")?.length, 16);
  for (const text of ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "fd00::/129", "/8", "x/8"]) {
    assert.equal(parseNetwork(text), undefined, text);
  }
  const network = parseNetwork("10.0.0.128/25"), last = parseIp("10.0.0.255"), other = parseIp("10.0.0.127");
  assert.ok(network && last && other);
  assert.deepEqual([inNetwork(last, network), inNetwork(other, network)], [true, false]);
});
