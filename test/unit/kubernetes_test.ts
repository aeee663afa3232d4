/** What a pod of system-upgrade-controller knows of itself: the Plan's environment, and what the cluster's API says of its image. */
import assert from "node:assert/strict";
import { httpSettings } from "../../lib/config/http.ts";
import { planEnvironment } from "../../lib/config/plan.ts";
import { formatReference } from "../../lib/formats/reference.ts";
import { imageOfPod } from "../../lib/formats/pod.ts";
import { askOwnImage } from "../../lib/kubernetes/own-image.ts";
import { releaseOf } from "../../lib/operations/own-tree.ts";
import { RealHttp } from "../../lib/system/http.ts";
import { renderOutcome } from "../../lib/ui/suc-upgrade.ts";
import { makeCertificates } from "../lab/certificates.ts";
import { scratchDirectory } from "../lab/cleanup.ts";

const DIGEST = `sha256:${"ab".repeat(32)}`;

Deno.test("the Plan's environment, and what stands where it says nothing", () => {
  const of = (values: Record<string, string>) => planEnvironment((name) => values[name]);
  assert.deepEqual(of({}), {
    host: "/host",
    image: undefined,
    force: false,
    plan: "(without a name)",
    node: "This node",
    hash: "",
    recovery: "keep",
  });
  assert.deepEqual(
    of({
      HOST_DIR: "/mnt/host/",
      UPGRADE_IMAGE: "r.example:5000/os/base",
      FORCE: "true",
      SYSTEM_UPGRADE_NODE_NAME: "node-1",
      SYSTEM_UPGRADE_POD_NAME: "apply-x",
      SYSTEM_UPGRADE_PLAN_NAME: "os",
      SYSTEM_UPGRADE_PLAN_LATEST_HASH: "a1",
      SYSTEM_UPGRADE_PLAN_LATEST_VERSION: "v1.2.3+k3s1",
      KUBERNETES_SERVICE_HOST: "10.43.0.1",
      KUBERNETES_SERVICE_PORT: "6443",
      UPGRADE_RECOVERY: "true",
      UPGRADE_RECOVERY_ONLY: "false",
    }),
    {
      host: "/mnt/host",
      image: "r.example:5000/os/base:v1.2.3-k3s1",
      force: true,
      plan: "os",
      node: "node-1",
      hash: "a1",
      api: { host: "10.43.0.1", port: "6443", pod: "apply-x" },
      recovery: "also",
    },
  );
  assert.equal(of({ UPGRADE_RECOVERY: "true", UPGRADE_RECOVERY_ONLY: "true" }).recovery, "only");
  // The words for yes are those of the settings.
  assert.deepEqual(["1", "on", "YES", "y", "t", "no", "n", "2", ""].map((FORCE) => of({ FORCE }).force), [
    ...[true, true, true, true, true],
    ...[false, false, false, false],
  ]);
  // Names that nobody has given, in what goes onto terminals.
  assert.equal(of({ SYSTEM_UPGRADE_NODE_NAME: "\x1b[2J" }).node, "This node");
});

Deno.test("only an image without tag and digest gets the Plan's version, and only one that names its registry", () => {
  const image = (text: string) =>
    planEnvironment((name) => ({ UPGRADE_IMAGE: text, SYSTEM_UPGRADE_PLAN_LATEST_VERSION: "v2" })[name]).image;
  assert.deepEqual(
    [
      "r.example/os",
      "localhost/os",
      "r.example:5000/os",
      "r.example/os:v1",
      `r.example/os@${DIGEST}`,
      "system/cos",
      "os",
      "Registry/os",
    ]
      .map(image),
    [
      "r.example/os:v2",
      "localhost/os:v2",
      "r.example:5000/os:v2",
      "r.example/os:v1",
      `r.example/os@${DIGEST}`,
      "system/cos",
      "os",
      // As parseReference() tells hosts: no repository's name has capital letters.
      "Registry/os:v2",
    ],
  );
});

