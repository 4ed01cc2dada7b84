/** Part of the TDS server test double: the procedures that clients call by number (MS-TDS 2.2.6.6). */

import type { Batches } from './batches.ts'
import { Cursors } from './cursors.ts'
import { SERVER_NAME } from './login.ts'
import { type RpcRequest, readCalls } from './parameters.ts'
import type { Prepared } from './procedures.ts'
import type { Response } from './response.ts'
import { DONE, errorToken } from './tokens.ts'
import { SqlError } from './translate.ts'

export class Calls {
  readonly #batches: Batches
  readonly #prepared = new Map<number, Prepared>()
  readonly #cursors: Cursors
  #handles = 0

  constructor(batches: Batches) {
    this.#batches = batches
    this.#cursors = new Cursors(batches)
  }

  /** A reset drops what was prepared and opened. */
  forget(): void {
    this.#prepared.clear()
    this.#cursors.forget()
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

  async #call({ procedure, parameters, knowsColumns }: RpcRequest, response: Response): Promise<void> {
    const [first, second, third, fourth] = parameters.map(({ value }) => value ?? '')
    const { procedures } = this.#batches
    switch (procedure.toLowerCase()) {
      case 'sp_prepare':
      case 'sp_cursorprepare':
        response.returnsInt(parameters[0], this.#prepare({ declared: second ?? '', sql: third ?? '' }))
        return
      case 'sp_prepexec': {
        const prepared = { declared: second ?? '', sql: third ?? '' }
        const handle = this.#prepare(prepared)
        await procedures.executeSql(prepared, parameters.slice(3), response)
        response.returnsInt(parameters[0], handle)
        return
      }
      case 'sp_execute':
        await procedures.executeSql(this.#find(first), parameters.slice(1), response)
        return
      case 'sp_unprepare':
      case 'sp_cursorunprepare':
        this.#prepared.delete(Number(first))
        return
      case 'sp_cursoropen': {
        // Cursor, text, scrolling, locking, rows; and with parameters their declaration and values.
        const prepared = { sql: second ?? '', declared: parameters[5]?.value ?? '' }
        const request = [parameters[0], parameters[2], parameters[3], parameters[4]] as const
        return this.#cursors.open(prepared, parameters.slice(6), request, response)
      }
      case 'sp_cursorprepexec': {
        // Statement, cursor, declaration, text, scrolling, locking, rows, values.
        const prepared = { declared: third ?? '', sql: fourth ?? '' }
        response.returnsInt(parameters[0], this.#prepare(prepared))
        const request = [parameters[1], parameters[4], parameters[5], parameters[6]] as const
        return this.#cursors.open(prepared, parameters.slice(7), request, response)
      }
      case 'sp_cursorexecute': {
        const request = [parameters[1], parameters[2], parameters[3], parameters[4]] as const
        return this.#cursors.open(this.#find(first), parameters.slice(5), request, response)
      }
      case 'sp_cursorfetch':
        return this.#cursors.fetch(parameters, knowsColumns, response)
      case 'sp_cursorclose':
        return this.#cursors.close(first)
      case 'sp_cursoroption':
        return
      default:
        await procedures.call(procedure, parameters, response)
    }
  }

  #find(handle: string | undefined): Prepared {
    const prepared = this.#prepared.get(Number(handle))
    if (prepared !== undefined) return prepared
    throw new SqlError(8179, 4, 16, `Could not find prepared statement with handle ${handle}.`)
  }

  #prepare(prepared: Prepared): number {
    this.#prepared.set(++this.#handles, prepared)
    return this.#handles
  }
}
