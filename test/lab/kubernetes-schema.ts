/**
 * What the examples of docs/kubernetes.md must look like. The Plan is written after the controller's own reference (its
 * doc/plan.md, "API Reference"), the rest after those of Kubernetes and Fleet; strict, so that a field that is none is found.
 */
import * as z from "zod/mini";

const metadata = z.strictObject({ name: z.string(), namespace: z.string() });
const requirement = z.strictObject({
  key: z.string(),
  operator: z.enum(["In", "NotIn", "Exists", "DoesNotExist"]),
  values: z.optional(z.array(z.string())),
});
const selector = z.strictObject({
  matchLabels: z.optional(z.record(z.string(), z.string())),
  matchExpressions: z.optional(z.array(requirement)),
});
const duration = z.string().check(z.regex(/^(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+$/));
const whole = z.int().check(z.nonnegative());

const container = z.strictObject({
  image: z.string(),
  command: z.optional(z.array(z.string())),
  args: z.optional(z.array(z.string())),
  envs: z.optional(z.array(z.strictObject({ name: z.string(), value: z.string() }))),
  volumes: z.optional(z.array(z.strictObject({ name: z.string(), source: z.string(), destination: z.string() }))),
});

const plan = z.strictObject({
  apiVersion: z.literal("upgrade.cattle.io/v1"),
  kind: z.literal("Plan"),
  metadata,
  spec: z.strictObject({
    concurrency: z.optional(whole),
    jobActiveDeadlineSecs: z.optional(whole),
    nodeSelector: z.optional(selector),
    serviceAccountName: z.optional(z.string()),
    channel: z.optional(z.string()),
    version: z.optional(z.string()),
    secrets: z.optional(z.array(
      z.strictObject({ name: z.string(), path: z.string(), ignoreUpdates: z.optional(z.boolean()) }),
    )),
    tolerations: z.optional(z.array(z.strictObject({
      key: z.string(),
      operator: z.enum(["Exists", "Equal"]),
      value: z.optional(z.string()),
      effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    }))),
    exclusive: z.optional(z.boolean()),
    prepare: z.optional(container),
    upgrade: container,
    cordon: z.optional(z.boolean()),
    drain: z.optional(z.strictObject({
      timeout: z.optional(duration),
      gracePeriod: z.optional(whole),
      deleteLocalData: z.optional(z.boolean()),
      deleteEmptydirData: z.optional(z.boolean()),
      ignoreDaemonSets: z.optional(z.boolean()),
      force: z.optional(z.boolean()),
      disableEviction: z.optional(z.boolean()),
      skipWaitForDeleteTimeout: z.optional(whole),
      podSelector: z.optional(selector),
    })),
    imagePullSecrets: z.optional(z.array(z.strictObject({ name: z.string() }))),
    postCompleteDelay: z.optional(duration),
  }),
});

const rbac = "rbac.authorization.k8s.io";
const role = z.strictObject({
  apiVersion: z.literal(`${rbac}/v1`),
  kind: z.literal("Role"),
  metadata,
  rules: z.array(z.strictObject({
    apiGroups: z.array(z.string()),
    resources: z.array(z.string()),
    verbs: z.array(z.enum(["get", "list", "watch", "create", "update", "patch", "delete"])),
  })),
});
const serviceAccount = z.strictObject({ kind: z.literal("ServiceAccount"), name: z.string(), namespace: z.string() });
const binding = z.strictObject({
  apiVersion: z.literal(`${rbac}/v1`),
  kind: z.literal("RoleBinding"),
  metadata,
  roleRef: z.strictObject({ apiGroup: z.literal(rbac), kind: z.literal("Role"), name: z.string() }),
  subjects: z.array(serviceAccount),
});
const clusterBinding = z.strictObject({
  apiVersion: z.literal(`${rbac}/v1`),
  kind: z.literal("ClusterRoleBinding"),
  metadata: z.strictObject({ name: z.string() }),
  roleRef: z.strictObject({ apiGroup: z.literal(rbac), kind: z.literal("ClusterRole"), name: z.string() }),
  subjects: z.array(serviceAccount),
});
const account = z.strictObject({ apiVersion: z.literal("v1"), kind: z.literal("ServiceAccount"), metadata });
const secret = z.strictObject({
  apiVersion: z.literal("v1"),
  kind: z.literal("Secret"),
  metadata,
  type: z.string(),
  stringData: z.record(z.string(), z.string()),
});

const clusters = { clusterSelector: selector };
const gitRepo = z.strictObject({
  apiVersion: z.literal("fleet.cattle.io/v1alpha1"),
  kind: z.literal("GitRepo"),
  metadata,
  spec: z.strictObject({
    repo: z.string(),
    branch: z.string(),
    paths: z.array(z.string()),
    targets: z.array(z.strictObject({ name: z.string(), ...clusters })),
  }),
});
const share = z.union([whole, z.string().check(z.regex(/^[0-9]+%$/))]);
/** It has no kind: it is told by its file's name. */
const fleet = z.strictObject({
  defaultNamespace: z.string(),
  rolloutStrategy: z.strictObject({
    maxUnavailable: share,
    maxUnavailablePartitions: share,
    partitions: z.array(z.strictObject({ name: z.string(), maxUnavailable: share, ...clusters })),
  }),
});

const KINDS = {
  Plan: plan,
  Role: role,
  RoleBinding: binding,
  ClusterRoleBinding: clusterBinding,
  ServiceAccount: account,
  Secret: secret,
  GitRepo: gitRepo,
};

export type Plan = z.infer<typeof plan>;

/** Throws what is wrong with it. @param name its file's, for what has no kind. */
export function checkResource(value: unknown, name: string): { kind: string } {
  const kind = (value as { kind?: keyof typeof KINDS }).kind;
  if (kind === undefined && name.endsWith("fleet.yaml")) return { kind: fleet.parse(value) && "fleet.yaml" };
  const schema = kind === undefined ? undefined : KINDS[kind];
  if (schema === undefined) throw new Error(`unknown kind ${kind}`);
  return schema.parse(value);
}
