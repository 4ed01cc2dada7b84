/** The extras of a connection: checked to be plain JSON, secrets wrapped, frozen through and through. */

import { nearest } from '../did-you-mean.ts'
import type { ConfigProblem } from '../errors.ts'
import { isPlausiblePath } from '../plausible-path.ts'
import { Secret } from '../secret.ts'
import { isSecretText } from '../secret-text.ts'
import { parseJson } from './exact-json.ts'
import { textProblem } from './fields.ts'
import { LONGEST_KEY, LONGEST_RECORD, LONGEST_SECRET, MOST_VALUES, tooLong } from './limits.ts'
import { childPath } from './problem-path.ts'
import { isReference } from './reference.ts'

/**
 * Names whose values are secrets, once lower-cased and rid of separators: `sslpassword`, `client_secret`,
 * `aws_session_token`, `privateKey`, ...
 */
const SECRET_NAME =
  /pass(word|wd|phrase)|passw?$|pwd|secret|token|jwt|bearer|assertion|authorization|cookie|(private|api|account|shared|signing|encryption|master|storage)key|accesskey(?!id)|credentials$|keyfile(dict|json)|serviceaccount(key|json|info)|signature|^sas|sas$|^pin$/
/** ... unless the name goes on to say that the value only leads to a secret or describes one. */
const ONLY_ABOUT_A_SECRET =
  /(file|path|dir|url|uri|endpoint|host|type|name|method|command|provider|scope|audience|lifetime|timeout|seconds|interval|threshold|expiry|expires|grace|ttl|wrapped)$/

/** Words that make a name a secret's also with a slip in them: what is under `sslpasswrod` is no less a password. */
const SECRET_WORDS = ['password', 'passphrase', 'sslpassword', 'secret', 'token']

function isSecretName(name: string): boolean {
  // A damaged name may have been a secret's.
  if (/\p{Cc}/u.test(name)) return true
  const plain = name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '')
  if (ONLY_ABOUT_A_SECRET.test(plain)) return false
  const words = name.split(/[^\p{L}\p{N}]+|(?<=\p{Ll})(?=\p{Lu})/u)
  return SECRET_NAME.test(plain) || words.some((word) => nearest(word, SECRET_WORDS) !== undefined)
}

/** Names whose values are paths of files, once lower-cased and rid of separators. */
const PATH_NAME =
  /^ssl(rootcert|crl|cert|key)$|^(server|client)(certificate|key)$|^vaultclient(cert|key)$|^(proxy|ssl)?ca$|((?<!pro)file|path|dir|keytab|ccache)$/

/** In place of a path: the authorities that the operating system trusts. */
export const SYSTEM = 'system'

/** Names of paths that are taken for one also with a slip in them. */
const PATH_WORDS = ['sslkey', 'sslcert', 'keytab']

/** Whether an option of this name holds the path of a file, whatever table it comes from. */
export function isPathName(name: string): boolean {
  const plain = name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '')
  return PATH_NAME.test(plain) || nearest(plain, PATH_WORDS) !== undefined
}

/** Key material or a password where a path belongs: it must not be shown as a path would be. */
function isNoPath(name: string, value: unknown): boolean {
  if (typeof value === 'string' ? value.length > LONGEST_SECRET : typeof value !== 'number') return false
  return value !== SYSTEM && isPathName(name) && !isPlausiblePath(String(value))
}

/** A frozen secret: {@link Secret} keeps its value in a private field, so this only closes it to additions. */
export function frozenSecret(value: string | Secret): Secret {
  const secret = Secret.from(value)
  Object.freeze(secret)
  return secret
}

type Extra = Readonly<Record<string, unknown>>

/**
 * Reads the extras: JSON text or an object of JSON values (and Secrets). `problems` lists every value in it that
 * JSON does not know, and what exceeds the limits of limits.ts.
 */
