/** A session on loan from the pool: what runs on it ends with it, and it goes back clean or not at all. */

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { orAbort } from '../../abort.ts'
import { rollback, runBatch } from '../../drivers/sqlserver/requests.ts'
import type { SqlServerConnection } from '../../drivers/sqlserver/tedious-connection.ts'
import type { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import type { ExtractEngine } from './reader.ts'
import type { Statement } from './sqlserver-bound.ts'
import type { AskServer } from './sqlserver-catalogue.ts'
import { sqlServerReadFailure } from './sqlserver-failures.ts'
import { asker, type FieldConsumer, FieldStatement } from './sqlserver-statement.ts'

/** How long a table that somebody else keeps locked is waited for, when the session has no limit. */
const LOCK_TIMEOUT_MILLIS = 60_000
/** How long the server may take to end a cancelled statement, and to end the transaction. */
const CANCEL_MILLIS = 5000
const ROLLBACK_MILLIS = 5000

/** What the server says when the lock is there. */
const HELD = 'poolsmith holds the table'

export interface HeldTable {
  /** Gives the lock up; true when it was there until now. */
  release(): Promise<boolean>
}

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
   * @param shown what is read, for errors
   * @param signal ends everything that runs on the session
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
      const lease = new Lease(engine, connection, await asker(connection), shown, signal)
      await lease.run(() => runBatch(connection, `if @@lock_timeout = -1 set lock_timeout ${LOCK_TIMEOUT_MILLIS}`))
      return lease
    } catch (error) {
      engine.pool.invalidate(connection)
      engine.pool.release(connection)
      throw error
    }
  }

  /**
   * A transaction that sees one state of the database: that of the first thing that it reads. Of a memory-optimized
   * table the hint SNAPSHOT makes that, which such a transaction must not stand in (41332).
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
   * Takes a shared lock on a whole table, which the server itself gives up after a second: whatever becomes of this
   * process or of the network, nobody has to wait for longer.
   *
   * @param table quoted
   * @param patienceMillis how long the lock is waited for
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
        // A lock that was not to be had ends its statement only: the others run, and tell it by the limit.
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
        // There is a transaction to end only if the server has not given the lock up before.
        return rollback(this.#connection).then(
          () => true,
          () => false,
        )
      },
    }
  }

  /** The server's lock of this name for this session alone, until it is given back. */
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

  /** Runs statements that give a few rows at most. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      this.#signal?.throwIfAborted()
      return await orAbort(work(), this.#signal)
    } catch (error) {
      // The statement that may still be running ends with the session.
      if (this.#signal?.aborted) this.#lost = true
      throw this.failure(error)
    }
  }

  async *fields<Item>(statement: Statement, consumer: FieldConsumer<Item>): AsyncGenerator<Item, number | undefined> {
    const running = new FieldStatement(consumer)
    this.#statement = running as FieldStatement<unknown>
    try {
      await running.start(this.#connection, statement)
      for (let item = await running.next(this.#signal); item !== undefined; ) {
        yield item
        item = await running.next(this.#signal)
      }
      return running.rows
    } catch (error) {
      throw this.failure(error)
    }
  }

  failure(error: unknown): PoolsmithError {
    const failure = sqlServerReadFailure(error, this.shown, this.#signal)
    if (failure.code === 'CONNECTION_LOST') this.#lost = true
    return failure
  }

  /** The session is busy with what nobody waits for: it is closed when it is given back. */
  giveUp(): void {
    this.#lost = true
  }

  /** Cancels what still runs, ends the transaction and gives the session back: clean, or not at all. */
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
      const ended = this.#end().then(() => true)
      return await Promise.race([ended, sleep(ROLLBACK_MILLIS, false, { ref: false })])
    } catch {
      // A session that cannot even end its transaction is over.
      return false
    }
  }

  async #end(): Promise<void> {
    if (this.#connection.inTransaction) await rollback(this.#connection)
    if (this.#claimed !== undefined) {
      await this.ask("exec sp_releaseapplock @Resource = @name, @LockOwner = 'Session'", { name: this.#claimed })
    }
    // Not every server's reset of a session takes these back.
    await runBatch(
      this.#connection,
      `set transaction isolation level read committed; if @@lock_timeout = ${LOCK_TIMEOUT_MILLIS} set lock_timeout -1`,
    )
  }
}
