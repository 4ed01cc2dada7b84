/** The part of this folder that other rooms use: tables of options, and how they are read. */

export {
  boolean,
  type Field,
  FieldMismatch,
  type Fields,
  homeFolder,
  integer,
  LONGEST_TIMER_SECONDS,
  list,
  oneOf,
  path,
  seconds,
  secret,
  show,
  text,
  textProblem,
  type ValuesOf,
} from './field-types.ts'
export { parseFields } from './parse-fields.ts'
export { pem } from './pem-field.ts'
export { childPath } from './problem-path.ts'
export { type ForeignOption, type ForeignOptions, plainName } from './protection.ts'
export { reference } from './reference.ts'
export { isPort, looksLikeServer, serverAddress } from './server-address.ts'