function described(image: unknown, imageID: unknown, name = "upgrade"): string {
  return JSON.stringify({
    spec: { containers: [{ name, image }] },
    status: { containerStatuses: [{ name, imageID }], initContainerStatuses: [{ name: "drain", imageID: "x" }] },
  });
}

Deno.test("a pod's image has the name that the pod asks for and the digest that the runtime tells", () => {
  const cases: [string, string][] = [
    [described("r.example/os:v2", `r.example/os@${DIGEST}`), `r.example/os:v2@${DIGEST}`],
    [described("r.example/os:v2", `docker-pullable://mirror.example/os@${DIGEST}`), `r.example/os:v2@${DIGEST}`],
    [described("rancher/os", `docker.io/rancher/os@${DIGEST}`), `docker.io/rancher/os:latest@${DIGEST}`],
    [described(`r.example/os@${DIGEST}`, `r.example/os@${DIGEST}`), `r.example/os@${DIGEST}`],
    [described("r.example/os:v2", `r.example/os@${DIGEST}`, "other"), `r.example/os:v2@${DIGEST}`],
    // Without a slash: Docker Hub's own.
    [described("os", `docker.io/library/os@${DIGEST}`), `docker.io/library/os:latest@${DIGEST}`],
    [described("os:v2", `docker.io/library/os@${DIGEST}`), `docker.io/library/os:v2@${DIGEST}`],
    [described(`os@${DIGEST}`, `docker.io/library/os@${DIGEST}`), `docker.io/library/os@${DIGEST}`],
  ];
  for (const [text, expected] of cases) assert.equal(formatReference(imageOfPod(text, "upgrade")), expected);
});

Deno.test("what tells no digest of a registry is told in words", () => {
  const two = { containers: [{ name: "a", image: "r.example/a:1" }, { name: "b", image: "r.example/b:1" }] };
  const cases: [string, string][] = [
    ["", "is no JSON"],
    ["[]", "is no description of a pod"],
    ['{"spec":{"containers":[{"name":1}]}}', "is no description of a pod"],
    ['{"spec":{"containers":[]}}', "does not say which image this container runs"],
    [JSON.stringify({ spec: two, status: {} }), "does not say which image this container runs"],
    [described("r.example/os:v2", undefined), "does not say which image this container runs"],
    [described("r.example/os:v2", ""), "knows the image by no digest of a registry"],
    // Of the configuration: no registry knows it.
    [described("r.example/os:v2", DIGEST), "knows the image by no digest of a registry"],
    [described("r.example/os:v2", "r.example/os@sha256:../../x"), "knows the image by no digest of a registry"],
    [described("R EXAMPLE:v2", `r.example/os@${DIGEST}`), "names an image that cannot be read"],
    [described("dir:/etc", `r.example/os@${DIGEST}`), "names an image that is in no registry"],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => imageOfPod(text, "upgrade"), { name: "FormatError", message });
  }
});

