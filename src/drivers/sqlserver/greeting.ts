/** Facts about the server and the session, as the server reports them during the login. */

import type { LoginAck } from './tedious-internals.ts'

/** The question for the user in the first batch of a session; its answer is a message, not a result. */
export const INTRODUCTION = "print N'poolsmith:' + coalesce(suser_sname(), N'')"

export class Greeting {
  /** The session's number, from the headers of the server's packets. */
  processId: number | undefined
  user: string | undefined
  /** `16.0.1000` */
  version: string | undefined

  /** Reads the version in LOGINACK (MS-TDS 2.2.7.14). */
  acknowledged({ progVersion: { major, minor, buildNumHi, buildNumLow } }: LoginAck): void {
    this.version = `${major}.${minor}.${buildNumHi * 256 + buildNumLow}`
  }

  /** Reads the answer to the introduction; false for another message. */
  introduced(message: string): boolean {
    const [, user] = /^poolsmith:(.*)$/s.exec(message) ?? []
    if (user === undefined) return false
    this.user = user === '' ? undefined : user
    return true
  }
}
