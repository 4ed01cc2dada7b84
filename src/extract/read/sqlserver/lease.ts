/** A session borrowed from the pool, and the statement that runs on it. */

import { createHash } from 'node:crypto'
import { orAbort, within } from '../../../abort.ts'
import type { Statement } from '../../../drivers/sqlserver/bound-value.ts'
import { rollback, runBatch } from '../../../drivers/sqlserver/requests.ts'
import {
  asker,
  type FieldConsumer,
  FieldStatement,
  type SqlServerConnection,
} from '../../../drivers/sqlserver/statement.ts'
import type { PoolsmithError } from '../../../errors.ts'
import { loadPackage } from '../../../optional-package.ts'
import type { ExtractEngine } from '../table.ts'
import type { AskServer } from './catalogue.ts'
import { readFailure } from './failures.ts'
import { compiled } from './sql.ts'

/** How long a lock of another session is waited for, when the session has no limit. */
const LOCK_TIMEOUT_MILLIS = 60_000
/** How long the server may take to end a cancelled statement, and to end the transaction. */
const CANCEL_MILLIS = 5000
const ROLLBACK_MILLIS = 5000

/** The server's message when it has given the lock. */
const HELD = 'poolsmith holds the table'

/** A table that is locked against changes. */
export interface HeldTable {
  /** Releases the lock; true when it was held until now. */
  release(): Promise<boolean>
}

/** Disposing it ends all that runs on the session, and returns the session to the pool clean or closed. */
export class Lease implements AsyncDisposable {
  readonly #engine: ExtractEngine
  readonly #connection: SqlServerConnection
  readonly #signal: AbortSignal | undefined
  readonly ask: AskServer
  /** For errors. */
  readonly shown: string
  #statement: FieldStatement<unknown> | undefined
  #claimed: string | undefined
  #lost = false
  #returned = false

  private constructor(
    engine: ExtractEngine,
    connection: SqlServerConnection,
    ask: AskServer,
    shown: string,
    signal: AbortSignal | undefined,
  ) {
    this.#engine = engine
    this.#connection = connection
    this.ask = ask
    this.shown = shown
    this.#signal = signal
  }

  /**
   * Borrows a session.
   *
   * @param shown the table or query, for errors
   * @param signal ends all that runs on the session
   * @param patience ends the wait for the pool
   */
  static async take(
    engine: ExtractEngine,
    shown: string,
    signal: AbortSignal | undefined,
    patience = signal,
  ): Promise<Lease> {
    const connection = (await engine.pool.acquire({ signal: patience }).promise) as SqlServerConnection
    try {
      const run = await asker(connection)
      const ask: AskServer = (question, parameters) =>
        run(typeof question === 'string' ? { text: question, values: [] } : compiled(question), parameters)
      const lease = new Lease(engine, connection, ask, shown, signal)
      await lease.run(() => runBatch(connection, `if @@lock_timeout = -1 set lock_timeout ${LOCK_TIMEOUT_MILLIS}`))
      return lease
    } catch (error) {
      engine.pool.invalidate(connection)
      engine.pool.release(connection)
      throw error
    }
  }

  /**
   * Begins a transaction that sees the database as it is at its first read. For a memory-optimized table the hint
   * SNAPSHOT does that, which is not allowed in a transaction under SNAPSHOT isolation (41332).
   */
  beginSnapshot(inMemory = false): Promise<void> {
    return this.#begin(inMemory ? 'READ_COMMITTED' : 'SNAPSHOT')
  }