Deno.test("the cluster's API is asked over TLS by its own CA; whatever it does is no error", async () => {
  await using scratch = scratchDirectory("api");
  const { ca, certificate, key } = await makeCertificates(scratch.path);
  let answer: (request: Request) => Response | Promise<Response> = () => new Response();
  await using server = Deno.serve({
    port: 0,
    hostname: "127.0.0.1",
    cert: Deno.readTextFileSync(certificate),
    key: Deno.readTextFileSync(key),
    onListen: () => undefined,
  }, (request) => answer(request));
  using http = new RealHttp({ ...httpSettings(() => undefined, () => undefined), roots: () => Promise.resolve([]) });
  const system = { fetch: http.fetch.bind(http) }, never = new AbortController().signal;
  const account = { token: "t0ken", ca: Deno.readTextFileSync(ca), namespace: "system-upgrade" };
  const api = { host: "127.0.0.1", port: String(server.addr.port), pod: "apply-x" };
  const ask = (limit?: number, own = account) => askOwnImage(system, api, own, never, limit);

  const seen: string[] = [];
  answer = ({ url, headers }) => {
    seen.push(`${new URL(url).pathname} ${headers.get("authorization")}`);
    return new Response(described("r.example/os:v2", `r.example/os@${DIGEST}`));
  };
  const found = await ask();
  assert.equal("image" in found && formatReference(found.image), `r.example/os:v2@${DIGEST}`);
  assert.deepEqual(seen, ["/api/v1/namespaces/system-upgrade/pods/apply-x Bearer t0ken"]);

  for (const status of [401, 403, 404, 500]) {
    answer = () => Response.json({ kind: "Status", message: "no" }, { status });
    assert.deepEqual(await ask(), { why: `the cluster's API answers ${status}` });
  }
  // The token goes nowhere else.
  answer = () => new Response(null, { status: 307, headers: { location: "https://127.0.0.1:1/" } });
  assert.deepEqual(await ask(), { why: "the cluster's API answers 307" });
  answer = () => new Response("<html>");
  assert.deepEqual(await ask(), { why: "the cluster's API is no JSON" });
  answer = () => new Response(new Uint8Array(2 * 1024 * 1024 + 1));
  assert.deepEqual(await ask(), { why: "the cluster's API cannot be asked: it sends more than 2097152 bytes" });
  const asked = Promise.withResolvers<void>(), late = Promise.withResolvers<Response>();
  answer = () => {
    asked.resolve();
    return late.promise;
  };
  assert.deepEqual(await ask(200), { why: "the cluster's API cannot be asked: it does not answer" });
  await asked.promise;
  late.resolve(new Response());

  const other = await makeCertificates(scratchDirectoryIn(scratch.path));
  const foreign = await ask(undefined, { ...account, ca: Deno.readTextFileSync(other.ca) });
  assert.match("why" in foreign ? foreign.why : "", /^the cluster's API cannot be asked: .*certificate/is);
  assert.match(JSON.stringify(await askOwnImage(system, { ...api, port: "1" }, account, never)), /cannot be asked/);

  const stopped = new AbortController();
  stopped.abort(new Error("stopped"));
  await assert.rejects(askOwnImage(system, api, account, stopped.signal), { message: "stopped" });
});

function scratchDirectoryIn(path: string): string {
  const directory = `${path}/other`;
  Deno.mkdirSync(directory);
  return directory;
}

Deno.test("what os-release says for comparison", () => {
  assert.deepEqual(releaseOf('ID=os\nVARIANT_ID=edge\nVERSION_ID="1.2"\n'), { product: "os edge", version: "1.2" });
  assert.deepEqual(releaseOf("ID=os\nVERSION_ID=1\nIMAGE_REPO=r.example/os\nIMAGE_TAG=v2\n"), {
    product: "r.example/os",
    version: "v2",
  });
  assert.deepEqual(releaseOf(""), { product: " ", version: undefined });
});

Deno.test("the last words of a pod", () => {
  assert.deepEqual([
    renderOutcome({ kind: "done", name: "r.example/os:v2", why: "abababababab" }, "node-1"),
    renderOutcome({ kind: "rebooting", name: "r.example/os:v2" }, "node-1"),
    renderOutcome({ kind: "stopping" }, "node-1"),
    renderOutcome({ kind: "on-trial", name: "r.example/os:v2" }, "node-1"),
  ], [
    "Done: node-1 runs r.example/os:v2 (abababababab).\n",
    "Installed r.example/os:v2. node-1 reboots into it.\n" +
    "  This pod ends with the status 1 on purpose: the next one finds the system running, and ends with 0.\n",
    "Nothing is done while node-1 is going down.\n  This pod ends with the status 1; the next one goes on.\n",
    "node-1 runs r.example/os:v2, which has not said yet that it runs well.\n" +
    "  See on the node what keeps cos-boot-good.service: cos boot status. The next pod looks again.\n",
  ]);
});
