import { displayText } from "../lib/base/byte-string.ts";
import { SETTING_NAMES, SETTINGS } from "../lib/config/settings-table.ts";
import { renderSettings } from "../lib/ui/config.ts";
import { type CommonFlags, type CosContext, resultJson, runJob } from "./context.ts";
import { machineSettings } from "./settings.ts";

export type ConfigFlags = Omit<CommonFlags, "state">;

export async function runConfig(this: CosContext, flags: ConfigFlags): Promise<void> {
  await runJob(this, flags, async ({ print }) => {
    const settings = await machineSettings([]);
    if (flags.json) {
      const values = Object.fromEntries(SETTING_NAMES.map((name) => {
        const { value, origin, key, place } = settings[name], { about } = SETTINGS[name];
        return [name, { about, value, origin, ...place !== "default" && { key } }];
      }));
      print(resultJson("config", { settings: values }));
      return;
    }
    print(renderSettings(SETTING_NAMES.map((name) => {
      const { value, origin, key } = settings[name];
      return { name, value: typeof value === "string" ? displayText(value) : value, origin, key };
    })));
  });
}
