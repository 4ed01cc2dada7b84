/**
 * The secrets backend that the variables of an Airflow worker name (Airflow documentation, "Secrets Backend" and
 * "Setting Configuration Options").
 */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { errorCode } from '../../any-error.ts'
import type { Environment } from '../../connections/stores/environment.ts'
import { ConfigError } from '../../errors.ts'

export interface WorkerBackend {
  /** The class under `type`, and its arguments. */
  readonly settings: Readonly<Record<string, unknown>>
  /** How errors name the settings. */
  readonly from: string
}

const SECTIONS = ['AIRFLOW__WORKERS__SECRETS_BACKEND', 'AIRFLOW__SECRETS__BACKEND']

/**
 * The settings of the worker, else those of the server, each with its own arguments. Single arguments
 * (`…_KWARG__<KEY>`) take the place of those in the JSON object (`…_KWARGS`).
 *
 * @throws ConfigError for arguments that are no JSON object; Airflow would go on without any
 */
export async function workerBackend(environment: Environment): Promise<WorkerBackend> {
  const name = SECTIONS.find((variable) => environment[variable])
  if (name === undefined) throw new Error('No variable names a backend.')
  const type = environment[name]?.trim()
  const kwargs = { ...(await objectIn(`${name}_KWARGS`, environment)), ...singlesIn(`${name}_KWARG__`, environment) }
  return { settings: { ...kwargs, type }, from: `The secrets backend in ${name}` }
}

function singlesIn(start: string, environment: Environment): Record<string, unknown> {
  const names = Object.keys(environment).filter((name) => name.startsWith(start) && name.length > start.length)
  return Object.fromEntries(names.map((name) => [name.slice(start.length).toLowerCase(), environment[name]]))
}

async function objectIn(variable: string, environment: Environment): Promise<Readonly<Record<string, unknown>>> {
  const refused = (path: string, message: string, cause?: unknown): ConfigError =>
    new ConfigError([{ path, message }], { subject: 'The secrets backend of the Airflow worker', cause })
  if (environment[`${variable}_SECRET`]) {
    throw refused(`${variable}_SECRET`, 'is not supported; the backend cannot hold its own arguments')
  }
  const command = environment[`${variable}_CMD`]
  const isCommand = !environment[variable] && command !== undefined && command !== ''
  const source = isCommand ? `${variable}_CMD` : variable
  const text = isCommand
    ? await output(command, (message, cause) => refused(source, message, cause), environment)
    : environment[variable]
  if (text === undefined || text.trim() === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message quotes the text, which may hold a token.
    throw refused(source, 'is not valid JSON')
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw refused(source, 'expected a JSON object')
}

const COMMAND_LIMIT_MILLIS = 30_000

/** The output of a command, which no shell reads. */
async function output(
  command: string,
  fail: (message: string, cause?: unknown) => ConfigError,
  environment: Environment,
): Promise<string> {
  const [program, ...args] = words(command) ?? []
  if (program === undefined) throw fail('expected a command; a quote is not closed, or it is empty')
  try {
    const { stdout } = await promisify(execFile)(program, args, { env: environment, timeout: COMMAND_LIMIT_MILLIS })
    return stdout
  } catch (error) {
    // The error quotes the command and what it wrote.
    throw fail(`the command failed (${errorCode(error) ?? 'it was ended'})`)
  }
}

const WORD = /(?:'[^']*'|"(?:\\[\s\S]|[^"\\])*"|\\[\s\S]|[^\s'"\\])+/y
const QUOTED = /'([^']*)'|"((?:\\[\s\S]|[^"\\])*)"|\\([\s\S])/g

/** The words of a command by the rules of Python's shlex.split; undefined where a quote is not closed. */
function words(command: string): readonly string[] | undefined {
  const found: string[] = []
  let rest = command.trim()
  while (rest !== '') {
    WORD.lastIndex = 0
    const [word] = WORD.exec(rest) ?? []
    const after = word === undefined ? '' : rest.slice(word.length)
    if (word === undefined || /^\S/.test(after)) return undefined
    found.push(word.replaceAll(QUOTED, unquoted))
    rest = after.trimStart()
  }
  return found
}

function unquoted(_: string, single?: string, double?: string, escaped?: string): string {
  return single ?? double?.replaceAll(/\\([\\"])/g, '$1') ?? escaped ?? ''
}
