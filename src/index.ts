export { explanations, UsernsError, type UsernsErrorCode, type UsernsErrorDetails } from "./errors.ts";
export type { Extents, IdKind, IdMap } from "./mapping/extent.ts";
export { Mapping, type MappingInput, type MappingSyntax, type OciMappings } from "./mapping/mapping.ts";
