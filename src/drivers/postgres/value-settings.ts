/**
 * The settings of a session that decide the form of values and the meaning of literals.
 *
 * A role, a database or a configuration file may set them to any value, and pg can read one form of each: it returns null
 * for a date in the German style, and an empty object for an interval in the ISO style. Most of them are sent in the
 * start-up message, where they override the role and the database and survive DISCARD ALL. After the login they are
 * compared with what the server reports and corrected by SET, since a pooler may refuse or ignore them at the start.
 */

import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'

interface Setting {
  readonly name: string
  readonly value: string
  /** Whether it may be part of the start-up message. */
  readonly atStart: boolean
  /** Whether the server reports it. */
  readonly reported: boolean
  /** Whether the value of the very session must be queried where the start-up message may not have set it. */
  readonly queried: boolean
  readonly isRight: (value: string, serverMajor: number) => boolean
}

const SETTINGS: readonly Setting[] = [
  {
    name: 'client_encoding',
    value: 'UTF8',
    atStart: true,
    reported: true,
    queried: false,
    isRight: (value) => /^(utf-?8|unicode)$/i.test(value),
  },
  {
    name: 'DateStyle',
    // SET changes the style alone and keeps the order of day and month, by which input is read. The start-up message
    // would reset the role's order to the one of the configuration file.
    value: 'ISO',
    atStart: false,
    reported: true,
    queried: false,
    isRight: (value) => /^iso\b/i.test(value),
  },
  {
    name: 'standard_conforming_strings',
    value: 'on',
    atStart: true,
    reported: true,
    queried: false,
    isRight: (value) => value === 'on',
  },
  {
    name: 'extra_float_digits',
    value: '3',
    atStart: true,
    reported: false,
    queried: true,
    // Since PostgreSQL 12 every value above 0 gives the shortest exact form of a float.
    isRight: (value, serverMajor) => Number(value) >= (serverMajor >= 12 ? 1 : 3),
  },
  // Behind the one above, which shows whether the start-up message has set them.
  {
    name: 'IntervalStyle',
    value: 'postgres',
    atStart: true,
    reported: true,
    // PgBouncer repeats the report of an earlier session with the server; the other settings it sets to what it reports.
    queried: true,
    isRight: (value) => value === 'postgres',
  },
]

/** The reported settings that are followed during the session. */
export const REPORTED_SETTINGS: ReadonlySet<string> = new Set([
  ...SETTINGS.filter(({ reported }) => reported).map(({ name }) => name),
  'server_version',
])

/** Sent in any case, since no text could be read without it. */
const INDISPENSABLE = 'client_encoding'

/** The value of this one shows whether the start-up message has set it. */
const UNUSUAL = 'extra_float_digits'

/** The SQLSTATEs of a server or pooler that does not know a parameter of the start-up message. */
const UNKNOWN_PARAMETER: ReadonlySet<string> = new Set(['08P01', '0A000', '22023', '42704'])
/** PgBouncer uses it for every error. It judges the parameters before it asks for a proof. */
const ANY_OF_POOLER = '08P01'

/** The result of a statement: the first value of its row, or the fields of its error. */
export interface Answer {
  readonly value?: string | undefined
  readonly error?: Readonly<Record<string, string>>
}

/** Runs one statement on a session that is not in use. */
export type Ask = (sql: string) => Promise<Answer>

/** The settings for the sessions at one place, and whether its server accepts them at the start. */
export class ValueSettings {
  readonly #settings: readonly Setting[]
  /** Whether the server accepts them in the start-up message; undefined while that is unknown. */
  #atStart: boolean | undefined

  /** @param options the user's `options`; a setting that is named there is left alone, and read by the user's own parsers */
  constructor(options: string | undefined) {
    const own = new Set(namesIn(options ?? ''))
    this.#settings = SETTINGS.filter(({ name }) => name === INDISPENSABLE || !own.has(name.toLowerCase()))
  }

  /** The parameters for the next start-up message. */
  parameters(): Readonly<Record<string, string>> {
    const sent = this.#settings.filter(({ name, atStart }) => {
      return atStart && (name === INDISPENSABLE || this.#atStart !== false)
    })
    return Object.fromEntries(sent.map(({ name, value }) => [name, value]))
  }

  /**
   * Whether an error at the login means that a parameter of the start-up message is unknown, so that another attempt
   * without these settings may succeed. From then on they are left out.
   *
   * @param proving whether the server had asked for a proof of identity
   */
  refusedBy(
    fields: Readonly<Record<string, string>>,
    sent: Readonly<Record<string, string>>,
    proving: boolean,
  ): boolean {
    const optional = Object.keys(sent).some((name) => {
      return name !== INDISPENSABLE && this.#settings.some((setting) => setting.name === name)
    })
    const { C: code = '' } = fields
    if (!optional || !UNKNOWN_PARAMETER.has(code) || (proving && code === ANY_OF_POOLER)) return false
    this.#atStart = false
    return true
  }

  /**
   * Corrects the settings that have another value: after the login, and after DISCARD ALL.
   *
   * @param reported the settings that the server has reported so far
   * @throws PoolsmithError SETTING_REFUSED
   */
  async correct(reported: ReadonlyMap<string, string>, ask: Ask): Promise<void> {
    const version = reported.get('server_version')
    const major = Number.parseInt(version ?? '0', 10)
    for (const setting of this.#settings) {
      const { name, value, isRight, queried } = setting
      // Every server and pooler reports its version, on which the right value of an unreported setting depends.
      const asks = queried && version !== undefined && this.#atStart !== true
      const is = (asks ? await this.#askedFor(setting, ask) : undefined) ?? reported.get(name)
      if (is === undefined || isRight(is, major)) continue
      const { error } = await ask(`set ${name} to '${value}'`)
      // A pooler may not report the change, or may have made it on another session than the next statement's.
      const { value: after } = await ask(`show ${name}`)
      if (after === undefined || !isRight(after, major)) throw refused(setting, after ?? is, error)
    }
  }

  /** Queries a setting that is not reported; undefined where it does not exist. */
  async #askedFor({ name, value }: Setting, ask: Ask): Promise<string | undefined> {
    const { value: is } = await ask(`show ${name}`)
    // A pooler that ignores the start-up message is detected by a value that no server has by itself. Where the message
    // is accepted nothing is queried again.
    if (this.#atStart === undefined && name === UNUSUAL && is === value) this.#atStart = true
    return is
  }
}

function refused(
  { name, value }: Setting,
  is: string,
  error: Readonly<Record<string, string>> | undefined,
): PoolsmithError {
  const why = error?.M === undefined ? '' : `: ${printable(error.M)}`
  return new PoolsmithError(`The server keeps ${name} at ${printable(is, 100)} and does not take ${value}${why}.`, {
    code: 'SETTING_REFUSED',
    phase: 'login',
    hint:
      `Values could not be read. Set ${name} to ${value} for the role and the database; a pooler that gives each ` +
      'transaction another session must keep track of it.',
    details: { setting: name, value: printable(is, 100) },
  })
}

/** The settings that command line options for a server process name: `-c name=value` and `--name=value`. */
function namesIn(options: string): readonly string[] {
  const found = options.matchAll(/(?:^|\s)(?:-c\s*|--)([a-z_][\w.-]*)\s*=/gi)
  return Array.from(found, ([, name = '']) => name.toLowerCase().replaceAll('-', '_'))
}
