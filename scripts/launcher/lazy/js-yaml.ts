export { dump, FAILSAFE_SCHEMA, load, mergeTag, YAMLException } from "js-yaml";
