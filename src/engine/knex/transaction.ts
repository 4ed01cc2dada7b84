/**
 * How a transaction of knex's ends, for both databases: a commit that did not happen is an error, for the caller of
 * `commit()` and for the promise of the transaction alike. Stock knex tells the second at best.
 */

import type { Driver } from '../../drivers/driver.ts'
import { PoolsmithError } from '../../errors.ts'

/** The parts of a transaction of knex's that its types do not tell. */
export interface KnexTransaction {
  /** The transaction that this one is a savepoint of. */
  readonly outerTx: { isCompleted(): boolean } | null
  readonly trxClient: {
    query(raw: object, sql: string): Promise<{ readonly response?: { readonly command?: string } }>
  }
  _completed: boolean
  isCompleted(): boolean
  /** Settle the promise of the transaction; the first call counts. */
  _resolver(value?: unknown): void
  _rejecter(error: unknown): void
}

/** The errors that ended transactions, by their connections: the cause of a commit that fails for it later. */
export class TransactionCauses {
  readonly #causes = new WeakMap<object, Error>()

  /** The first error counts: those after it are its consequences. */
  note(raw: object, error: Error): void {
    if (!this.#causes.has(raw)) this.#causes.set(raw, error)
  }

  of(raw: object): Error | undefined {
    return this.#causes.get(raw)
  }

  /** A transaction begins. */
  forget(raw: object): void {
    this.#causes.delete(raw)
  }
}

const committed = new WeakSet<KnexTransaction>()

/**
 * Ends a transaction or savepoint by keeping what it wrote.
 *
 * @param commit sends it, in this turn of the event loop; rejects when it did not happen
 * @throws what kept it from happening, after the promise of the transaction has been rejected with it
 */
export async function keep(
  transaction: KnexTransaction,
  {
    raw,
    value,
    driver,
    commit,
  }: {
    readonly raw: object
    readonly value: unknown
    readonly driver: Driver<object>
    readonly commit: () => Promise<void>
  },
): Promise<void> {
  if (transaction.isCompleted()) {
    // As in knex: a function that has committed itself may return, which commits once more.
    if (committed.has(transaction)) return
    throw rolledBack('The transaction had ended before this commit.', undefined)
  }
  const wasAlive = !driver.isBroken(raw)
  const sent = commit()
  // Not before: knex refuses the statements of a completed transaction.
  transaction._completed = true
  try {
    await sent
  } catch (error) {
    const told = wasAlive && transaction.outerTx === null ? withDoubt(error) : error
    transaction._rejecter(told)
    throw told
  }
  committed.add(transaction)
  transaction._resolver(value)
}

/** @param cause the error that ended the transaction, where it is known */
export function rolledBack(message: string, cause: Error | undefined): PoolsmithError {
  return new PoolsmithError(message, {
    code: 'TRANSACTION_ROLLED_BACK',
    phase: 'query',
    hint: 'Nothing of it was written. Let the error of a statement end the transaction, or run that statement in a nested one.',
    // A deadlock, for example: the whole transaction may succeed later.
    transient: (cause as { readonly transient?: boolean } | undefined)?.transient === true,
    cause,
  })
}

/** A session that ends between COMMIT and its answer leaves open whether the server has committed. */
function withDoubt(error: unknown): unknown {
  if (!(error instanceof PoolsmithError) || error.code !== 'CONNECTION_LOST') return error
  return error.with({
    message: `It is not known whether the transaction was committed: ${error.message}`,
    hint: 'Look whether its changes are there before you run it again.',
    transient: false,
    details: { outcome: 'unknown' },
  })
}

/**
 * Lets the error that a transaction is rolled back for be the one that is told, also where the rollback fails with its
 * session: that ends the transaction as well.
 */
export function tellFirst(transaction: KnexTransaction, raw: object, driver: Driver<object>, error: unknown): void {
  if (error === undefined) return
  const { _rejecter: reject } = transaction
  transaction._rejecter = (reason) => reject.call(transaction, driver.isBroken(raw) ? error : reason)
}
