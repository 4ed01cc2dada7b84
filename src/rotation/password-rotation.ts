/** The steps by which the password of a database changes while it is in use. */

import type pg from 'pg'
import { pause } from '../abort.ts'
import type { Connection } from '../connections/connection.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import type { SqlServerConnection } from '../drivers/sqlserver/tedious-connection.ts'
import { inSentence, PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { redact, type Secret } from '../secret.ts'
import { isAccepted, recordOf, type SessionContext, withSession } from './accounts.ts'
import { type ChangeRefusal, ChangeRefused, type PasswordChange } from './server/change.ts'
import { type Account, isSame, type PasswordState, running, type StoredPassword } from './stored-password.ts'

/**
 * `read`: the store is read. `login`: the present password is tried. `pending`: the new one is put into the store beside
 * it. `alter`: the server takes the new one. `verify`: a login with it. `promote`: it becomes the present one.
 */
export type RotationStep = 'read' | 'login' | 'pending' | 'alter' | 'verify' | 'promote'

export interface PasswordRotationOptions extends SessionContext {
  readonly connection: Connection
  readonly stored: StoredPassword
  /** The users that take turns; undefined: one user, whose password changes. */
  readonly users: readonly [string, string] | undefined
  /** A connection whose role may set the password. Undefined: the user sets its own. */
  readonly admin: ConnectionInput | undefined
  readonly generate: () => Secret | Promise<Secret>
  /** How long slow readers of the store get to see the pending password, in milliseconds. */
  readonly waitMillis: number
  /** Called when a step begins. */
  readonly onStep: (step: RotationStep) => void | Promise<void>
}

export interface PasswordRotated {
  readonly before: Account
  readonly after: Account
  /** Whether it went on where an earlier rotation had stopped. */
  readonly resumed: boolean
}

export class PasswordRotation {
  readonly #options: PasswordRotationOptions
  #step: RotationStep = 'read'

  constructor(options: PasswordRotationOptions) {
    this.#options = options
  }

  /** The step that was begun last. */
  get step(): RotationStep {
    return this.#step
  }

  /** @throws PoolsmithError; a {@link ChangeRefused} of the server becomes one */
  async run(): Promise<PasswordRotated> {
    const { stored, signal } = this.#options
    await this.#begin('read')
    const state = await stored.read(signal)
    const resumed = state.pending !== undefined
    const isSet = state.pending !== undefined && (await this.#isAccepted('login', state.pending))
    const after = isSet && state.pending ? state.pending : await this.#set(state)
    if (!isSet) {
      await this.#begin('verify')
      await withSession(recordOf(this.#options.connection, after), this.#options, async () => undefined)
    }
    await this.#begin('promote')
    await stored.promote(after, signal)
    return { before: state.present, after, resumed }
  }

  async #begin(step: RotationStep): Promise<void> {
    this.#step = step
    await this.#options.onStep(step)
  }

  async #isAccepted(step: RotationStep, account: Account): Promise<boolean> {
    await this.#begin(step)
    return isAccepted(this.#options.connection, account, this.#options)
  }

  /** Makes the server take the pending account, or a new one. */
  async #set(state: PasswordState): Promise<Account> {
    const { admin, connection } = this.#options
    if (admin !== undefined) return this.#setBy(admin, state, undefined)
    await this.#begin('login')
    try {
      return await this.#setBy(recordOf(connection, state.present), state, state.present.password)
    } catch (error) {
      const isRefused = error instanceof PoolsmithError && error.code === 'LOGIN_REFUSED' && this.#step === 'login'
      throw isRefused ? await this.#refusedLogin(state, error) : error
    }
  }

  /** Another rotation may have set a new password since the store was read. */
  async #refusedLogin(state: PasswordState, error: PoolsmithError): Promise<PoolsmithError> {
    const { stored, signal } = this.#options
    const now = await stored.read(signal)
    if (isSame(now.present, state.present) && isSame(now.pending, state.pending)) return this.#stuck(state, error)
    return running(`${stored.name} was changed by another program at the same time`, error)
  }

  /** The session is opened first, so that nothing is changed where there is none. */
  async #setBy(record: ConnectionInput, state: PasswordState, old: Secret | undefined): Promise<Account> {
    const { connection, signal, stored, waitMillis } = this.#options
    return withSession(record, this.#options, async (session) => {
      const next = state.pending ?? (await this.#pend(state))
      if (waitMillis > 0) await pause(waitMillis, { signal })
      await this.#begin('alter')
      const assertPending = async (): Promise<void> => stored.assertPending(await stored.read(signal), next)
      const found = { isAccepted: false, isWithdrawn: false }
      const onRefused = async (): Promise<void> => {
        // Another process may have set it since: the old password is wrong then.
        found.isAccepted = await isAccepted(connection, next, this.#options)
        if (!found.isAccepted) found.isWithdrawn = await stored.withdraw(next, signal).then(yes, no)
      }
      const change: PasswordChange = { user: next.user, next: next.password, old, assertPending, onRefused }
      try {
        if (connection.type === 'postgres') {
          const { changePostgresPassword } = await import('./server/postgres.ts')
          await changePostgresPassword(session as pg.Client, change)
        } else {
          const { changeSqlServerPassword } = await import('./server/sqlserver.ts')
          await changeSqlServerPassword(session as SqlServerConnection, change)
        }
      } catch (error) {
        if (!(error instanceof ChangeRefused)) throw error
        if (!found.isAccepted) throw this.#refused(error, found.isWithdrawn, next, old)
      }
      return next
    })
  }

  async #pend(state: PasswordState): Promise<Account> {
    const { stored, signal, users, generate } = this.#options
    await this.#begin('pending')
    const { user } = state.present
    const next = { user: users?.find((one) => one !== user) ?? user, password: await generate() }
    await stored.begin(state, next, signal)
    return next
  }

  /** A pending password that the server refuses is of no use: the next rotation makes another. */
  #refused(error: ChangeRefused, isWithdrawn: boolean, next: Account, old: Secret | undefined): PoolsmithError {
    const words = printable(redact(error.message, [next.password, old]), 300)
    if (error.reason === 'running') return running(words, error)
    const withdrawn = isWithdrawn ? '' : ' The pending password could not be taken out of the store.'
    const isPassword = error.reason === 'password'
    const what = isPassword ? 'refuses the new password' : `does not let the password of ${next.user} be set`
    return new PoolsmithError(`The server ${what}: ${words} The old one stays.${withdrawn}`, {
      code: 'ROTATION_REFUSED',
      phase: 'query',
      hint: HINTS[error.reason],
      cause: error.cause,
    })
  }

  #stuck({ pending, present }: PasswordState, cause: PoolsmithError): PoolsmithError {
    const what = pending === undefined ? 'refuses the password' : 'refuses both the present and the pending password'
    const { name } = this.#options.stored
    return new PoolsmithError(`The server ${what} of ${present.user} in ${inSentence(name)}: ${cause.message}`, {
      code: 'ROTATION_STUCK',
      phase: 'login',
      hint: `Have an administrator set the password of ${present.user} to the present one of the store, or name an administrator (admin, --admin).`,
      cause,
    })
  }
}

const HINTS: Readonly<Record<Exclude<ChangeRefusal, 'running'>, string>> = {
  password: 'Give a function or a command that makes passwords by the rules of the server.',
  age: 'Rotate again once the password is as old as the policy of the server asks (minimum password age).',
  locked: 'Have an administrator unlock the login (ALTER LOGIN … UNLOCK), and then rotate again.',
  rights: 'Name an administrator (admin, --admin) whose role may set it, or grant the right.',
}

const yes = (): true => true
/** The store is away: the error of the server is told, and that the pending password is still there. */
const no = (): false => false
