/** Tables of SQL Server into files, value by value, against the TDS server test double. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type ExtractOptions, extractTable } from '../../src/extract/extract-table.ts'
import type { ReadOptions } from '../../src/extract/read/table.ts'
import type { Engine } from '../../src/index.ts'
import { batchesOf, dataPath, dataText } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { readParquetFile } from '../support/parquet.ts'
import { type SqlServerDouble, startDouble } from '../support/sqlserver-double.ts'
import { CASES, type Case } from '../support/sqlserver-types.ts'

let double: SqlServerDouble
let db: Engine

const SMALL = { pool_size: 2, max_overflow: 0 }

before(async () => {
  double = await startDouble()
  db = await double.open(SMALL)
})

after(async () => {
  await db.destroy()
  await double[Symbol.asyncDispose]()
})

let tables = 0

/** A table of one numbered column; the last row is NULL. */
async function tableOf({
  type,
  values,
  literal = (value) => `'${value.replaceAll("'", "''")}'`,
}: Case): Promise<string> {
  tables += 1
  const table = `types ${tables}`
  await db.raw(`create table dbo.[${table}] (n int, c ${type})`)
  for (const [index, value] of [...values.map(literal), 'null'].entries()) {
    await db.raw(`insert into dbo.[${table}] values (${index}, cast(${value} as ${type}))`)
  }
  return table
}

/** CSV back into fields: `""` is the empty text, nothing at all is NULL. */
function fields(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [[]]
  const pattern = /(?:"((?:[^"]|"")*)"|([^,\n]*))(,|\n)/gy
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const [, quoted, bare, end] = match
    rows.at(-1)?.push(quoted !== undefined ? quoted.replaceAll('""', '"') : bare === '' ? null : (bare ?? null))
    if (end === '\n') rows.push([])
  }
  rows.pop()
  return rows
}

describe('types, value by value', () => {
  for (const [name, one] of Object.entries(CASES)) {
    test(name, async () => {
      const table = await tableOf(one)
      await using folder = await temporaryFolder()
      const extract = (format: ExtractOptions['format'], options: ReadOptions = {}) =>
        extractTable(db, { table }, { to: folder.path, format, ...options })

      const manifest = await extract('parquet')
      const [, column] = manifest.columns
      assert.equal(column?.arrow, one.arrow)
      if (one.note === undefined) assert.equal(column?.note, undefined)
      else assert.match(column?.note ?? '', one.note)
      const findings = manifest.notes.filter((note) => note.startsWith('c: '))
      if (one.finding === undefined) assert.deepEqual(findings, [])
      else assert.match(findings.join(), one.finding)
      const { rows } = await readParquetFile(dataPath(manifest))
      const sorted = rows.toSorted((a, b) => Number(a.n) - Number(b.n)).map((row) => row.c)
      assert.deepEqual(
        sorted.map((value) => (value === null || value === undefined ? null : (one.text ?? String)(value))),
        [...(one.stored ?? one.values), null],
      )

      // The server's own text: in CSV, and in any column that is asked for as text.
      const csv = fields(await dataText(await extract('csv'))).slice(1)
      const texts = one.type === 'geography' ? one.values.map((value) => value.slice(2)) : one.values
      assert.deepEqual(
        csv.map(([, value]) => value),
        [...texts, null],
      )
      const asText = await readParquetFile(dataPath(await extract('parquet', { asText: ['c'] })))
      assert.deepEqual(
        asText.rows.map((row) => row.c ?? null),
        [...texts, null],
      )
      const lines = (await dataText(await extract('jsonl'))).trimEnd().split('\n')
      assert.equal(lines.length, one.values.length + 1)
      for (const line of lines) assert.equal(typeof JSON.parse(line), 'object')
    })
  }

  test('sql_variant is the exact text of each value', async () => {
    const table = await tableOf({
      type: 'sql_variant',
      values: [
        'int:-5',
        'bigint:9223372036854775807',
        'bit:1',
        'float:0.1',
        'decimal(20,4):-1.5000',
        'money:-922337203685477.5808',
        'datetime2(7):2024-02-29 01:02:03.1234567',
        'datetimeoffset(7):2024-02-29 01:02:03.1234567 +14:00',
        'uniqueidentifier:0E984725-C51C-4BF4-9960-E1C80E27ABA0',
        'varbinary:00FF',
        'nvarchar:häß',
      ],
      arrow: 'Utf8',
    })
    await using folder = await temporaryFolder()
    const manifest = await extractTable(db, { table }, { to: folder.path, format: 'parquet' })
    assert.match(manifest.columns[1]?.note ?? '', /sql_variant/)
    const { rows } = await readParquetFile(dataPath(manifest))
    assert.deepEqual(
      rows.map((row) => row.c ?? null),
      [
        '-5',
        '9223372036854775807',
        '1',
        '0.1',
        '-1.5000',
        '-922337203685477.5808',
        '2024-02-29 01:02:03.1234567',
        '2024-02-29 01:02:03.1234567 +14:00',
        '0E984725-C51C-4BF4-9960-E1C80E27ABA0',
        '0x00FF',
        'häß',
        null,
      ],
    )
  })

  test('hierarchyid is its path, and geography as text comes from the server', async () => {
    await db.raw('create table dbo.clr (h hierarchyid, g geography)')
    await db.raw("insert into dbo.clr values ('/1/2/', 'E610')")
    const [batch] = await batchesOf(db, 'clr', { asText: ['g'] })
    assert.deepEqual([batch?.getChild('h')?.get(0), batch?.getChild('g')?.get(0)], ['/1/2/', 'E610'])
  })

  test('JSON Lines are as FOR JSON writes them', async () => {
    await db.raw(`create table dbo.json ([a "b"] int, d decimal(38,6), b bit, t nvarchar(20), dt datetime2(7),
      o datetimeoffset(0), bin varbinary(max), f float)`)
    await db.raw(`insert into dbo.json values (1, 12345678901234567890.000001, cast(1 as bit), 'a"ä',
      '2024-02-29 01:02:03.1234567', '2024-02-29 01:02:03 -05:30', 0x00ff, 1e300)`)
    await using folder = await temporaryFolder()
    const text = await dataText(await extractTable(db, { table: 'json' }, { to: folder.path, format: 'jsonl' }))
    assert.equal(
      text.slice(0, text.indexOf(',"_extracted_at"')),
      '{"a \\"b\\"":1,"d":12345678901234567890.000001,"b":true,"t":"a\\"ä","dt":"2024-02-29T01:02:03.1234567",' +
        '"o":"2024-02-29T01:02:03-05:30","bin":"AP8=","f":1e+300',
    )
  })
})
