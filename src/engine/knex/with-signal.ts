/** The signals that statements and transactions of knex are given. Nothing is imported: the main door loads this. */

/** On a builder: its signal. On a connection: the signal of the transaction that has it. */
const SIGNAL = Symbol('signal')
/** On the prototype of our clients of knex. */
export const HEEDS_SIGNALS = Symbol('heeds signals')

interface Signalled {
  [SIGNAL]?: AbortSignal | undefined
}

interface KnexClient {
  readonly [HEEDS_SIGNALS]?: true
  acquireConnection(options?: { readonly signal: AbortSignal }): Promise<object>
  releaseConnection(raw: object): Promise<void>
}

interface TransactionConfig {
  readonly connection?: object
}

/** The parts of a builder, a Transaction or a Transactor of knex that a signal needs. */
interface Target extends Signalled {
  readonly client?: KnexClient
  /** Of a builder: it makes SQL. */
  readonly toSQL?: unknown
  /** Of the object that the function of a transaction gets. */
  readonly isTransaction?: boolean
  /** Of a Transaction. */
  acquireConnection?(config: TransactionConfig | undefined, work: unknown): Promise<unknown>
}

/**
 * Gives a statement or a transaction of an engine a signal, and returns it. When the signal aborts, the wait for a
 * connection ends, or the server is asked to end the running statement, and no other one. The session is good for the next
 * caller, or closed.
 *
 * A transaction takes it in two places: `withSignal(db.transaction(work), signal)` as soon as it is made, or in its
 * function, `withSignal(trx, signal)`. Its running statement is ended, and the next one is refused, so that it is rolled
 * back; a commit that was sent is not undone. The signal counts for savepoints too. A clone of a builder has no signal.
 *
 * @param signal undefined: no signal
 * @throws TypeError for anything but a builder, `raw` or a transaction of `createEngine`. The statement itself rejects with
 *   PoolsmithError ABORTED, whose cause is the signal's reason.
 *
 * @example
 * await withSignal(db('flights').where({ carrier: 'AA' }), AbortSignal.timeout(5000))
 */
export function withSignal<T extends object>(target: T, signal: AbortSignal | undefined): T {
  const given = target as Target
  const { client } = given
  if (client?.[HEEDS_SIGNALS] !== true) throw unsuitable()
  if (signal === undefined) return target
  if (given.isTransaction === true) {
    // Served before any statement: a transaction has its connection.
    void client.acquireConnection().then((raw) => sign(raw, signal))
  } else if (given.toSQL !== undefined) given[SIGNAL] = signal
  else if (given.acquireConnection !== undefined) acquireUnder(signal, given, client)
  else throw unsuitable()
  return target
}

/** knex calls the method in a later turn, so a transaction that has just been made waits under the signal. */
function acquireUnder(signal: AbortSignal, transaction: Target, client: KnexClient): void {
  const { acquireConnection: acquire } = transaction
  transaction.acquireConnection = async (config, work) => {
    const own = config?.connection
    const raw = own ?? (await client.acquireConnection({ signal }))
    sign(raw, signal)
    try {
      return await acquire?.call(transaction, { ...config, connection: raw }, work)
    } finally {
      forgetSignal(raw)
      if (own === undefined) await client.releaseConnection(raw)
    }
  }
}

function sign(raw: object, signal: AbortSignal): void {
  const place = raw as Signalled
  place[SIGNAL] = signal
}

/** To be called when a connection is returned. */
export function forgetSignal(raw: object): void {
  const place = raw as Signalled
  if (place[SIGNAL] !== undefined) place[SIGNAL] = undefined
}

/** The signal of a builder, or of the transaction that has a connection. */
export function signalOf(target: object | undefined): AbortSignal | undefined {
  return (target as Signalled | undefined)?.[SIGNAL]
}

function unsuitable(): TypeError {
  return new TypeError(
    'withSignal takes a builder, raw or a transaction of createEngine; await db.transaction() before you pass its result.',
  )
}
