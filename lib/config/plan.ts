/** What system-upgrade-controller, the Plan and Kubernetes tell a pod through its environment. */
import { hasTagOrDigest, namesHost } from "../formats/reference.ts";
import type { Environment } from "./environment.ts";
import { readBoolean } from "./settings-table.ts";

export interface PlanEnvironment {
  /** Where the host's root is mounted: HOST_DIR, else `/host`. */
  host: string;
  /** UPGRADE_IMAGE, with the Plan's version as its tag where it has neither tag nor digest. */
  image?: string;
  /** FORCE: install also what is older, or says of itself that it is the same. */
  force: boolean;
  /** For people, and for the record. */
  plan: string;
  node: string;
  /** What changes whenever the Plan does; empty where nothing tells. */
  hash: string;
  /** The cluster's API, and this pod's name there. */
  api?: { host: string; port: string; pod: string };
  /** UPGRADE_RECOVERY, UPGRADE_RECOVERY_ONLY: whether the recovery system is to become the same, or nothing else. */
  recovery: "keep" | "also" | "only";
}

export function planEnvironment(env: Environment): PlanEnvironment {
  const given = (name: string) => env(name) || undefined,
    isTrue = (name: string) => readBoolean(env(name) ?? "") === true;
  const image = given("UPGRADE_IMAGE"), version = given("SYSTEM_UPGRADE_PLAN_LATEST_VERSION");
  const host = given("KUBERNETES_SERVICE_HOST"), pod = given("SYSTEM_UPGRADE_POD_NAME");
  return {
    host: (given("HOST_DIR") ?? "/host").replace(/\/+$/, ""),
    image: image === undefined || version === undefined ? image : withTag(image, version),
    force: isTrue("FORCE"),
    plan: name(given("SYSTEM_UPGRADE_PLAN_NAME")) ?? "(without a name)",
    node: name(given("SYSTEM_UPGRADE_NODE_NAME")) ?? "This node",
    hash: given("SYSTEM_UPGRADE_PLAN_LATEST_HASH") ?? "",
    ...host !== undefined && pod !== undefined && {
      api: { host, port: given("KUBERNETES_SERVICE_PORT") ?? "443", pod },
    },
    recovery: isTrue("UPGRADE_RECOVERY_ONLY") ? "only" : isTrue("UPGRADE_RECOVERY") ? "also" : "keep",
  };
}

/**
 * As the controller does it with the images of a Plan: only where there is neither tag nor digest, and with "-" for the "+" that
 * tags cannot hold. A name that is no registry's ("system/cos") stays as it is, to be refused: a tag would make it Docker Hub's.
 */
function withTag(image: string, version: string): string {
  return namesHost(image) && !hasTagOrDigest(image) ? `${image}:${version.replaceAll("+", "-")}` : image;
}

/** From the environment into a record and onto terminals: nothing but what a name in Kubernetes may be made of. */
function name(value: string | undefined): string | undefined {
  return value !== undefined && /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(value) ? value : undefined;
}
