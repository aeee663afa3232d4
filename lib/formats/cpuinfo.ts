/** What instructions a processor has, by the words of `/proc/cpuinfo`. */

/** The x86-64 psABI, section 3.1.1, table "Micro-Architecture Levels", as Linux names the features. */
const LEVELS: readonly (readonly string[])[] = [
  ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
  ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
  ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/** 1 to 4: the highest level whose instructions all processors have; 1 where the text says nothing. */
export function x86Level(cpuinfo: string): number {
  const processors = new Set([...cpuinfo.matchAll(/^flags[ \t]*:[ \t]*(.*)$/gm)].map((match) => match[1] ?? ""));
  const levels = [...processors].map((flags) => {
    const words = new Set(flags.split(/\s+/));
    const missing = LEVELS.findIndex((level) => !level.every((feature) => words.has(feature)));
    return missing < 0 ? LEVELS.length + 1 : missing + 1;
  });
  return levels.length === 0 ? 1 : Math.min(...levels);
}