export function readExtra(given: unknown, path = 'extra'): { extra: Extra; problems: readonly ConfigProblem[] } {
  const failed = (message: string) => ({ extra: Object.freeze({}), problems: [{ path, message }] })
  let value = given instanceof Secret ? given.reveal() : given
  if (typeof value === 'string') {
    if (value.length > LONGEST_RECORD) return failed(tooLong(LONGEST_RECORD))
    if (value.trim() === '') return { extra: Object.freeze({}), problems: [] }
    try {
      value = parseJson(value)
    } catch {
      // The parser's message quotes the text, and the text may hold secrets.
      return failed('is not valid JSON')
    }
  }
  if (value === undefined || value === null) return { extra: Object.freeze({}), problems: [] }
  if (!isPlainObject(value)) return failed('expected an object')
  const copying = new Copying()
  const extra = copying.object(value, path, false, []) as Extra
  if (copying.values > MOST_VALUES) return failed(`holds more than ${MOST_VALUES} values`)
  return { extra, problems: copying.problems }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

/** More than any option needs, and less than would exhaust the stack. */
const MAX_DEPTH = 64

/** One pass over the extras. It stops once there are more values than {@link MOST_VALUES}. */
class Copying {
  readonly problems: ConfigProblem[] = []
  values = 0

  /** @param ancestors the objects and lists that hold the value */
  value(given: unknown, path: string, secret: boolean, ancestors: readonly unknown[]): unknown {
    if (++this.values > MOST_VALUES) return undefined
    if (given === null || typeof given === 'boolean') return given
    if (typeof given === 'string' || given instanceof Secret) return this.#text(given, path, secret)
    if (typeof given === 'number') {
      if (!Number.isFinite(given)) return this.#wrong(path, 'is not a number that JSON knows')
      return secret ? frozenSecret(String(given)) : given
    }
    if (ancestors.includes(given)) return this.#wrong(path, 'refers back to itself')
    if (ancestors.length >= MAX_DEPTH) return this.#wrong(path, `is nested more than ${MAX_DEPTH} levels deep`)
    if (Array.isArray(given)) {
      const lineage = [...ancestors, given]
      return Object.freeze(given.map((item, index) => this.value(item, `${path}[${index}]`, secret, lineage)))
    }
    return isPlainObject(given)
      ? this.object(given, path, secret, ancestors)
      : this.#wrong(path, 'is not a value that JSON knows')
  }

  object(given: Record<string, unknown>, path: string, secret: boolean, ancestors: readonly unknown[]): object {
    const lineage = [...ancestors, given]
    const entries: [string, unknown][] = []
    for (const [key, child] of Object.entries(given)) {
      if (child === undefined) continue
      if (this.values > MOST_VALUES) break
      const childAt = childPath(path, key)
      const problem = key.length > LONGEST_KEY ? tooLong(LONGEST_KEY) : textProblem(key)
      if (problem !== undefined) {
        this.#wrong(childAt, `the key ${problem}`)
        continue
      }
      const hidden = secret || (isSecretName(key) && !isReference(key, child)) || isNoPath(key, child)
      entries.push([key, this.value(child, childAt, hidden, lineage)])
    }
    return Object.freeze(Object.fromEntries(entries))
  }

  #text(given: string | Secret, path: string, secret: boolean): unknown {
    const text = given instanceof Secret ? given.reveal() : given
    const problem = text.length > LONGEST_SECRET ? tooLong(LONGEST_SECRET) : textProblem(text)
    if (problem !== undefined) return this.#wrong(path, problem)
    if (typeof given !== 'string') return frozenSecret(given)
    if (given === '') return given
    return secret || isSecretText(given) ? frozenSecret(given) : given
  }

  #wrong(path: string, message: string): undefined {
    this.problems.push({ path, message })
  }
}

/** The extras as plain JSON values, every secret revealed. */
export function revealExtra(extra: Extra): Record<string, unknown> {
  return reveal(extra) as Record<string, unknown>
}

function reveal(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal()
  if (Array.isArray(value)) return value.map(reveal)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, reveal(child)]))
}

/** Whether any value in it is a secret. */
export function holdsSecret(value: unknown): boolean {
  if (value instanceof Secret) return true
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsSecret)
}
