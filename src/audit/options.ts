/** The options of an audit log. */

import { nearest } from '../did-you-mean.ts'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { isPlausiblePath } from '../plausible-path.ts'
import type { AuditEvent } from './line.ts'

/** A logger with the calls of `pino`. */
export interface AuditLogger {
  info(event: AuditEvent, message: string): void
  /** Under `required` the answer waits for its callback, as of `pino`. */
  flush?(done: (error?: Error) => void): void
}

/** Options of `openAuditLog`, and of `audit` in the options of an engine. One of `file`, `logger` and `sink`. */
export interface AuditOptions {
  /**
   * `on`: a line that cannot be written is told by the event `audit:failed`. `required`: a line is durable before the answer
   * reaches the caller, and the operation fails when it cannot be. `off`: nothing is written. Default: `audit` of the
   * record, else `on`.
   */
  readonly mode?: 'off' | 'on' | 'required'
  /** A file that lines are appended to; made with mode 0600, opened anew on SIGHUP. Default: `audit_file` of the record. */
  readonly file?: string
  readonly logger?: AuditLogger
  /** Is called with each event. Under `required` the answer waits for its promise. */
  readonly sink?: (event: AuditEvent) => Promise<void> | void
  /** Put the hash of the line before into each line of the file. Default false, or `audit_chain` of the record. */
  readonly chain?: boolean
  /**
   * The part of a statement that a line has. `hash`: the hash of its text without the values in it. `text`: that text too. `values`:
   * the text as it was sent, and its parameters, which may be secrets. Default `hash`, or `audit_query` of the record.
   */
  readonly query?: 'hash' | 'text' | 'values'
}

const CHOICES: Readonly<Record<string, readonly string[]>> = {
  mode: ['off', 'on', 'required'],
  query: ['hash', 'text', 'values'],
}
const KEYS = ['mode', 'file', 'logger', 'sink', 'chain', 'query']
const SINKS = ['file', 'logger', 'sink']

/**
 * Checks options of a program that is not type-checked.
 *
 * @param path in front of each problem: `audit`
 * @throws ConfigError
 */
export function checkAuditOptions(options: unknown, path = ''): AuditOptions {
  if (typeof options !== 'object' || options === null)
    throw new ConfigError([{ path, message: 'expected an object with the options of the audit log' }])
  const given = options as Record<string, unknown>
  const problems: ConfigProblem[] = []
  const refuse = (key: string, message: string): void => {
    problems.push({ path: path === '' ? key : `${path}.${key}`, message })
  }
  for (const key of Object.keys(given)) {
    if (KEYS.includes(key)) continue
    const near = nearest(key, KEYS)
    refuse(key, `unknown key${near === undefined ? '' : `; did you mean ${near}?`}`)
  }
  for (const [key, words] of Object.entries(CHOICES)) {
    const value = given[key]
    if (value !== undefined && !words.includes(value as string)) refuse(key, `expected one of ${words.join(', ')}`)
  }
  const { file, logger, sink, chain } = given as AuditOptions
  if (file !== undefined && !(typeof file === 'string' && isPlausiblePath(file)))
    refuse('file', 'expected the path of a file')
  if (logger !== undefined && typeof logger?.info !== 'function')
    refuse('logger', 'expected a logger with a method info')
  if (sink !== undefined && typeof sink !== 'function') refuse('sink', 'expected a function')
  if (chain !== undefined && typeof chain !== 'boolean') refuse('chain', 'expected true or false')
  const sinks = SINKS.filter((key) => given[key] !== undefined)
  if (sinks.length > 1) refuse(sinks[1] as string, `cannot be given together with ${sinks[0]}`)
  if (sinks.length === 0 && given['mode'] !== 'off') refuse('file', 'is missing: give file, logger or sink')
  if (chain === true && file === undefined && sinks.length > 0) refuse('chain', 'needs a file')
  if (problems.length > 0)
    throw new ConfigError(problems, { subject: 'The audit log', hint: 'docs/audit.md has the options.' })
  return given as AuditOptions
}
