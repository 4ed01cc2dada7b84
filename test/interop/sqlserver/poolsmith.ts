/** Our own driver beside the others of the table: the same requests and answers, through knex. */

import type { Knex } from 'knex'
import { type Connection, Request, TYPES } from 'tedious'
import { createEngine, type Engine } from '../../../src/index.ts'
import type { Answer } from './clients.ts'

export class Poolsmith implements AsyncDisposable {
  readonly #engine: Engine
  #transaction: Knex.Transaction | undefined

  private constructor(engine: Engine) {
    this.#engine = engine
  }

  static async connect(record: Parameters<typeof createEngine>[0]): Promise<Poolsmith> {
    return new Poolsmith(await createEngine(record))
  }

  async get(verb: string, ...words: readonly string[]): Promise<Answer> {
    const [text = '', ...values] = words
    const db = this.#transaction ?? this.#engine
    switch (verb) {
      case 'run':
      case 'execute': {
        const rows = (await db.raw(text, values.map(parameterOf) as Knex.RawBinding[])) as object[]
        return { results: [{ rows: rows.map((row) => Object.values(row).map(textOf)) }] }
      }
      case 'repeat': {
        const answers: Answer[] = []
        for (const value of values) answers.push(await this.get('execute', text, value))
        return { answers }
      }
      case 'change':
        return { changed: await this.#request((raw, request) => raw.execSqlBatch(request), text) }
      case 'output': {
        let out: unknown
        await this.#request((raw, request) => {
          request.addOutputParameter('out', TYPES.BigInt)
          request.on('returnValue', (_, value) => {
            out = value
          })
          raw.execSql(request)
        }, text)
        return { out: Number(out) }
      }
      case 'bulk': {
        const lines = values.map((line) => line.split(','))
        const changed = await this.#engine.pool.use(async (raw: Connection) => {
          const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
          const load = raw.newBulkLoad(text, (error, count) => (error ? reject(error) : resolve(count)))
          load.addColumn('id', TYPES.Int, { nullable: true })
          load.addColumn('note', TYPES.NVarChar, { nullable: true, length: 20 })
          raw.execBulkLoad(
            load,
            lines.map(([id, note]) => [Number(id), note]),
          )
          return promise
        })
        return { changed }
      }
      case 'count': {
        let rows = 0
        for await (const _ of db.raw(text).stream()) rows++
        return { rows }
      }
      case 'leave':
        for await (const row of db.raw(text).stream()) return { first: String(Object.values(row as object)[0]) }
        return {}
      case 'timeout':
      case 'cancel':
        try {
          await db.raw(text).timeout(1000, { cancel: true })
          return {}
        } catch (error) {
          return { error: -1, message: String(error) }
        }
      case 'begin':
        this.#transaction = await this.#engine.transaction(undefined, {
          isolationLevel: text as Knex.IsolationLevels,
        })
        return {}
      case 'commit':
        await this.#transaction?.commit()
        this.#transaction = undefined
        return {}
      case 'rollback':
        await this.#transaction?.rollback()
        this.#transaction = undefined
        return {}
      default:
        throw new TypeError(`poolsmith: no verb ${verb}`)
    }
  }

  /** A request of tedious itself. @returns the number of rows */
  #request(make: (raw: Connection, request: Request) => void, sql: string): Promise<number | undefined> {
    return this.#engine.pool.use(async (raw: Connection) => {
      const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
      make(raw, new Request(sql, (error, count) => (error ? reject(error) : resolve(count))))
      return promise
    })
  }

  async rows(sql: string): Promise<readonly (readonly (string | null)[])[]> {
    return (await this.get('run', sql)).results?.[0]?.rows ?? []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine.destroy()
  }
}

function parameterOf(word: string): unknown {
  const colon = word.indexOf(':')
  const value = word.slice(colon + 1)
  switch (word.slice(0, colon)) {
    case 'int':
    case 'float':
      return Number(value)
    case 'bigint':
      return BigInt(value)
    case 'bit':
      return value === '1'
    case 'bytes':
      return Buffer.from(value, 'hex')
    case 'null':
      return null
    default:
      return value
  }
}

function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'boolean') return value ? '1' : '0'
  if (Buffer.isBuffer(value)) return value.toString('hex')
  return String(value)
}
