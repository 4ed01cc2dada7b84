/** Sessions of their own that listen to channels of the server (PostgreSQL Documentation, "LISTEN"). */

import { AsyncLocalStorage } from 'node:async_hooks'
import { nextPoll, onAbort, orAbort, pause, within } from '../abort.ts'
import { isError } from '../any-error.ts'
import type { Driver } from '../drivers/driver.ts'
import type { Whereabouts } from '../drivers/whereabouts.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../errors.ts'
import type { CloseReason, Emit } from '../events.ts'
import type { Place } from '../hosts/place.ts'
import { unobserved } from '../tracing.ts'
import { abortedError, asksToWait, NotTried } from './failures.ts'
import { sayGoodbye } from './goodbye.ts'
import type { Policy } from './options.ts'
import type { Session } from './session.ts'
import type { ListenOptions, NotificationHandler } from './types.ts'

/** NAMEDATALEN - 1 of every usual build of the server. */
const LONGEST_CHANNEL = 63
const HINT = 'listen(channel, handler, { onListen, signal }); docs/pg.md shows it at work.'
const FIRST_PAUSE_MILLIS = 100
const LONGEST_PAUSE_MILLIS = 5000
const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

export interface ListeningConfig<Raw extends object> {
  readonly driver: Driver<Raw>
  readonly where: Whereabouts | undefined
  readonly policy: Policy
  readonly emit: Emit
  readonly random: () => number
  /** Opens and prepares a session that does not belong to the pool's sessions. */
  readonly open: (at?: Place) => Promise<Session<Raw>>
}

interface Subscription extends ListenOptions {
  readonly channel: string
  readonly handler: NotificationHandler
  /** Ends it; aborts with the error for a caller that waits for its beginning. */
  readonly controller: AbortController
  /** Ends the present session, so that another one is opened. */
  renew: () => void
}

export class Listening<Raw extends object> {
  readonly #config: ListeningConfig<Raw>
  readonly #active = new Map<Subscription, Promise<void>>()

  constructor(config: ListeningConfig<Raw>) {
    this.#config = config
  }

