/** How old credentials may become: the rules of a policy, and what they say of one credential. */

import { didYouMean, nearest } from '../did-you-mean.ts'
import { ConfigError, type ConfigProblem } from '../errors.ts'

export const CREDENTIAL_KINDS = [
  'api_key',
  'database_password',
  'kerberos_keytab',
  'client_secret',
  'tls_certificate',
] as const
/** A kind of credential that a policy has a rule for. */
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number]

/** How long credentials of one kind may be used, in days. */
export interface RotationRule {
  readonly maxAgeDays: number
  /** How long before the end it is told. */
  readonly warnDays: number
}

/** A rule for each kind. */
export type RotationPolicy = Readonly<Record<CredentialKind, RotationRule>>

/** The rules that differ from {@link DEFAULT_POLICY}. */
export type PolicyOptions = { readonly [Kind in CredentialKind]?: Partial<RotationRule> }

export const DEFAULT_POLICY: RotationPolicy = {
  api_key: { maxAgeDays: 90, warnDays: 7 },
  database_password: { maxAgeDays: 180, warnDays: 14 },
  kerberos_keytab: { maxAgeDays: 365, warnDays: 30 },
  client_secret: { maxAgeDays: 365, warnDays: 30 },
  tls_certificate: { maxAgeDays: 365, warnDays: 60 },
}

/** A hundred years: more is a slip. */
const MOST_DAYS = 36_500
export const DAY_MILLIS = 24 * 60 * 60 * 1000

/**
 * The whole policy.
 *
 * @param given the rules that differ from the default, as of a program or a file
 * @throws ConfigError with all that is wrong with it
 */
export function rotationPolicy(given: unknown = {}): RotationPolicy {
  const problems: ConfigProblem[] = []
  const policy: Record<CredentialKind, RotationRule> = { ...DEFAULT_POLICY }
  const entries = entriesOf(given)
  if (entries === undefined) problems.push({ path: '', message: 'expected an object with a rule for each kind' })
  for (const [name, rule] of entries ?? []) {
    const kind = CREDENTIAL_KINDS.find((one) => one === name)
    if (kind === undefined) problems.push(unknown(name, CREDENTIAL_KINDS, name))
    else if (rule !== undefined) policy[kind] = readRule(kind, rule, problems)
  }
  if (problems.length > 0) {
    const hint = 'Write it as in database_password: { maxAgeDays: 180, warnDays: 14 }; docs/rotation.md has all kinds.'
    throw new ConfigError(problems, { subject: 'The rotation policy', hint })
  }
  return policy
}

function readRule(kind: CredentialKind, given: unknown, problems: ConfigProblem[]): RotationRule {
  const rule = { ...DEFAULT_POLICY[kind] }
  const entries = entriesOf(given)
  if (entries === undefined) problems.push({ path: kind, message: 'expected { maxAgeDays, warnDays }' })
  for (const [name, days] of entries ?? []) {
    const path = `${kind}.${name}`
    if (name !== 'maxAgeDays' && name !== 'warnDays') problems.push(unknown(path, ['maxAgeDays', 'warnDays'], name))
    else if (days === undefined) continue
    else if (typeof days !== 'number' || !(days >= 0 && days <= MOST_DAYS) || (name === 'maxAgeDays' && days === 0)) {
      const least = name === 'maxAgeDays' ? 'more than 0' : '0'
      problems.push({ path, message: `expected a number of days from ${least} to ${MOST_DAYS}` })
    } else rule[name] = days
  }
  // A shorter age alone brings the warning with it; one that is given must fit.
  const isGiven = entries?.some(([name]) => name === 'warnDays') === true
  if (rule.warnDays < rule.maxAgeDays) return rule
  if (isGiven) {
    problems.push({ path: `${kind}.warnDays`, message: `expected less than maxAgeDays, which is ${rule.maxAgeDays}` })
  }
  return { ...rule, warnDays: rule.maxAgeDays / 10 }
}

function entriesOf(given: unknown): readonly [string, unknown][] | undefined {
  return typeof given === 'object' && given !== null && !Array.isArray(given) ? Object.entries(given) : undefined
}

function unknown(path: string, names: readonly string[], name: string): ConfigProblem {
  const near = nearest(name, names)
  const hint = near === undefined ? `expected one of ${names.join(', ')}` : didYouMean([near])
  return { path, message: `unknown; ${hint}` }
}

/**
 * `ok`: nothing is due. `soon`: it is due within the days of the warning. `due`: it is older than the policy allows.
 * `expired`: it has ended and is refused. `unknown`: what is known does not tell.
 */
export type RotationStatus = 'ok' | 'soon' | 'due' | 'expired' | 'unknown'

/** The known facts of a credential's life. Milliseconds since the epoch. */
export interface Life {
  /** When it was set, issued or written. */
  readonly setAt?: number | undefined
  /** When it ends by itself. */
  readonly expiresAt?: number | undefined
  /** When it is to be replaced, as its own metadata say. */
  readonly rotateAfter?: number | undefined
}

/** The verdict of a rule on a credential. `dueAt` is the earlier of its end and the end of the age that the rule allows. */
export function judge(
  { setAt, expiresAt, rotateAfter }: Life,
  { maxAgeDays, warnDays }: RotationRule,
  now: number,
): { readonly status: RotationStatus; readonly dueAt?: number } {
  const maxAgeMillis = maxAgeDays * DAY_MILLIS
  const ends = [expiresAt, rotateAfter, setAt === undefined ? undefined : setAt + maxAgeMillis]
  const dueAt = Math.min(...ends.filter((end) => end !== undefined))
  if (dueAt === Number.POSITIVE_INFINITY) return { status: 'unknown' }
  if (expiresAt !== undefined && expiresAt <= now) return { status: 'expired', dueAt }
  if (dueAt <= now) return { status: 'due', dueAt }
  if (dueAt - warnDays * DAY_MILLIS <= now) return { status: 'soon', dueAt }
  // An end that is far away does not tell how old it is already.
  if (setAt === undefined && dueAt > now + maxAgeMillis) return { status: 'unknown', dueAt }
  return { status: 'ok', dueAt }
}
