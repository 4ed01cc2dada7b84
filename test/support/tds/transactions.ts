/** Part of the TDS server test double: the transactions of one session (MS-TDS 2.2.6.9). */

import { randomBytes } from 'node:crypto'
import type { Backend } from './backend.ts'
import type { Response } from './response.ts'
import { envBytes } from './tokens.ts'
import { SqlError } from './translate.ts'

const NO_TRANSACTION = Buffer.alloc(8)
const TRANSACTION = { begin: 5, commit: 7, rollback: 8, save: 9 } as const
const ISOLATION = ['', 'read uncommitted', 'read committed', 'repeatable read', 'serializable', 'repeatable read']
const SNAPSHOT = 5

export class Transactions {
  /** How often BEGIN was nested. */
  count = 0
  isSnapshot = false
  #descriptor: Buffer = NO_TRANSACTION
  readonly #savepoints = new Set<string>()
  readonly #backend: () => Backend

  constructor(backend: () => Backend) {
    this.#backend = backend
  }

  async request(data: Buffer, response: Response): Promise<void> {
    const kind = data.readUInt16LE(0)
    const name = (at: number): string => data.subarray(at + 1, at + 1 + (data[at] ?? 0) * 2).toString('utf16le')
    switch (kind) {
      case TRANSACTION.begin:
        this.isSnapshot = data[2] === SNAPSHOT
        return this.begin(response, ISOLATION[data[2] ?? 0])
      case TRANSACTION.commit:
        await this.commit(response)
        return this.#beginNext(data, response)
      case TRANSACTION.rollback:
        await this.rollback(name(2), response)
        return this.#beginNext(data, response)
      case TRANSACTION.save:
        return this.save(name(2))
      default:
        throw new SqlError(3980, 1, 16, `Transaction manager request ${kind} is not known here.`)
    }
  }

  /** fBeginXact: the next transaction begins with the end of this one. */
  async #beginNext(data: Buffer, response: Response): Promise<void> {
    const flags = 3 + (data[2] ?? 0) * 2
    if (((data[flags] ?? 0) & 1) === 0 || this.count > 0) return
    this.isSnapshot = data[flags + 1] === SNAPSHOT
    await this.begin(response, ISOLATION[data[flags + 1] ?? 0])
  }

  async begin(response: Response, isolation = ''): Promise<void> {
    this.count++
    if (this.count > 1) return
    await this.#backend().execute(isolation === '' ? 'begin' : `begin isolation level ${isolation}`)
    this.#descriptor = randomBytes(8)
    await response.write(envBytes('begin', this.#descriptor, Buffer.alloc(0)))
  }

  async commit(response: Response): Promise<void> {
    if (this.count === 0) {
      throw new SqlError(3902, 1, 16, 'The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.')
    }
    this.count--
    if (this.count > 0) return
    await this.#backend().execute('commit')
    await response.write(envBytes('commit', Buffer.alloc(0), this.#descriptor))
    this.ended()
  }

  async rollback(name: string, response: Response): Promise<void> {
    if (this.count === 0) {
      throw new SqlError(3903, 1, 16, 'The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.')
    }
    if (this.#savepoints.has(name)) {
      await this.#backend().execute(`rollback to savepoint "${name}"`)
      return
    }
    await this.#backend().execute('rollback')
    await response.write(envBytes('rollback', Buffer.alloc(0), this.#descriptor))
    this.ended()
  }

  ended(): void {
    this.count = 0
    this.#descriptor = NO_TRANSACTION
    this.#savepoints.clear()
  }

  async save(name: string): Promise<void> {
    await this.#backend().execute(`savepoint "${name}"`)
    this.#savepoints.add(name)
  }
}
