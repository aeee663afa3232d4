/** Fetching signatures from registries: honest, older, and lying ones. */
import assert from "node:assert/strict";
import type { CosEvent } from "../../lib/base/events.ts";
import type { Digest } from "../../lib/base/digest.ts";
import type { ResolvedImage } from "../../lib/oci/pull.ts";
import { resolveImage } from "../../lib/oci/pull.ts";
import { attachedSignatures, referringSignatures } from "../../lib/oci/signatures.ts";
import { rejectionOf } from "../lab/expect.ts";
import { body, cutBody, error, type FakeRegistry, fakeRegistry } from "../lab/fake-registry.ts";
import { endpointOf, type PullOptions, sourceOf, TestClock, textsOf } from "../lab/pulling.ts";

const OCI = "application/vnd.oci.image.";
const MANIFEST = { schemaVersion: 2, mediaType: `${OCI}manifest.v1+json` },
  INDEX = { schemaVersion: 2, mediaType: `${OCI}index.v1+json` };
const TYPE = "application/vnd.lab.signature", LAYER = "application/vnd.lab.layer";
const KIND = { artifact: /^application\/vnd\.lab\.signature$/, layer: /^application\/vnd\.lab\.layer$/, most: 1000 };

/** An image at `os:v1`, resolved. */
async function image(registry: FakeRegistry, options: PullOptions = {}): Promise<ResolvedImage> {
  const config = registry.blob(
    JSON.stringify({
      os: "linux",
      architecture: "amd64",
      rootfs: { type: "layers", diff_ids: [`sha256:${"1".repeat(64)}`] },
    }),
    `${OCI}config.v1+json`,
  );
  registry.manifest({ ...MANIFEST, config, layers: [registry.blob("layer", `${OCI}layer.v1.tar`)] }, "v1");
  return await resolveImage(sourceOf(`${registry.host}/os:v1`, options), { os: "linux", architecture: "amd64" });
}

function artifact(registry: FakeRegistry, subject: string, text: string, more: Record<string, unknown> = {}) {
  const { bytes: _, ...descriptor } = registry.manifest({
    ...MANIFEST,
    artifactType: TYPE,
    config: registry.blob("{}", "application/vnd.oci.empty.v1+json"),
    layers: [{ ...registry.blob(text, LAYER), annotations: { note: text } }],
    subject: { mediaType: MANIFEST.mediaType, digest: subject, size: 1 },
    ...more,
  });
  return { ...descriptor, artifactType: TYPE };
}

function list(registry: FakeRegistry, pages: Record<string, { manifests: unknown[]; next?: string }>): void {
  registry.answer = (_request, url) => {
    if (!url.pathname.includes("/referrers/")) return undefined;
    const { manifests = [], next } = pages[url.searchParams.get("last") ?? ""] ?? {};
    const headers = { "content-type": INDEX.mediaType, ...next !== undefined && { link: `<${next}>; rel="next"` } };
    return Response.json({ ...INDEX, manifests }, { headers });
  };
}

async function found(image: ResolvedImage): Promise<{ layers: string[]; faults: readonly string[] }> {
  const { layers, faults } = await referringSignatures(image, image.digest, KIND);
  return { layers: layers.map(({ bytes }) => new TextDecoder().decode(bytes)), faults };
}

Deno.test("the registry's list is read page by page, and each artifact is opened", async () => {
  await using registry = fakeRegistry();
  const target = await image(registry),
    one = artifact(registry, target.digest, "one"),
    two = artifact(registry, target.digest, "two");
  // Registries may leave the type out, give the configuration's in its place, or list what is of another kind.
  const { artifactType: _, ...untyped } = two,
    other = artifact(registry, target.digest, "other", { artifactType: "application/x" });
  list(registry, {
    "": {
      manifests: [one, { ...other, artifactType: "application/x" }],
      next: `/v2/os/referrers/${target.digest}?n=2&last=a`,
    },
    a: { manifests: [untyped, { ...other, artifactType: TYPE }], next: "https://elsewhere.example/v2/?last=b" },
    b: { manifests: [one] },
  });
  assert.deepEqual(await found(target), { layers: ["one", "two"], faults: [] });
  const asked = registry.seen.filter(({ url }) => url.includes("referrers")).map(({ url }) => url.split("?")[1] ?? "");
  assert.deepEqual(asked, ["", "n=2&last=a", "last=b"]);
});

