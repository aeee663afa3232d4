/** SELinux labels of the new tree: its own file contexts, set by `setfiles`, on the image and on nothing else. */
import { CosError } from "../base/errors.ts";
import { parseKeyValues } from "../formats/key-value.ts";
import { runStage } from "../stages/run-stage.ts";
import { hostRoot, treeRoot } from "../stages/stages.ts";
import type { LoopDevice } from "../system/loop.ts";
import type { TreeRoot } from "../system/tree-root.ts";
import { LIMIT, roomOf, WORKING_TREE } from "./hooks.ts";
import type { Session } from "./session.ts";

const SETFILES = ["usr/sbin/setfiles", "sbin/setfiles"];
const EXCLUDED = ["/dev", "/proc", "/sys"];

/** Returns whether anything was labelled. Throws `TOOL_FAILED`: a system in enforcing mode would not start without. */
export async function relabel(
  session: Session,
  tree: TreeRoot,
  loop: LoopDevice,
  signal: AbortSignal,
): Promise<boolean> {
  const { system: { kernel, self }, events } = session;
  const type = selinuxType(tree),
    directory = `/etc/selinux/${type}`,
    contexts = `${directory}/contexts/files/file_contexts`;
  if ((tree.sizeOf(contexts.slice(1)) ?? 0) === 0) return false;
  const inTree = SETFILES.find(treeRoot(kernel, tree).isProgram), onHost = SETFILES.find(hostRoot(kernel).isProgram);
  const program = inTree ?? onHost;
  if (program === undefined) {
    events({
      kind: "warning",
      text: `The new system has SELinux contexts, and neither it nor this one has setfiles: it is not labelled.`,
    });
    return false;
  }
  events({ kind: "phase", phase: "hooks", text: "Setting SELinux labels" });
  const policy = policyFile(kernel, tree, directory);
  const args = inTree !== undefined
    ? [...policy === undefined ? [] : ["-c", policy], ...EXCLUDED.flatMap((path) => ["-e", path]), "-F", contexts, "/"]
    : ["-r", WORKING_TREE, "-F", `${WORKING_TREE}${contexts}`, WORKING_TREE];
  Deno.mkdirSync(WORKING_TREE, { recursive: true });
  const [failure] = await runStage({
    programs: [{ name: "setfiles", program: `/${program}`, args }],
    refused: [],
  }, {
    self,
    limit: LIMIT,
    env: {},
    room: { ...roomOf(loop, false, inTree === undefined ? [] : ["/proc"]), change: inTree !== undefined },
    line: (name, text) => events({ kind: "output", program: name, text }),
  }, signal);
  if (failure === undefined) return true;
  throw new CosError("TOOL_FAILED", `Cannot label the new system for SELinux: setfiles failed: ${failure.why}.`, {
    hint: "Run it again with --verbose to see all that setfiles says.",
  });
}

/** `SELINUXTYPE` of selinux_config(5). */
function selinuxType(tree: TreeRoot): string {
  const bytes = tree.readFile("etc/selinux/config");
  const type = bytes === undefined ? undefined : parseKeyValues(new TextDecoder().decode(bytes)).get("SELINUXTYPE");
  return type !== undefined && /^[a-z][a-z0-9_-]*$/i.test(type) ? type : "targeted";
}

/** The newest binary policy: contexts are checked against it, not against the kernel that runs. */
function policyFile(kernel: Session["system"]["kernel"], tree: TreeRoot, directory: string): string | undefined {
  const fd = treeRoot(kernel, tree).directory(`${directory.slice(1)}/policy`);
  if (fd === undefined) return undefined;
  try {
    const names = kernel.readDirectory(fd).map(({ name }) => name).filter((name) => /^policy\.[0-9]+$/.test(name));
    const newest = names.sort((a, b) => Number(a.slice(7)) - Number(b.slice(7))).at(-1);
    return newest === undefined ? undefined : `${directory}/policy/${newest}`;
  } finally {
    kernel.close(fd);
  }
}
