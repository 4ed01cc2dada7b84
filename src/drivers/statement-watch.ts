/** How a session tells of its statements, and holds their answers back: for the audit log. */

/** The end of a statement. */
export interface StatementEnd {
  /** The error that it failed with, as the driver has it. */
  readonly error?: unknown
  /** Rows that were sent or changed, where the server says. */
  readonly rows?: number | undefined
}

/** One statement that is watched. */
export interface WatchedStatement {
  /**
   * Rows may reach the caller before the statement ends, as with a cursor: called before it is sent. Its end holds
   * nothing back.
   *
   * @throws the error for the caller; then the statement must not be sent
   */
  streams(): void
  /**
   * The first call counts.
   *
   * @returns undefined where the answer may go on at once; else a promise for that, which rejects with the error for the
   *   caller
   */
  ended(end: StatementEnd): Promise<void> | undefined
}

/** Is told of the statements of one session. */
export interface StatementWatcher {
  /**
   * Called before a statement is sent.
   *
   * @param text undefined for a request of the protocol that has none, which `operation` then names
   * @param values what is bound to it
   * @returns undefined for one that is not told, such as the pool's own
   * @throws the error for the caller, when no statement may be sent now
   */
  begin(text: string | undefined, values?: readonly unknown[], operation?: Operation): WatchedStatement | undefined
}

/** A request without a text. */
export interface Operation {
  /** `commit` */
  readonly name: string
  readonly table?: string | undefined
}