Deno.test("without a list, the index at the tag that takes its place is read; without both there is nothing", async () => {
  await using registry = fakeRegistry();
  const target = await image(registry);
  for (const status of [404, 400, 405]) {
    registry.answer = (_request, url) =>
      url.pathname.includes("/referrers/") ? error(status, "UNSUPPORTED", "no such path") : undefined;
    assert.deepEqual(await found(target), { layers: [], faults: [] }, `${status}`);
  }
  registry.manifest(
    { ...INDEX, manifests: [artifact(registry, target.digest, "one")] },
    target.digest.replace(":", "-"),
  );
  assert.deepEqual(await found(target), { layers: ["one"], faults: [] });
  // A registry that does not answer says nothing about signatures.
  registry.answer = (_request, url) => url.pathname.includes("/referrers/") ? error(403, "DENIED", "no") : undefined;
  assert.equal((await rejectionOf(() => found(target))).code, "UNAUTHORIZED");
});

Deno.test("a list that breaks in the middle is asked for again, page by page, and not for ever", async () => {
  await using registry = fakeRegistry();
  const clock = new TestClock(), events: CosEvent[] = [], target = await image(registry, { clock, events });
  const one = artifact(registry, target.digest, "one"), two = artifact(registry, target.digest, "two");
  const asked: string[] = [],
    page = (manifests: unknown[]) => new TextEncoder().encode(JSON.stringify({ ...INDEX, manifests }));
  let cuts = 2;
  registry.answer = (_request, url) => {
    if (!url.pathname.includes("/referrers/")) return undefined;
    asked.push(url.search);
    if (url.search === "") {
      return body(page([one]), { headers: { link: `</v2/os/referrers/${target.digest}?last=a>; rel="next"` } });
    }
    return cuts-- > 0 ? cutBody(page([two])) : body(page([two]));
  };
  assert.deepEqual(await found(target), { layers: ["one", "two"], faults: [] });
  assert.deepEqual(asked, ["", "?last=a", "?last=a", "?last=a"]);
  assert.deepEqual(clock.seconds, [1, 2]);
  assert.deepEqual(textsOf(events, "warning"), []);
  cuts = 99;
  assert.equal((await rejectionOf(() => found(target))).code, "REGISTRY_UNREACHABLE");
  assert.deepEqual(clock.seconds, [1, 2, 1, 2]);
});

Deno.test("that a mirror has no list is told in words of its own, where the registry's answer is an error", async () => {
  await using mirror = fakeRegistry();
  await using registry = fakeRegistry();
  const endpoints = [endpointOf(mirror.host, "os"), endpointOf(registry.host, "os")];
  await image(mirror);
  const target = await image(registry, { endpoints });
  mirror.answer = (_request, url) => url.pathname.includes("/referrers/") ? error(404, "X", "x") : undefined;
  registry.answer = (_request, url) => url.pathname.includes("/referrers/") ? error(418, "X", "no tea") : undefined;
  const name = `${registry.host}/os:v1`, { code, message } = await rejectionOf(() => found(target));
  assert.deepEqual([code, message], [
    "REGISTRY_ERROR",
    `Cannot pull ${name}: ${registry.host} answered the request for a list with status 418: no tea. ` +
    `Before that: Cannot find what belongs to ${name}: ${mirror.host} has no list of it.`,
  ]);
});

Deno.test("a list that lies: of another image, other bytes, too long, no artifact, no signature", async () => {
  await using registry = fakeRegistry();
  const target = await image(registry), good = artifact(registry, target.digest, "good");
  const elsewhere = artifact(registry, `sha256:${"2".repeat(64)}`, "elsewhere");
  const none = artifact(registry, target.digest, "none", { subject: undefined });
  const long = artifact(registry, target.digest, "x".repeat(1001));
  const swapped = { ...artifact(registry, target.digest, "swapped"), digest: `sha256:${"3".repeat(64)}` };
  const broken = { ...registry.blob("{", MANIFEST.mediaType), artifactType: TYPE };
  registry.answer = (_request, url) => {
    if (url.pathname.endsWith(swapped.digest)) {
      return body(new TextEncoder().encode("{}"), { headers: { "content-type": MANIFEST.mediaType } });
    }
    if (url.pathname.endsWith(broken.digest) && url.pathname.includes("manifests")) {
      return body(new TextEncoder().encode("{"), { headers: { "content-type": MANIFEST.mediaType } });
    }
    if (!url.pathname.includes("/referrers/")) return undefined;
    const manifests = [elsewhere, none, long, swapped, broken, { ...good, size: 5_000_000 }, good];
    return Response.json({ ...INDEX, manifests: [...manifests.slice(0, 5), good] });
  };
  const { layers, faults } = await found(target);
  assert.deepEqual(layers, ["good"]);
  assert.deepEqual(faults.map((fault) => fault.replaceAll(registry.host, "HOST")), [
    "Cannot use HOST/os:v1: a signature has more than 1000 bytes",
    `Refused the manifest of HOST/os:v1: expected ${swapped.digest}, got sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a`,
    "Cannot use HOST/os:v1: its signature's manifest is no JSON",
  ]);
});

