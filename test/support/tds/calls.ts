/** Part of the TDS server test double: the procedures that clients call by number (MS-TDS 2.2.6.6). */

import type { Batches } from './batches.ts'
import { SERVER_NAME } from './login.ts'
import type { Journal } from './options.ts'
import { type Parameter, type RpcRequest, readCalls } from './parameters.ts'
import type { Response } from './response.ts'
import { DONE, errorToken, returnValue } from './tokens.ts'
import { SqlError } from './translate.ts'
import { items, temporaryTables, tokenize } from './tsql.ts'
import { intN, type TdsType, typeOf } from './types.ts'

interface Prepared {
  readonly sql: string
  readonly declared: string
}

export class Calls {
  readonly #batches: Batches
  readonly #journal: Journal
  readonly #prepared = new Map<number, Prepared>()
  #handles = 0

  constructor(batches: Batches, journal: Journal) {
    this.#batches = batches
    this.#journal = journal
  }

  /** A reset drops what was prepared. */
  forget(): void {
    this.#prepared.clear()
  }

  /** Answers all calls of a message; one that fails does not stop those behind it. */
  async answer(data: Buffer, response: Response): Promise<void> {
    const calls = readCalls(data)
    for (const [index, call] of calls.entries()) {
      const isLast = index === calls.length - 1
      try {
        await this.#call(call, response)
      } catch (error) {
        if (!(error instanceof SqlError) || isLast) throw error
        await response.write(errorToken(error, SERVER_NAME))
        await response.endCall(DONE.error | DONE.more)
        continue
      }
      if (!isLast) await response.endCall(DONE.more)
    }
  }

  async #call({ procedure, parameters }: RpcRequest, response: Response): Promise<void> {
    const [first, second, third] = parameters.map(({ value }) => value ?? '')
    switch (procedure.toLowerCase()) {
      case 'sp_executesql':
        return this.#run({ sql: first ?? '', declared: second ?? '' }, parameters.slice(2), response)
      case 'sp_prepare':
        response.returns(this.#prepare(parameters[0], { declared: second ?? '', sql: third ?? '' }))
        return
      case 'sp_prepexec': {
        const prepared = { declared: second ?? '', sql: third ?? '' }
        const handle = this.#prepare(parameters[0], prepared)
        await this.#run(prepared, parameters.slice(3), response)
        response.returns(handle)
        return
      }
      case 'sp_execute': {
        const prepared = this.#prepared.get(Number(first))
        if (prepared === undefined) {
          throw new SqlError(8179, 4, 16, `Could not find prepared statement with handle ${first}.`)
        }
        return this.#run(prepared, parameters.slice(1), response)
      }
      case 'sp_unprepare':
        this.#prepared.delete(Number(first))
        return
      default:
        throw new SqlError(2812, 62, 16, `Could not find stored procedure '${procedure}'.`)
    }
  }

  #prepare(output: Parameter | undefined, prepared: Prepared): Buffer {
    this.#prepared.set(++this.#handles, prepared)
    return returnValue(output?.name ?? '', intN(4), String(this.#handles))
  }

  /** A statement in a scope of its own, whose end drops its temporary tables and restores its settings. */
  async #run({ sql, declared }: Prepared, values: readonly Parameter[], response: Response): Promise<void> {
    if (declared !== '') this.#journal.declarations.push(declared)
    const before = this.#batches.lockTimeout
    try {
      const variables = await this.#batches.run(sql, named(values, declared), response)
      for (const [index, { isOutput, name }] of values.entries()) {
        const last = variables[index]
        if (isOutput === true && last !== undefined) {
          response.returns(returnValue(name === '' ? '' : `@${name}`, outputType(last), last.value))
        }
      }
      for (const name of temporaryTables(sql)) {
        await this.#batches.backend.execute(`drop table if exists pg_temp."${name.replaceAll('"', '""')}"`)
      }
    } finally {
      this.#batches.lockTimeout = before
    }
  }
}

/** Values without a name belong to the declarations in their order, as JDBC and ODBC send them. */
function named(values: readonly Parameter[], declared: string): Parameter[] {
  const names = items(tokenize(declared)).map((one) => one.find(({ kind }) => kind === 'variable')?.text ?? '')
  return values.map((value, index) => (value.name === '' ? { ...value, name: names[index] ?? '' } : value))
}

/** PostgreSQL's ids of the types that {@link file://./parameters.ts} casts to. */
const TYPES: Readonly<Record<string, number>> = { bigint: 20, integer: 23, smallint: 21, boolean: 16, uuid: 2950 }

function outputType({ cast = '' }: Parameter): TdsType {
  if (cast === 'double precision') return typeOf(701, -1, new Map())
  return typeOf(TYPES[cast] ?? 1043, -1, new Map())
}
