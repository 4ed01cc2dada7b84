/** The extras of a connection: checked to be plain JSON, secrets wrapped, frozen through and through. */

import type { ConfigProblem } from '../errors.ts'
import { Secret } from '../secret.ts'
import { textProblem } from './fields.ts'
import { nearest } from './nearest.ts'
import { isPlausiblePath } from './plausible-path.ts'
import { childPath } from './problem-path.ts'
import { isSecretText } from './secret-text.ts'

/**
 * Names whose values are secrets, once lower-cased and rid of separators: `sslpassword`, `client_secret`,
 * `aws_session_token`, `privateKey`, ...
 */
const SECRET_NAME =
  /pass(word|wd|phrase)|passw?$|pwd|secret|token|jwt|bearer|assertion|authorization|cookie|(private|api|account|shared|signing|encryption|master|storage)key|accesskey(?!id)|credentials$|keyfile(dict|json)|serviceaccount(key|json|info)|signature|^sas|sas$|^pin$/
/** ... unless the name goes on to say that the value only leads to a secret or describes one. */
const ONLY_ABOUT_A_SECRET =
  /(file|path|dir|url|uri|endpoint|host|type|name|method|command|provider|scope|audience|lifetime|timeout|seconds|interval|threshold|expiry|ttl)$/

/** Words that make a name a secret's also with a slip in them: what is under `sslpasswrod` is no less a password. */
const SECRET_WORDS = ['password', 'passphrase', 'sslpassword', 'secret', 'token']

function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '')
  if (ONLY_ABOUT_A_SECRET.test(plain)) return false
  const words = name.split(/[^\p{L}\p{N}]+|(?<=\p{Ll})(?=\p{Lu})/u)
  return SECRET_NAME.test(plain) || words.some((word) => nearest(word, SECRET_WORDS) !== undefined)
}

/** Names whose values are paths of files, once lower-cased and rid of separators. */
const PATH_NAME =
  /^ssl(rootcert|crl|cert|key)$|^(server|client)(certificate|key)$|^(proxy|ssl)?ca$|((?<!pro)file|path|dir|keytab|ccache)$/

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
  if (typeof value !== 'string' && typeof value !== 'number') return false
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
 * JSON does not know.
 */
export function readExtra(given: unknown, path = 'extra'): { extra: Extra; problems: readonly ConfigProblem[] } {
  const problems: ConfigProblem[] = []
  let value = given
  if (value instanceof Secret) value = value.reveal()
  if (typeof value === 'string') {
    if (value.trim() === '') return { extra: Object.freeze({}), problems }
    try {
      value = JSON.parse(value)
    } catch {
      // The parser's message quotes the text, and the text may hold secrets.
      return { extra: Object.freeze({}), problems: [{ path, message: 'is not valid JSON' }] }
    }
  }
  if (value === undefined || value === null) return { extra: Object.freeze({}), problems }
  if (!isPlainObject(value)) return { extra: Object.freeze({}), problems: [{ path, message: 'expected an object' }] }
  const extra = copy(value, path, false, [], problems) as Extra
  return { extra, problems }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

/** More than any option needs, and less than would exhaust the stack. */
const MAX_DEPTH = 64

function copy(
  value: unknown,
  path: string,
  secret: boolean,
  ancestors: readonly unknown[],
  problems: ConfigProblem[],
): unknown {
  const wrong = (message: string): undefined => {
    problems.push({ path, message })
    return undefined
  }
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string' || value instanceof Secret) {
    const text = value instanceof Secret ? value.reveal() : value
    const problem = textProblem(text)
    if (problem !== undefined) return wrong(problem)
    if (typeof value !== 'string') return frozenSecret(value)
    if (value === '') return value
    return secret || isSecretText(value) ? frozenSecret(value) : value
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return wrong('is not a number that JSON knows')
    return secret ? frozenSecret(String(value)) : value
  }
  if (ancestors.includes(value)) return wrong('refers back to itself')
  if (ancestors.length >= MAX_DEPTH) return wrong(`is nested more than ${MAX_DEPTH} levels deep`)
  const lineage = [...ancestors, value]
  if (Array.isArray(value)) {
    return Object.freeze(value.map((item, index) => copy(item, `${path}[${index}]`, secret, lineage, problems)))
  }
  if (!isPlainObject(value)) return wrong('is not a value that JSON knows')
  const entries: [string, unknown][] = []
  for (const [key, child] of Object.entries(value)) {
    if (child === undefined) continue
    const childAt = childPath(path, key)
    const problem = textProblem(key)
    if (problem !== undefined) problems.push({ path: childAt, message: `the key ${problem}` })
    const hidden = secret || isSecretName(key) || isNoPath(key, child)
    entries.push([key, copy(child, childAt, hidden, lineage, problems)])
  }
  return Object.freeze(Object.fromEntries(entries))
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