Deno.test("hundreds of signatures are not opened, and thousands are not remembered", async () => {
  await using registry = fakeRegistry();
  const target = await image(registry), one = artifact(registry, target.digest, "one");
  const many = Array.from({ length: 300 }, (_, i) => ({ ...one, digest: `sha256:${String(i).padStart(64, "0")}` }));
  let pages = 0;
  registry.answer = (_request, url) => {
    if (!url.pathname.includes("/referrers/")) return undefined;
    const headers = { link: `</v2/os/referrers/x?last=${++pages}>; rel="next"` };
    return Response.json({
      ...INDEX,
      manifests: many.map((each) => ({
        ...each,
        digest: `sha256:${String(pages).padStart(4, "0")}${each.digest.slice(11)}`,
      })),
    }, { headers });
  };
  const { layers, faults } = await found(target);
  assert.deepEqual(layers, []);
  assert.equal(pages, 4);
  const opened = registry.seen.filter(({ url }) => /manifests\/sha256:0/.test(url)).length;
  assert.equal(opened, 100);
  assert.match(faults.at(-1) ?? "", /only its first 100 signatures are read/);
});

Deno.test("attachments at the tag of the digest: other layers are none, and their number is bounded", async () => {
  await using registry = fakeRegistry();
  const target = await image(registry), tag = `${target.digest.replace(":", "-")}.sig`;
  const attached = (layers: unknown[]) => {
    registry.manifest({ ...MANIFEST, config: registry.blob("{}", `${OCI}config.v1+json`), layers }, tag);
    return attachedSignatures(target, target.digest as Digest, KIND);
  };
  assert.deepEqual(await attachedSignatures(target, target.digest, KIND), { layers: [], faults: [] });
  const note = { ...registry.blob("signature", LAYER), annotations: { a: "b" } };
  const { layers } = await attached([note, registry.blob("other", "text/plain")]);
  assert.deepEqual(layers, [{
    mediaType: LAYER,
    annotations: { a: "b" },
    bytes: new TextEncoder().encode("signature"),
  }]);
  assert.equal((await attached(Array.from({ length: 400 }, () => note))).layers.length, 100);
  const wrong = { ...note, digest: `sha256:${"4".repeat(64)}` };
  const { faults } = await attached([wrong]);
  assert.match(faults[0] ?? "", /the registry lost a blob that the image needs$/);
});

Deno.test("a mirror without the signature is passed over, and the registry itself is asked", async () => {
  await using mirror = fakeRegistry();
  await using registry = fakeRegistry();
  const events: CosEvent[] = [];
  await image(mirror);
  const endpoints = [endpointOf(mirror.host, "os"), endpointOf(registry.host, "os")];
  const target = await image(registry, { endpoints, events });
  registry.manifest(
    { ...INDEX, manifests: [artifact(registry, target.digest, "one")] },
    target.digest.replace(":", "-"),
  );
  assert.deepEqual(await found(target), { layers: ["one"], faults: [] });
  // That nobody has a list, or such a tag, is nothing to be told.
  assert.deepEqual(textsOf(events, "warning").map((text) => text.replace(/^.*?: \S+ /, "")), [
    `has no such image. Asking ${registry.host} instead.`,
    `lost a blob that the image needs. Asking ${registry.host} instead.`,
  ]);
});

Deno.test("a tag is asked for once: what the registry says the second time is never heard", async () => {
  await using registry = fakeRegistry();
  const target = await image(registry);
  const asked = () => registry.seen.filter(({ url }) => url.endsWith("/manifests/v1")).length;
  assert.equal(asked(), 1);
  registry.manifest({ ...INDEX, manifests: [] }, "v1");
  await found(target);
  await attachedSignatures(target, target.digest, KIND);
  assert.equal(asked(), 1);
  assert.deepEqual(target.subjects.map(({ digest }) => digest), [target.digest]);
});
