/**
 * The end of a transaction of knex, for both databases. A commit that did not happen is an error for the caller of
 * `commit()` and for the promise of the transaction. Stock knex rejects the promise at best.
 */

import type { Driver } from '../../drivers/driver.ts'
import { withDoubt } from '../../drivers/statement-error.ts'
import { PoolsmithError } from '../../errors.ts'

/** The parts of knex's Transaction that its types leave out. */
export interface KnexTransaction {
  /** The transaction that this one is a savepoint of. */
  readonly outerTx: { isCompleted(): boolean } | null
  readonly trxClient: {
    query(raw: object, sql: string): Promise<{ readonly response?: { readonly command?: string } }>
  }
  _completed: boolean
  isCompleted(): boolean
  /** Both settle the promise of the transaction; the first call counts. */
  _resolver(value?: unknown): void
  _rejecter(error: unknown): void
}

/** The errors that ended transactions, by connection: the cause of a commit that fails later. */
export class TransactionCauses {
  readonly #causes = new WeakMap<object, Error>()

  /** The first error counts: later ones are its consequences. */
  note(raw: object, error: Error): void {
    if (!this.#causes.has(raw)) this.#causes.set(raw, error)
  }

  of(raw: object): Error | undefined {
    return this.#causes.get(raw)
  }

  /** To be called when a transaction begins. */
  forget(raw: object): void {
    this.#causes.delete(raw)
  }
}

const committed = new WeakSet<KnexTransaction>()

/**
 * Commits a transaction, or releases a savepoint.
 *
 * @param commit sends the request in this turn of the event loop; rejects when it did not happen
 * @throws the reason, with which the promise of the transaction has been rejected too
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
    // As in knex: the function of a transaction may commit and then return, which commits once more.
    if (committed.has(transaction)) return
    throw rolledBack('The transaction had ended before this commit.', undefined)
  }
  const wasAlive = !driver.isBroken(raw)
  const sent = commit()
  // Not earlier: knex refuses the statements of a completed transaction.
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

export function isTransient(error: Error | undefined): boolean {
  return (error as { readonly transient?: boolean } | undefined)?.transient === true
}

/** @param cause the error that ended the transaction, where it is known */
export function rolledBack(message: string, cause: Error | undefined): PoolsmithError {
  return new PoolsmithError(message, {
    code: 'TRANSACTION_ROLLED_BACK',
    phase: 'query',
    hint: 'Nothing of it was written. Let the error of a statement end the transaction, or run that statement in a nested one.',
    // A deadlock, for example: the whole transaction may succeed later.
    transient: isTransient(cause),
    cause,
  })
}

/** The error of a transaction that SQL of the program, perhaps in a procedure, has ended by COMMIT. */
export function committedByStatement(): PoolsmithError {
  return new PoolsmithError('A statement of the transaction has committed it: what was done up to there is written.', {
    code: 'TRANSACTION_COMMITTED',
    phase: 'query',
    hint: 'Leave COMMIT to knex: take it out of the SQL of the transaction, and of the procedures that it calls.',
  })
}

/**
 * Rejects a transaction with the error that it is rolled back for, also if the rollback fails because the session has
 * ended: that ends the transaction too.
 */
export function tellFirst(transaction: KnexTransaction, raw: object, driver: Driver<object>, error: unknown): void {
  if (error === undefined) return
  const { _rejecter: reject } = transaction
  transaction._rejecter = (reason) => reject.call(transaction, driver.isBroken(raw) ? error : reason)
}
