/** The parts of a SQL Server connection out of the keys and values of a program's connection string. */

import type { ConfigProblem } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { childPath } from '../problem-path.ts'
import { plainName } from '../protection.ts'
import { serverAddress } from '../server-address.ts'
import { type FormReading, type Pair, type Readings, readDifferently } from './form.ts'

export type Part = 'host' | 'port' | 'instance' | 'database' | 'login' | 'password'

/** A program's words. */
export interface Words {
  /** The program, for messages: `SqlClient`. */
  readonly program: string
  /** The keys that say a part, in small letters. */
  readonly parts: Readonly<Record<string, Part>>
  /** The readings of a key in another case by two readers. Default: the case does not count. */
  readonly onOtherCase?: Readings
  /** The readings of a part that stands twice. */
  readonly twice: Readings
  /** The program's way with a key that it does not know: `refuses it`. */
  readonly unknown: string
  /** Options under another name, plain names to ours; an empty text leaves the option out with a note. */
  readonly options?: Readonly<Record<string, string>>
}

/** Words that say a part in one of the programs, without case, blanks and separators. */
const ALL_WORDS: Readonly<Record<string, Part>> = {
  ...named('host', 'server servername datasource addr address networkaddress host hostname'),
  ...named('port', 'port portnumber'),
  ...named('database', 'database databasename initialcatalog dbname'),
  ...named('login', 'uid user userid username login'),
  ...named('password', 'pwd password pass passwd'),
}

function named(part: Part, words: string): Record<string, Part> {
  return Object.fromEntries(words.split(' ').map((word) => [word, part]))
}

/** The keys of one option, of which the last counts. */
const SAME_OPTION: Readonly<Record<string, string>> = {
  connectiontimeout: 'connecttimeout',
  timeout: 'connecttimeout',
  app: 'applicationname',
  wsid: 'workstationid',
  trustedconnection: 'integratedsecurity',
  language: 'currentlanguage',
  net: 'networklibrary',
  network: 'networklibrary',
}

/** The part that a key says in any of the programs. */
function partOfAny(key: string): Part | undefined {
  const name = plainName(key)
  return Object.hasOwn(ALL_WORDS, name) ? ALL_WORDS[name] : undefined
}

/** The part that a key says in the program. */
export function partIn({ parts }: Pick<Words, 'parts'>, key: string): Part | undefined {
  const name = key.toLowerCase()
  return Object.hasOwn(parts, name) ? parts[name] : undefined
}

/** Builds the record. `given` is what stands outside the keys, as the server of a URL. */
export function sqlServerReading(
  pairs: readonly Pair[],
  words: Words,
  given: Readonly<Partial<Record<Part, string>>> = {},
): FormReading {
  const problems: ConfigProblem[] = []
  const notes: ConfigProblem[] = []
  const said: Partial<Record<Part, string>> = { ...given }
  const options = new Map<string, Pair>()
  for (const [key, value] of pairs) {
    const part = partIn(words, key)
    if (part !== undefined) {
      if (said[part] !== undefined && said[part] !== value) problems.push(saidTwice(part, words))
      if (words.onOtherCase !== undefined && key !== key.toLowerCase()) {
        problems.push(readDifferently(part, words.onOtherCase, 'write the key in small letters'))
      }
      said[part] = value
    } else if (partOfAny(key) === undefined) {
      const name = plainName(key)
      const own = words.options?.[name]
      if (own === '')
        notes.push({ path: childPath('extra', key), message: `has a meaning for ${words.program} only; ignored` })
      else options.set(own ?? SAME_OPTION[name] ?? name, [own ?? key, value])
    } else {
      const path = partOfAny(key) as Part
      problems.push({ path, message: `stands under a key that ${words.program} does not know and ${words.unknown}` })
    }
  }

  const server = said.host === undefined || said.host === '' ? undefined : serverAddress(said.host)
  if (typeof server === 'string') problems.push({ path: 'host', message: server })
  const address = typeof server === 'object' ? server : undefined
  if (said.port !== undefined && address?.port !== undefined && String(address.port) !== said.port) {
    problems.push(saidTwice('port', words))
  }
  const instance = said.instance ?? address?.instance
  const extra = Object.fromEntries(options.values())
  return {
    record: {
      type: 'mssql',
      host: address?.host,
      port: said.port === undefined ? address?.port : new Secret(said.port),
      login: said.login,
      password: said.password,
      database: said.database,
      // As in all of Microsoft's drivers, a port takes precedence.
      extra: instance === undefined || said.port !== undefined ? extra : { instance_name: instance, ...extra },
    },
    problems,
    notes,
    closed: true,
  }
}

function saidTwice(part: Part, { twice }: Words): ConfigProblem {
  return readDifferently(part === 'instance' ? 'extra.instance_name' : part, twice, 'keep one of them')
}
