/** Facts about the server and the session, as the server reports them during the login. */

import type { PlaceRole } from '../../events.ts'
import type { LoginAck } from './tedious-internals.ts'

/** `READ_WRITE`, `READ_ONLY`, or null for a database that cannot be opened now (Transact-SQL, DATABASEPROPERTYEX). */
export const UPDATEABILITY = "cast(databasepropertyex(db_name(), 'Updateability') as nvarchar(20))"

/** The question for the user in the first batch of a session; its answer is a message, not a result. */
export const INTRODUCTION = "print N'poolsmith:' + coalesce(suser_sname(), N'')"

/** The question for the role of the server, in the same batch. Read-only: a secondary replica, or a database set so. */
export const ROLE_QUESTION = `print N'poolsmith-role:' + coalesce(${UPDATEABILITY}, N'')`

export class Greeting {
  /** The session's number, from the headers of the server's packets. */
  processId: number | undefined
  user: string | undefined
  /** `16.0.1000` */
  version: string | undefined
  /** Whether the database cannot be written, where the server was asked. */
  readOnly: boolean | undefined

  /** Reads the version in LOGINACK (MS-TDS 2.2.7.14). */
  acknowledged({ progVersion: { major, minor, buildNumHi, buildNumLow } }: LoginAck): void {
    this.version = `${major}.${minor}.${buildNumHi * 256 + buildNumLow}`
  }

  /** Reads the answer to a question of the first batch; false for another message. */
  answered(message: string): boolean {
    const [, about, answer] = /^poolsmith(-role)?:(.*)$/s.exec(message) ?? []
    if (answer === undefined) return false
    if (about !== undefined) this.readOnly = isReadOnly(answer)
    else this.user = answer === '' ? undefined : answer
    return true
  }
}

/** The role of a server whose database is so; a database that is set read-only counts as a secondary's. */
export function roleOf(readOnly: boolean | undefined): PlaceRole | undefined {
  return readOnly === undefined ? undefined : readOnly ? 'secondary' : 'primary'
}

/** Reads {@link UPDATEABILITY}; undefined: the server does not say. */
export function isReadOnly(updateability: string): boolean | undefined {
  return updateability === 'READ_ONLY' ? true : updateability === 'READ_WRITE' ? false : undefined
}
