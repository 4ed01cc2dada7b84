/** The pool's options in users' words, and the same as the milliseconds that the code counts in. */

import {
  boolean,
  integer,
  LONGEST_TIMER_SECONDS,
  oneOf,
  parseFields,
  seconds,
  text,
  type ValuesOf,
} from '../connections/fields.ts'
import { ConfigError } from '../errors.ts'

export const poolFields = {
  pool_name: text({
    description:
      'The name of the pool in events, in the details of errors and in telemetry, where several pools of one process must differ. Default: `host:port/database`.',
  }),
  pool_size: integer({
    default: 10,
    min: 1,
    description: 'Connections that the pool keeps open once they have been opened.',
  }),
  max_overflow: integer({
    default: 20,
    min: 0,
    description:
      'Connections that may be opened beyond `pool_size` while all are in use. They are closed as soon as they have been idle for half a second.',
  }),
  pool_timeout: seconds({
    default: 30,
    min: 0.001,
    max: LONGEST_TIMER_SECONDS,
    description:
      'The longest that an acquire takes, whatever hangs: a full pool, the token endpoint, DNS, connect, TLS, login, a frozen server. The error says which. A database that refuses (wrong password, unknown host, connection refused) is reported at once; one that is full, starting or busy is tried again until then.',
  }),
  pool_recycle: seconds({
    default: 3600,
    min: -1,
    description:
      'The greatest age of a connection, counted from its opening; an older one is closed when it is idle or returned, never while in use. Up to a tenth is taken off at random, so that connections opened together do not end together. 0 or -1: no limit.',
  }),
  pool_pre_ping: boolean({
    default: true,
    description:
      'Check an idle connection by one round trip before it is handed out. Skipped when it was used, or proven alive, within the last half second.',
  }),
  pool_ping_timeout: seconds({
    default: 5,
    min: 0.001,
    description:
      'How long the answer to a check (and the clean-up of a returned connection) may take before the connection counts as dead; never more than half of `pool_timeout`. Connections that have been idle for longer than one that failed its check are closed with it, so that a dead network costs one wait and not one for each.',
  }),
  pool_idle_timeout: seconds({
    default: 600,
    description: 'Close a connection that has not been used for this long, down to `pool_min_idle`. 0: never.',
  }),
  pool_keepalive: seconds({
    default: 0,
    description:
      'Send a query over an idle connection at this interval, so that firewalls and load balancers do not drop it and a dead connection is noticed early. It does not count as use for `pool_idle_timeout`. 0: never. (TCP keepalive is an option of the driver.)',
  }),
  pool_min_idle: integer({
    default: 0,
    min: 0,
    description:
      'Idle connections to keep ready, opened in the background from the start and again whenever there are fewer, with growing pauses while the database refuses. Within `pool_size`.',
  }),
  pool_reset_on_return: oneOf(['rollback', 'full', 'none'], {
    default: 'rollback',
    description:
      'How a returned connection is cleaned up. `rollback`: an open transaction is rolled back, LISTEN ends, and listeners that were added to the connection are removed; settings and temporary tables stay. `full`: settings, temporary tables, locks and prepared statements are cleared too. `none`: nothing is cleared.',
  }),
  session_init: text({
    description:
      'SQL that runs once on each new session before it is first handed out, and again after a reset under `pool_reset_on_return=full`; several statements are separated by `;`. It counts against `pool_timeout`. Where it fails, the session is closed (`SESSION_INIT_FAILED`). A pooler that gives each transaction another session does not keep what it sets.',
  }),
  leak_detection_threshold: seconds({
    default: 0,
    description:
      'Raise the event `connection:leaked`, with the stack of the line that acquired it, built the query or began the transaction, for a connection in use for longer than this. 0: off, and no stack is taken.',
  }),
  retire_on: oneOf(['never', 'rotation', 'expiry'], {
    default: 'never',
    description:
      'Close open sessions when their credential changes (`rotation`) or expires (`expiry`): when they are idle or returned, never while in use. `never`: they stay open, since a server checks a credential at login only.',
  }),
  pool_rebalance: seconds({
    default: 0,
    max: LONGEST_TIMER_SECONDS,
    description:
      'With a list of hosts: bring sessions back to the servers that come first, one in this time at most. A session is opened at such a server first, to see that it is up and has the role; then one that is open elsewhere is closed, when it is idle or returned. 0: they stay where they are until they are closed for another reason.',
  }),
  drain_timeout: seconds({
    default: 10,
    max: LONGEST_TIMER_SECONDS,
    description:
      'How long `destroy()` waits for connections in use to be returned before it cuts them and cancels the statements that they are running. 0: at once.',
  }),
}

