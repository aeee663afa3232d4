/** Each example in docs/kubernetes.md is what its resource's reference says, and fits the others. */
import assert from "node:assert/strict";
import { loadAll } from "js-yaml";
import { parseAuthFile } from "../../lib/config/auth-file.ts";
import { parsePolicy } from "../../lib/trust/policy-file.ts";
import { checkResource, type Plan } from "../lab/kubernetes-schema.ts";

const PAGE = Deno.readTextFileSync(new URL("../../docs/kubernetes.md", import.meta.url));

function resources(): { kind: string; value: unknown }[] {
  return [...PAGE.matchAll(/```yaml\n(?:# (\S*)[^\n]*\n)?([^]*?)```/g)].flatMap(([, name = "", text = ""]) =>
    loadAll(text).map((value) => ({ kind: checkResource(value, name).kind, value }))
  );
}

Deno.test("every example is of its resource's form", () => {
  assert.deepEqual(resources().map(({ kind }) => kind), [
    "Plan",
    "Plan",
    "Plan",
    "Secret",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRoleBinding",
    "GitRepo",
    "fleet.yaml",
  ]);
});

Deno.test("the schema finds what is none: a misspelt field, one in the wrong place, a wrong type", () => {
  const good = resources().find(({ kind }) => kind === "Plan")?.value as Plan;
  const wrong: unknown[] = [
    { ...good, spec: { ...good.spec, jobActiveDeadlineSeconds: 1 } },
    { ...good, spec: { ...good.spec, concurrency: "1" } },
    { ...good, spec: { ...good.spec, upgrade: { ...good.spec.upgrade, env: [] } } },
    { ...good, spec: { ...good.spec, drain: { timeout: "ten minutes" } } },
    { ...good, exclusive: true },
    { ...good, kind: "Plam" },
    { ...good, apiVersion: "upgrade.cattle.io/v2" },
  ];
  for (const value of wrong) assert.throws(() => checkResource(value, ""));
});

Deno.test("the Plans fit together: accounts exist, deadlines are long, one node at a time among servers", () => {
  const all = resources(), plans = all.filter(({ kind }) => kind === "Plan").map(({ value }) => (value as Plan).spec);
  const names = (of: string) =>
    all.filter(({ kind }) => kind === of).map(({ value }) => (value as { metadata: { name: string } }).metadata.name);
  for (const { serviceAccountName, jobActiveDeadlineSecs = 0, secrets = [], upgrade } of plans) {
    if (serviceAccountName !== undefined) assert.deepEqual(names("ServiceAccount"), [serviceAccountName]);
    assert.ok(jobActiveDeadlineSecs >= 1800);
    for (const { name } of secrets) assert.ok(names("Secret").includes(name));
    assert.ok(upgrade.command?.some((word) => word.endsWith("suc-upgrade")));
  }
  assert.deepEqual(plans.map(({ concurrency, exclusive }) => [concurrency, exclusive]), [[1, true], [2, true], [
    1,
    undefined,
  ]]);
});

Deno.test("the login and the policy in the page are read", () => {
  const secret = resources().find(({ kind }) => kind === "Secret")?.value as { stringData: Record<string, string> };
  parseAuthFile(secret.stringData[".dockerconfigjson"] ?? "", "the page");
  const [, scope = ""] = /allows the pod's files only by name, `("directory"[^`]*)`/.exec(PAGE.replaceAll("\n", " ")) ??
    [];
  const policy = JSON.stringify({ default: [{ type: "reject" }], transports: JSON.parse(`{${scope}}`) });
  const file = parsePolicy(new TextEncoder().encode(policy), true);
  assert.equal(file.scopeOf({ kind: "directory", path: "/" })?.name, "directory");
});
