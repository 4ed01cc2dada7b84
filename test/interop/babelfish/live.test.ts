/** The live suite of SQL Server over Babelfish, but for what Babelfish lacks. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runNode } from '../../support/run-node.ts'
import { startBabelfish } from './babelfish.ts'

const SUITE = join(import.meta.dirname, '..', '..', 'live', 'sqlserver.test.ts')

/** Titles of tests, and what of them Babelfish 4.2 does otherwise than SQL Server. */
const LACKING: readonly (readonly [tests: RegExp, reason: string])[] = [
  [/gives the reason why a login fails/, 'Of a database that is not there it says 911, and not 4060.'],
  [/keeps every digit/, 'It casts no text to datetimeoffset.'],
  [/drops the settings and temporary tables/, 'Settings and temporary tables of sp_executesql outlive it.'],
  [/describes a table with any names|keeps brackets/, 'It cannot read ]] in a name.'],
  [/cancels a statement/, 'It has no WAITFOR.'],
  [
    /a query (of knex|with a (column|table))|with a condition and a query|a plan of a query/,
    'It has no sys.dm_exec_describe_first_result_set.',
  ],
  [/where with an unknown column/, 'Its errors of unknown names have other numbers.'],
  [
    /_row_hash|a mark of|rows without a key|cannot be a mark|rows that arrive after a plan/,
    'Its CONVERT makes no hexadecimal digits of bytes.',
  ],
  [/rowversion/, 'It has no MIN_ACTIVE_ROWVERSION.'],
  [/datetime2\(7\)|varbinary\(8\)/, 'It has six digits after the point, and an order of bytes of its own.'],
  [/parts are ranges of the key|other sessions lock the table/, 'A batch cannot end the transaction of its session.'],
]

test('the live suite of SQL Server passes over Babelfish, but for what Babelfish lacks', async () => {
  await using babelfish = await startBabelfish()
  const { code, said } = await runNode(
    ['--test', '--test-reporter=spec', ...LACKING.map(([{ source }]) => `--test-skip-pattern=/${source}/`), SUITE],
    {
      env: {
        POOLSMITH_TEST_MSSQL_HOST: babelfish.host,
        POOLSMITH_TEST_MSSQL_PORT: `${babelfish.port}`,
        POOLSMITH_TEST_MSSQL_USER: babelfish.login,
        POOLSMITH_TEST_MSSQL_PASSWORD: babelfish.password,
        POOLSMITH_TEST_MSSQL_TRUST: 'yes',
        POOLSMITH_TEST_MSSQL_PLAIN: 'yes',
      },
    },
  )
  assert.equal(code, 0, said)
  const passed = Number(/ pass (\d+)/.exec(said)?.[1])
  assert.ok(passed >= 20, said)
})
