/** Part of the TDS server test double: the result of a statement on its way to the client. */

import type { Answer } from './backend.ts'
import type { Faults } from './faults.ts'
import type { Response } from './response.ts'
import { refusal, strike } from './strike.ts'
import { colMetadata, DONE, rowToken } from './tokens.ts'
import type { Column } from './types.ts'

export interface SendOptions {
  readonly faults: Faults
  /** Whether the client takes UTF-8. */
  readonly utf8: boolean
  /** SET FMTONLY: the columns alone. */
  readonly formatOnly: boolean
  readonly noCount: boolean
}

function widened(column: Column): Column {
  return { ...column, type: column.type.wide ?? column.type }
}

/** Sends columns, rows and DONE. @returns the number of rows, where the statement has one */
export async function sendAnswer(
  answer: Answer,
  response: Response,
  { faults, utf8, formatOnly, noCount }: SendOptions,
): Promise<number | undefined> {
  const columns = utf8 ? answer.columns : answer.columns.map(widened)
  if (columns.length > 0) await response.write(colMetadata(columns))
  if (formatOnly) {
    await answer.close()
    await response.done(DONE.final, noCount ? undefined : 0)
    return 0
  }
  const isLeft = (): boolean => response.isStopping || response.transport.closed
  let sent = 0
  for (let rows = await answer.read(); rows.length > 0 && !isLeft(); rows = await answer.read()) {
    if (columns.length === 0) break
    for (const row of rows) {
      if (faults.has('rows')) {
        await response.writer.flush()
        const refused = await strike(response.transport, faults, 'rows', sent)
        if (refused !== undefined) throw refusal(refused)
      }
      await response.write(rowToken(columns, row))
      sent++
      if (isLeft()) break
    }
  }
  if (isLeft()) await answer.close()
  const count = answer.rowCount()
  await response.done(DONE.final, noCount ? undefined : count, answer.command())
  return count
}
