/**
 * The settings of a session that decide in which form values come, and how literals are read.
 *
 * A role, a database or a configuration file may set them to anything, and pg reads one form of each: it gives null for a
 * date in the German style, and an empty object for an interval in ISO's. Most of them go into the start-up message,
 * where they come before those of the role and the database and stay after DISCARD ALL. What the server reports after
 * the login is compared, and put right by SET; a pooler may know none of them in the start-up message, or ignore them.
 */

import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'

interface Setting {
  readonly name: string
  readonly value: string
  /** False: it is never part of the start-up message. */
  readonly atStart: boolean
  /** False: the server does not report it, and must be asked. */
  readonly reported: boolean
  readonly isRight: (value: string, serverMajor: number) => boolean
}

const SETTINGS: readonly Setting[] = [
  {
    name: 'client_encoding',
    value: 'UTF8',
    atStart: true,
    reported: true,
    isRight: (value) => /^(utf-?8|unicode)$/i.test(value),
  },
  {
    name: 'DateStyle',
    // The style alone: SET keeps the order of day and month, by which the role's input is read. The start-up message
    // would put the order of the configuration file in its place.
    value: 'ISO',
    atStart: false,
    reported: true,
    isRight: (value) => /^iso\b/i.test(value),
  },
  {
    name: 'IntervalStyle',
    value: 'postgres',
    atStart: true,
    reported: true,
    isRight: (value) => value === 'postgres',
  },
  {
    name: 'standard_conforming_strings',
    value: 'on',
    atStart: true,
    reported: true,
    isRight: (value) => value === 'on',
  },
  {
    name: 'extra_float_digits',
    value: '3',
    atStart: true,
    reported: false,
    // All digits of a float: since PostgreSQL 12 every value above 0 gives the shortest exact form.
    isRight: (value, serverMajor) => Number(value) >= (serverMajor >= 12 ? 1 : 3),
  },
]

/** The reported settings that are looked at after the login too. */
export const REPORTED_SETTINGS: ReadonlySet<string> = new Set([
  ...SETTINGS.filter(({ reported }) => reported).map(({ name }) => name),
  'server_version',
])

/** Without it no text can be read, whatever the user wishes. */
const INDISPENSABLE = 'client_encoding'

/** SQLSTATEs of a server or pooler that does not know a parameter of the start-up message. */
const UNKNOWN_PARAMETER: ReadonlySet<string> = new Set(['08P01', '0A000', '22023', '42704'])

/** How a statement ended: the first value of its row, or the fields of its error. */
export interface Answer {
  readonly value?: string | undefined
  readonly error?: Readonly<Record<string, string>>
}

/** Runs one statement on a session that nobody else uses yet. */
export type Ask = (sql: string) => Promise<Answer>

/** The settings for the sessions of one driver, and what is known of how its server takes them. */
export class ValueSettings {
  readonly #settings: readonly Setting[]
  /** Whether the start-up message may hold them: undefined until a server has shown that it heeds them. */
  #atStart: boolean | undefined

  /** @param options the user's `options`; what they set is left alone, since who sets it also reads it */
  constructor(options: string | undefined) {
    const own = new Set(namesIn(options ?? ''))
    this.#settings = SETTINGS.filter(({ name }) => name === INDISPENSABLE || !own.has(name.toLowerCase()))
  }

  /** For the next start-up message. */
  parameters(): Readonly<Record<string, string>> {
    const sent = this.#settings.filter(({ name, atStart }) => {
      return atStart && (name === INDISPENSABLE || this.#atStart !== false)
    })
    return Object.fromEntries(sent.map(({ name, value }) => [name, value]))
  }

  /**
   * Whether an error at the login says that the start-up message held a parameter that is not known, so that another
   * attempt without these settings may succeed. From then on they are left out.
   */
  refusedBy(fields: Readonly<Record<string, string>>, sent: Readonly<Record<string, string>>): boolean {
    const optional = Object.keys(sent).some((name) => {
      return name !== INDISPENSABLE && this.#settings.some((setting) => setting.name === name)
    })
    if (!optional || !UNKNOWN_PARAMETER.has(fields.C ?? '')) return false
    this.#atStart = false
    return true
  }

  /**
   * Puts right what is not as it must be: after the login, and after DISCARD ALL.
   *
   * @param reported what the server has reported so far
   * @throws PoolsmithError SETTING_REFUSED
   */
  async putRight(reported: ReadonlyMap<string, string>, ask: Ask): Promise<void> {
    const version = reported.get('server_version')
    // Every server and pooler says which it is; of one that does not, nothing can be judged that it does not report.
    const asks = version !== undefined && this.#atStart !== true
    const major = Number.parseInt(version ?? '0', 10)
    for (const setting of this.#settings) {
      const { name, value, isRight } = setting
      const is = setting.reported ? reported.get(name) : asks ? await this.#askedFor(setting, ask) : undefined
      if (is === undefined || isRight(is, major)) continue
      const { error } = await ask(`set ${name} to '${value}'`)
      // A pooler may report nothing of the change, or have made it on another session than the one that comes next.
      const { value: after } = await ask(`show ${name}`)
      if (after === undefined || !isRight(after, major)) throw refused(setting, after ?? is, error)
    }
  }

  /** The value of a setting that is not reported; undefined where it does not exist. */
  async #askedFor({ name, value }: Setting, ask: Ask): Promise<string | undefined> {
    const { value: is } = await ask(`show ${name}`)
    // A pooler that ignores the start-up message shows itself by this; where it is heeded nothing is asked again.
    if (this.#atStart === undefined && is === value) this.#atStart = true
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