  /** See {@link ConnectionPool.listen}. */
  async listen(channel: string, handler: NotificationHandler, options: ListenOptions = {}): Promise<void> {
    const { driver, where } = this.#config
    const { signal, onListen } = options
    const problems = [...problemsOf(channel, driver.listen !== undefined), ...functionProblems({ handler, onListen })]
    if (problems.length > 0) throw new ConfigError(problems, { subject: 'The call of pool.listen', hint: HINT })
    const controller = new AbortController()
    // Notifications arrive in the context of the socket.
    const inContext = AsyncLocalStorage.bind(handler)
    const one: Subscription = { channel, handler: inContext, onListen, controller, renew: () => undefined }
    const registration = onAbort(signal, () => controller.abort(abortedError(signal as AbortSignal, where)))
    const begun = Promise.withResolvers<void>()
    const ended = this.#keep(one, begun).finally(() => {
      registration[Symbol.dispose]()
      this.#active.delete(one)
    })
    this.#active.set(one, ended)
    await begun.promise
  }

  /** Opens every session anew. */
  renew(): void {
    for (const { renew } of this.#active.keys()) renew()
  }

  /** Resolves when every session is closed. */
  async end(error: PoolsmithError): Promise<void> {
    for (const { controller } of this.#active.keys()) controller.abort(error)
    await Promise.all(this.#active.values())
  }

  /** Holds one session after another. Never rejects. */
  async #keep(one: Subscription, begun: PromiseWithResolvers<void>): Promise<void> {
    const { signal } = one.controller
    for (let first = true; ; first = false) {
      let session: Session<Raw>
      try {
        session = await this.#persist(one, first)
      } catch (error) {
        begun.reject(signal.aborted ? signal.reason : error)
        return
      }
      begun.resolve()
      session.condemned = await this.#untilEnd(one, session)
      await sayGoodbye(session, this.#config.driver)
      if (signal.aborted) return
    }
  }

  /**
   * Tries until a session listens. The first time only while the server is full or starting, and no longer than
   * `pool_timeout`, since a caller waits.
   *
   * @throws the error of the first time; anything after the end
   */
  async #persist(one: Subscription, first: boolean): Promise<Session<Raw>> {
    const { signal } = one.controller
    const { emit, random, policy } = this.#config
    const deadline = performance.now() + policy.timeoutMillis
    for (let failures = 0; ; failures++) {
      try {
        return await this.#begin(one, first)
      } catch (given) {
        const error = given instanceof NotTried ? given.refusal : given
        if (signal.aborted) throw error
        if (error === given && error instanceof PoolsmithError) {
          emit('connection:failed', { error, phase: error.phase })
        }
        const longest = Math.min(FIRST_PAUSE_MILLIS * 2 ** failures, LONGEST_PAUSE_MILLIS)
        const millis = longest * (1 - random() / 2)
        const isWorthWaiting = error instanceof PoolsmithError && asksToWait(error)
        if (first && !(isWorthWaiting && performance.now() + millis < deadline)) throw error
        await pause(millis, { signal })
      }
    }
  }

  async #begin(one: Subscription, first: boolean): Promise<Session<Raw>> {
    const { driver, policy, open } = this.#config
    const { channel, handler, onListen } = one
    const { signal } = one.controller
    signal.throwIfAborted()
    const session = await orAbort(open(), signal, ({ raw }) => driver.abort(raw))
    const { raw } = session
    try {
      const told: NotificationHandler = (notification) => {
        if (!signal.aborted) return handler(notification)
      }
      await orAbort(
        within(
          unobserved(async () => driver.listen?.(raw, channel, quietly(told))),
          policy.checkMillis,
        ),
        signal,
      )
      await orAbort(Promise.resolve(onListen?.({ first })), signal)
      return session
    } catch (error) {
      driver.abort(raw)
      throw error
    }
  }

  /** Waits for the end of a session; says why it ended. */
  async #untilEnd(one: Subscription, { raw }: Session<Raw>): Promise<CloseReason> {
    const { driver, policy } = this.#config
    const { promise, resolve } = Promise.withResolvers<CloseReason>()
    using _ = onAbort(one.controller.signal, () => resolve('drained'))
    one.renew = () => resolve('invalidated')
    driver.onEnd?.(raw, () => resolve('broken'))
    const ping = (): Promise<void> =>
      within(
        unobserved(() => driver.ping(raw)),
        policy.checkMillis,
      ).catch(() => resolve('ping-failed'))
    const timer =
      policy.keepaliveMillis > LONGEST_TIMER_MILLIS ? undefined : setInterval(() => void ping(), policy.keepaliveMillis)
    try {
      return await promise
    } finally {
      clearInterval(timer)
      one.renew = () => undefined
      // Notifications that arrived before the end are told first.
      await nextPoll()
    }
  }
}

function problemsOf(channel: unknown, sendsNotifications: boolean): readonly ConfigProblem[] {
  const problem = (message: string): readonly ConfigProblem[] => [{ path: 'channel', message }]
  if (!sendsNotifications) return problem('this database sends no notifications; pool.listen is for PostgreSQL')
  // The server would cut a longer name, and pg_notify refuses it.
  const isName = typeof channel === 'string' && channel !== '' && !channel.includes('\0')
  if (isName && Buffer.byteLength(channel) <= LONGEST_CHANNEL) return []
  return problem(`expected a name of 1 to ${LONGEST_CHANNEL} bytes`)
}

function functionProblems({ handler, onListen }: { handler: unknown; onListen: unknown }): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (typeof handler !== 'function') problems.push({ path: 'handler', message: 'expected a function' })
  if (onListen !== undefined && typeof onListen !== 'function') {
    problems.push({ path: 'options.onListen', message: 'expected a function' })
  }
  return problems
}

/** An error of the handler becomes a warning of the process, as that of a listener to an event. */
function quietly(handler: NotificationHandler): (...given: Parameters<NotificationHandler>) => void {
  const warn = (error: unknown): void => process.emitWarning(isError(error) ? error : String(error))
  return (notification) => {
    try {
      Promise.resolve(handler(notification)).catch(warn)
    } catch (error) {
      warn(error)
    }
  }
}
