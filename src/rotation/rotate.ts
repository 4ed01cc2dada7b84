import { createHash } from 'node:crypto'
import { isError } from '../any-error.ts'
import { type AuditRecorder, tellAudit } from '../audit-facts.ts'
import type { Connection } from '../connections/connection.ts'
import type { Fields } from '../connections/fields.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import type { Settings } from '../engine/settings.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { Secret } from '../secret.ts'
import type { OpenStores } from '../stores/open.ts'
import type { StoreOptions } from '../stores/options.ts'
import type { SecretReader } from '../stores/reader.ts'
import { resolveConnection } from '../stores/resolve.ts'
import { generatePassword } from './generate-password.ts'
import { nameOf } from './name-of.ts'
import type { PasswordRotated, RotationStep } from './password-rotation.ts'
import { operationLog } from './recorded-log.ts'
import { StoredPassword } from './stored-password.ts'

/** Options of {@link rotate}. */
export interface RotateOptions {
  /** Where ids are looked up. */
  readonly stores?: StoreOptions
  /**
   * Two users that take turns: the password of the one that is not in use is set, and the secret changes to it. The user
   * must be in the same secret (`login_from`). Needs `admin`. Default: the password of the one user changes.
   */
  readonly users?: readonly [string, string]
  /** A connection whose role may set the password. Default: the user sets its own. */
  readonly admin?: ConnectionInput
  /** Makes a password by the rules of the server. Default: 32 letters, digits and `-_.~`. */
  readonly generate?: () => string | Secret | Promise<string | Secret>
  /**
   * How long readers that see changes late, such as secrets that Kubernetes mounts, get to see the pending password
   * before the server takes it, in seconds. Default 0.
   */
  readonly wait?: number
  /** Default: the log that the record names (`audit_file`). */
  readonly audit?: AuditRecorder
  /** The person or job that orders the operation, for the audit log. */
  readonly by?: string
  /** Called when a step begins. */
  readonly onStep?: (step: RotationStep) => void | Promise<void>
  readonly signal?: AbortSignal
}

/** The result of {@link rotate}. */
export interface RotationResult {
  readonly connection: string
  /** The user whose password is new. */
  readonly user: string
  /** The secret that holds it. */
  readonly place: string
  /** Whether it went on where an earlier rotation had stopped. */
  readonly resumed: boolean
}

/**
 * Changes the password of a database that a record has in a store (`password_from`), while pools use it. At each moment
 * the present password of the store works, or the pending one beside it (`<field>_pending`), which pools try after a
 * refused login. The same call goes on after a failure or a kill; docs/rotation.md has the states.
 *
 * @throws PoolsmithError with `details.step`, the step at which it stands: ROTATION_RUNNING, ROTATION_REFUSED,
 *   ROTATION_STUCK, STORE_…, SECRET_…, the errors of a login; ConfigError for a record whose password cannot be rotated
 *
 * @example
 * await rotate('sales')
 */
export async function rotate(input: ConnectionInput, options: RotateOptions = {}): Promise<RotationResult> {
  const { stores = {}, users, admin, signal = new AbortController().signal, by } = options
  const { configured } = await import('./configured.ts')
  const { PasswordRotation } = await import('./password-rotation.ts')
  const given = await resolveConnection(input, stores)
  const { connection, settings, stores: own } = await configured(given, stores)
  assertFits(connection, settings, options)
  await using log = await operationLog(options.audit, settings.all)
  const { store, stored } = storedPassword(connection, settings, own)
  const rotation = new PasswordRotation({
    connection: await withoutLogins(given, settings),
    stored,
    stores,
    signal,
    users,
    admin,
    waitMillis: (options.wait ?? 0) * 1000,
    generate: async () => Secret.from(await (options.generate ?? generatePassword)()),
    onStep: options.onStep ?? (() => undefined),
  })
  const service = nameOf(given)
  const started = performance.now()
  const tell = (facts: object, step?: RotationStep): Promise<void> => {
    const durationMillis = performance.now() - started
    const head = { kind: 'rotation', credential: 'password', service, by, step, durationMillis } as const
    return tellAudit({ ...head, outcome: 'success', ...facts }, log.recorder)
  }
  let done: PasswordRotated
  try {
    done = await rotation.run()
  } catch (error) {
    const failed = at(rotation.step, service, error, signal)
    await tell({ outcome: 'failure', code: failed instanceof PoolsmithError ? failed.code : undefined }, rotation.step)
    throw failed
  } finally {
    store.close?.()
    own.close()
  }
  const { before, after, resumed } = done
  // With two users the old password goes on to work, so its hash is not told.
  const oldHash = before.user === after.user ? hashOf(before.password) : undefined
  await tell({ oldHash, newHash: hashOf(after.password) })
  return { connection: service, user: after.user, place: stored.name, resumed }
}