  async #begin(level: 'SNAPSHOT' | 'READ_COMMITTED'): Promise<void> {
    const { ISOLATION_LEVEL } = await loadPackage('tedious', () => import('tedious'), 'Reading from SQL Server')
    await new Promise<void>((resolve, reject) => {
      this.#connection.beginTransaction((error) => (error ? reject(error) : resolve()), '', ISOLATION_LEVEL[level])
    })
  }

  /**
   * Takes a shared lock on a whole table. The server itself releases it after a second, so that other sessions do not
   * wait for longer if this process or the network fails.
   *
   * @param table quoted
   * @param patienceMillis how long to wait for the lock
   */
  async holdTable(table: string, patienceMillis: number): Promise<HeldTable> {
    await this.#begin('READ_COMMITTED')
    const { Request } = await loadPackage('tedious', () => import('tedious'), 'Reading from SQL Server')
    const { promise: held, resolve: onHeld } = Promise.withResolvers<void>()
    const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
    const onInfo = ({ message }: { readonly message: string }): void => {
      if (message === HELD) onHeld()
    }
    const request = new Request(
      `set lock_timeout ${patienceMillis}; select top (1) 1 as one from ${table} with (tablock, holdlock); ` +
        // A lock that is not given in time ends its statement only. The next statements see by the limit that it was
        // not.
        `if @@error = 0 set lock_timeout ${LOCK_TIMEOUT_MILLIS}; ` +
        `if @@lock_timeout = ${LOCK_TIMEOUT_MILLIS} raiserror('${HELD}', 0, 1) with nowait; ` +
        `if @@lock_timeout = ${LOCK_TIMEOUT_MILLIS} waitfor delay '00:00:01'; ` +
        `set lock_timeout ${LOCK_TIMEOUT_MILLIS}; rollback`,
      (error) => (error ? reject(error) : resolve()),
    )
    request.setTimeout(0)
    this.#connection.on('infoMessage', onInfo)
    this.#connection.execSqlBatch(request)
    ended.catch(() => undefined)
    try {
      await Promise.race([held, ended])
    } catch (error) {
      if (this.#connection.inTransaction) await rollback(this.#connection)
      throw error
    } finally {
      this.#connection.off('infoMessage', onInfo)
    }
    return {
      release: async () => {
        request.cancel()
        await ended.catch(() => undefined)
        // The rollback succeeds only if the server has not released the lock before.
        return rollback(this.#connection).then(
          () => true,
          () => false,
        )
      },
    }
  }

  /** Takes the server's lock of this name until the session is returned; false when another session has it. */
  async claim(name: string): Promise<boolean> {
    const resource = `poolsmith ${createHash('sha256').update(name).digest('hex')}`
    const [[answer] = []] = await this.ask(
      'declare @answer int; exec @answer = sp_getapplock @Resource = @name, ' +
        "@LockMode = 'Exclusive', @LockOwner = 'Session', @LockTimeout = 0; select @answer as answer",
      { name: resource },
    )
    const isOurs = Number(answer) >= 0
    if (isOurs) this.#claimed = resource
    return isOurs
  }

  /** Runs short statements. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      this.#signal?.throwIfAborted()
      return await orAbort(work(), this.#signal)
    } catch (error) {
      // A statement may still run; closing the session ends it.
      if (this.#signal?.aborted) this.#lost = true
      throw this.failure(error)
    }
  }

  /** Runs a statement for the fields of its rows; returns the number of rows that the server says it sent. */
  async *fields<Item>(statement: Statement, consumer: FieldConsumer<Item>): AsyncGenerator<Item, number | undefined> {
    const running = new FieldStatement(consumer)
    this.#statement = running as FieldStatement<unknown>
    try {
      await running.start(this.#connection, statement)
      for (;;) {
        const item = await running.next(this.#signal)
        if (item === undefined) return running.rows
        yield item
      }
    } catch (error) {
      throw this.failure(error)
    }
  }

  failure(error: unknown): PoolsmithError {
    const failure = readFailure(error, this.shown, this.#signal)
    if (failure.code === 'CONNECTION_LOST') this.#lost = true
    return failure
  }

  /** The session runs a statement that is not needed any more: it is closed when it is returned. */
  giveUp(): void {
    this.#lost = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#returned) return
    this.#returned = true
    const clean = await this.#clean()
    if (!clean) this.#engine.pool.invalidate(this.#connection)
    this.#engine.pool.release(this.#connection)
  }

  async #clean(): Promise<boolean> {
    if (this.#lost) return false
    const statement = this.#statement
    if (statement !== undefined && !statement.settled && !(await statement.stop(AbortSignal.timeout(CANCEL_MILLIS)))) {
      return false
    }
    try {
      await within(this.#end(), ROLLBACK_MILLIS)
      return true
    } catch {
      // The pool closes it.
      return false
    }
  }

  async #end(): Promise<void> {
    if (this.#connection.inTransaction) await rollback(this.#connection)
    if (this.#claimed !== undefined) {
      await this.ask("exec sp_releaseapplock @Resource = @name, @LockOwner = 'Session'", { name: this.#claimed })
    }
    // Not every server resets these when it resets a session.
    await runBatch(
      this.#connection,
      `set transaction isolation level read committed; if @@lock_timeout = ${LOCK_TIMEOUT_MILLIS} set lock_timeout -1`,
    )
  }
}