/** The pool's options under their names in the extras; each may be left out. Times are in seconds. */
export type PoolOptions = Partial<ValuesOf<typeof poolFields>>

/** Options of pg's and of tarn's pool, and what stands for them here. */
const OF_OTHER_POOLS: ReadonlyMap<string, string> = new Map([
  ['max', 'pool_size and max_overflow'],
  ['min', 'pool_min_idle'],
  ['connectionTimeoutMillis', 'pool_timeout, in seconds'],
  ['acquireTimeoutMillis', 'pool_timeout, in seconds'],
  ['idleTimeoutMillis', 'pool_idle_timeout, in seconds'],
  ['maxLifetimeSeconds', 'pool_recycle'],
])

/** The message for an option of another pool. */
export function otherPoolsOption(key: string): string | undefined {
  const ours = OF_OTHER_POOLS.get(key)
  return ours === undefined ? undefined : `is an option of another pool; write ${ours}`
}

/** {@link PoolOptions} with its defaults filled in and times in milliseconds; `Infinity` is "never". */
export interface Policy {
  readonly name: string | undefined
  readonly size: number
  readonly max: number
  readonly minIdle: number
  readonly timeoutMillis: number
  readonly recycleMillis: number
  readonly prePing: boolean
  /** The limit of one ping or reset. */
  readonly checkMillis: number
  readonly idleMillis: number
  readonly keepaliveMillis: number
  readonly resetMode: 'rollback' | 'full' | 'none'
  readonly sessionInit: string | undefined
  readonly leakMillis: number
  readonly retireOn: 'never' | 'rotation' | 'expiry'
  readonly drainMillis: number
  readonly rebalanceMillis: number
}

/**
 * Reads pool options.
 *
 * @throws ConfigError with all problems
 */
export function poolPolicy(options: PoolOptions = {}): Policy {
  const { values, problems } = parseFields(poolFields, options, {
    path: '',
    strict: true,
    elsewhere: otherPoolsOption,
  })
  if (problems.length > 0) throw new ConfigError(problems, { subject: 'The pool options' })
  const timeoutMillis = millis(values.pool_timeout)
  return {
    name: values.pool_name,
    size: values.pool_size,
    max: values.pool_size + values.max_overflow,
    minIdle: Math.min(values.pool_min_idle, values.pool_size),
    timeoutMillis,
    recycleMillis: orNever(values.pool_recycle),
    prePing: values.pool_pre_ping,
    checkMillis: Math.min(millis(values.pool_ping_timeout), Math.max(1, Math.floor(timeoutMillis / 2))),
    idleMillis: orNever(values.pool_idle_timeout),
    keepaliveMillis: orNever(values.pool_keepalive),
    resetMode: values.pool_reset_on_return,
    sessionInit: values.session_init,
    leakMillis: orNever(values.leak_detection_threshold),
    retireOn: values.retire_on,
    drainMillis: millis(values.drain_timeout),
    rebalanceMillis: orNever(values.pool_rebalance),
  }
}

function millis(seconds: number): number {
  return Math.ceil(seconds * 1000)
}

function orNever(seconds: number): number {
  return seconds > 0 ? millis(seconds) : Number.POSITIVE_INFINITY
}