function hashOf(secret: Secret): string {
  return createHash('sha256').update(secret.reveal()).digest('hex')
}

const AFTER: Readonly<Record<RotationStep, string>> = {
  read: 'Nothing has changed.',
  login: 'Nothing has changed.',
  pending: 'The old password works; a new one may be pending in the store.',
  alter: 'The old password works, or the new one, which is pending in the store.',
  verify: 'The server has the new password, which is pending in the store.',
  promote: 'The server has the new password, which is pending in the store.',
}

/** The error with the step in it, and what to do there. */
function at(step: RotationStep, service: string, given: unknown, signal: AbortSignal): unknown {
  if (!isError(given)) return given
  const error = given instanceof PoolsmithError ? given : statementFailed(given, signal)
  const isFinal = ['ROTATION_REFUSED', 'ROTATION_STUCK', 'ROTATION_RUNNING', 'STORE_READ_ONLY'].includes(error.code)
  const state = isFinal ? '' : ` ${AFTER[step]} Run the same rotation again.`
  return error.with({
    message: `The rotation of ${service} stopped at the step ${step}: ${error.message}`,
    hint: `${error.hint ?? ''}${state}`.trim(),
    details: { step },
  })
}

function statementFailed(cause: Error, signal: AbortSignal): PoolsmithError {
  return new PoolsmithError(printable(cause.message, 300), {
    code: signal.aborted ? 'ABORTED' : 'ROTATION_FAILED',
    phase: 'query',
    transient: (cause as { readonly transient?: unknown }).transient === true,
    cause,
  })
}

/** The rotations of other strategies. */
const OTHERS: Readonly<Record<string, string>> = {
  kerberos: '; a keytab is by rotateKeytab, --keytab',
  ssl_cert: '; a certificate is by rotateCertificate, --certificate-command',
}

/** @throws ConfigError */
function assertFits(
  { login }: Connection,
  { strategy, references }: Settings<Fields>,
  { users, admin, wait = 0 }: RotateOptions,
): void {
  const problems: ConfigProblem[] = []
  const say = (path: string, message: string): void => void problems.push({ path, message })
  const password = references.get('password')?.reference
  const user = references.get('login')?.reference
  const isSame = user?.scheme === password?.scheme && user?.path === password?.path
  if (strategy.name !== 'password' && strategy.name !== 'sql_auth') {
    const other = OTHERS[strategy.name] ?? ''
    say('extra.auth_method', `is ${strategy.name}; passwords of databases are rotated (password, sql_auth)${other}`)
  } else if (password === undefined) {
    say('extra.password_from', 'missing; the password must be in a store that can be written')
  } else if (password.field === undefined) {
    say(
      'extra.password_from',
      'names no field; the pending password needs one beside it, as in vault:secret/sales#password',
    )
  }
  if (user === undefined && login === undefined) say('login', 'missing; whose password is it?')
  if (user !== undefined && (!isSame || user.field === undefined)) {
    say('extra.login_from', 'must name a field of the same secret as password_from')
  }
  if (users !== undefined) {
    if (users.length !== 2 || users[0] === users[1] || users.some((one) => typeof one !== 'string' || one === '')) {
      say('options.users', 'expected two users')
    }
    if (user === undefined) say('extra.login_from', 'missing; with two users the user must be in the secret too')
    if (admin === undefined) say('options.admin', 'missing; with two users an administrator sets the password')
  }
  if (!(wait >= 0 && wait <= 86_400)) say('options.wait', 'expected a number of seconds from 0 to 86400')
  if (problems.length > 0) {
    const hint = 'docs/rotation.md says what a rotation needs.'
    throw new ConfigError(problems, { subject: 'The rotation', hint })
  }
}

/** Without the options by which a store logs in: they have no effect beside a password in the record. */
async function withoutLogins(connection: Connection, { references }: Settings<Fields>): Promise<Connection> {
  const { loginFields } = await import('../stores/fields.ts')
  const schemes = [...references.values()].map(({ reference }) => reference.scheme)
  const logins = Object.entries(loginFields(schemes, connection.extra)).flatMap(([name, { aliases }]) => [
    name,
    ...aliases,
  ])
  const extra = Object.entries(connection.extra).filter(([name]) => !logins.includes(name))
  return { ...connection, extra: Object.fromEntries(extra) }
}

function storedPassword(
  { login }: Connection,
  { references }: Settings<Fields>,
  stores: OpenStores,
): { readonly store: SecretReader; readonly stored: StoredPassword } {
  const password = references.get('password')?.reference
  if (password?.field === undefined) throw new Error('The record was not checked.')
  const store = stores.open(password)
  const userField = references.get('login')?.reference.field
  const { path, field } = password
  return { store, stored: new StoredPassword({ store, path, field, userField, user: login }) }
}
