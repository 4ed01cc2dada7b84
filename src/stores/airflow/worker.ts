/**
 * The secrets backend that the variables of an Airflow worker name (Airflow documentation, "Secrets Backend" and
 * "Setting Configuration Options").
 */

import { LONGEST_RECORD } from '../../connections/limits.ts'
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
  if (environment[`${variable}_SECRET`]) {
    throw refused(`${variable}_SECRET`, 'is not supported; the backend cannot hold its own arguments')
  }
  const { [variable]: given, [`${variable}_CMD`]: command } = environment
  const source = given || !command ? variable : `${variable}_CMD`
  const text =
    source === variable ? expanded(given ?? '', source, environment) : await output(command ?? '', source, environment)
  if (text.trim() === '') return {}
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

function refused(path: string, message: string, hint?: string): ConfigError {
  return new ConfigError([{ path, message }], { subject: 'The secrets backend of the Airflow worker', hint })
}

/** Variables may name each other; Airflow would expand one that names itself for ever. */
const MOST_EXPANSIONS = 10

/**
 * The text with the values of `$NAME` and `${NAME}` in place of them, again until nothing changes, as Airflow reads its
 * variables. A name that is not set stays.
 */
function expanded(text: string, source: string, environment: Environment): string {
  let present = text
  for (let round = 0; round <= MOST_EXPANSIONS; round++) {
    const next = present.replaceAll(/\$(?:(\w+)|\{([^}]*)\})/g, (whole, name?: string, braced?: string) => {
      return environment[name ?? braced ?? ''] ?? whole
    })
    if (next === present) return present
    if (next.length > LONGEST_RECORD) break
    present = next
  }
  throw refused(source, 'the variables that it names refer to themselves, or are too long')
}

const COMMAND_LIMITS = { limitMillis: 30_000, longestBytes: LONGEST_RECORD }

/** The output of a command, which no shell reads. */
async function output(command: string, source: string, environment: Environment): Promise<string> {
  const hint =
    'Run it by hand as this user to see why. It has to print a JSON object alone, and must not ask for anything.'
  const [program, ...args] = words(command) ?? []
  if (program === undefined) throw refused(source, 'expected a command; a quote is not closed, or it is empty')
  const failed = (what: string): ConfigError => refused(source, `the command ${what}`, hint)
  const signal = new AbortController().signal
  const { shellOutput } = await import('../../shell-command.ts')
  const text = await shellOutput({ command: [program, ...args], environment, signal, failed, ...COMMAND_LIMITS })
  if (text.trim() === '') throw failed('printed nothing')
  return text
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
