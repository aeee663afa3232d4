/** How a pod of system-upgrade-controller ends, in the words that Kubernetes shows. */
import type { SucOutcome } from "../operations/suc-upgrade.ts";

export function renderOutcome(outcome: SucOutcome, node: string): string {
  switch (outcome.kind) {
    case "done":
      return `Done: ${node} runs ${outcome.name} (${outcome.why}).\n`;
    case "recovery":
      return `Done: the recovery system of ${node} is ${outcome.name}.\n`;
    case "rebooting":
      return `Installed ${outcome.name}. ${node} reboots into it.\n` +
        "  This pod ends with the status 1 on purpose: the next one finds the system running, and ends with 0.\n";
    case "stopping":
      return `Nothing is done while ${node} is going down.\n  This pod ends with the status 1; the next one goes on.\n`;
    case "on-trial":
      return `${node} runs ${outcome.name}, which has not said yet that it runs well.\n` +
        "  See on the node what keeps cos-boot-good.service: cos boot status. The next pod looks again.\n";
  }
}
