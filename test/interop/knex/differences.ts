/** Tests of knex that pass over bare knex and not over our engine, with the reason. docs/knex.md tells users. */

import type { Suite } from './suite.ts'

interface Difference {
  /** The suites in which it shows. */
  readonly suites: readonly Suite[]
  /** Fits the full titles of its tests. */
  readonly tests: RegExp
  readonly reason: string
}

const BOTH: readonly Suite[] = ['postgres', 'mssql']

export const DIFFERENCES: readonly Difference[] = [
  {
    suites: BOTH,
    tests: /Connection configuration provider (can return|reuses|replaces)/,
    reason: 'A function as `connection` and `expirationChecker` are a strategy here.',
  },
  {
    suites: ['postgres'],
    tests: /^connectionPool postgres/,
    reason: 'The pool is made by createEngine; another one is not taken.',
  },
  {
    suites: BOTH,
    tests: /#1040, #1171 - When pool is filled with transaction connections/,
    reason: 'The message of a wait that reached its limit is ours; its class, `sql` and `bindings` are as in knex.',
  },
  {
    suites: BOTH,
    tests: /emits error on the stream, if not passed a function, and connecting fails/,
    reason: 'The test replaces a method of knex that our streams do not call: they acquire by a signal.',
  },
  {
    suites: ['postgres'],
    tests: /should release connections after failing if connection cancellation throws an error/,
    reason: 'The test replaces the statement by which knex cancels; here it is a cancel request of the protocol.',
  },
  {
    suites: ['mssql'],
    tests: /\.timeout\(ms, \{cancel: true\}\) should throw TimeoutError and cancel slow query in transaction/,
    reason: 'Statements of SQL Server can be cancelled, which knex refuses.',
  },
  {
    suites: ['mssql'],
    tests: /select for share prevents updating in other transaction/,
    reason:
      'The statement that still runs is ended before the rollback, so that its error is told and not the one of a rollback that could not be sent.',
  },
  {
    suites: ['mssql'],
    tests: /handles promise rejections in nested Transactions \(#3706\)/,
    reason:
      'Babelfish reports the end of the whole transaction after a rollback to a savepoint before its first statement. A commit after such a report is refused here.',
  },
  {
    suites: ['mssql'],
    tests: /Updates mssql should allow for null updates/,
    reason: 'A null is written as NULL and not bound: a bound one has a type, which a column of bytes refuses.',
  },
]
