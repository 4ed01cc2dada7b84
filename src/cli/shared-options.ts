/** Arguments and options that several commands have, and what they mean to the engine. */

import { LONGEST_TIMER_SECONDS } from '../connections/fields.ts'
import type { StoreOptions } from '../stores/options.ts'
import { type Call, type CommandOption, UsageError } from './command.ts'

export const CONNECTION_ARGUMENT = {
  name: 'connection',
  description:
    'The id of a configured connection, a URI (postgres://...), the connection string of another program, or JSON.',
}

export const STORE_OPTIONS = {
  connections: {
    type: 'string',
    value: 'FILE',
    description:
      'The connections file. Default: POOLSMITH_CONNECTIONS_FILE, else connections.yaml, .yml or .json in this folder.',
  },
} as const satisfies Record<string, CommandOption>

/** Where ids are looked up. */
export function storesOf({ values, environment }: Call): StoreOptions {
  const file = values['connections']
  return { environment, ...(typeof file === 'string' ? { file } : {}) }
}

export const TIMEOUT_OPTION = {
  timeout: {
    type: 'string',
    value: 'SECONDS',
    description: "Give up on connecting after this long. Default: the connection's pool_timeout.",
  },
} as const satisfies Record<string, CommandOption>

/** The pool option that `--timeout` stands for. */
export function timeoutOf({ values }: Call): { readonly pool_timeout?: number } {
  const given = values['timeout']
  if (given === undefined) return {}
  const seconds = typeof given === 'string' && given.trim() !== '' ? Number(given) : Number.NaN
  if (!(seconds > 0 && seconds <= LONGEST_TIMER_SECONDS)) {
    const range = `greater than 0 and at most ${LONGEST_TIMER_SECONDS}`
    throw new UsageError(`--timeout expects a number of seconds ${range}, got ${JSON.stringify(given)}.`)
  }
  return { pool_timeout: seconds }
}
