import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { extractTable } from '../../src/extract/extract-table.ts'
import type { ExtractOptions } from '../../src/extract/options.ts'
import { dataText, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
await server.sql(`
  create type sign as enum ('=a', 'b'); create domain word as text;
  create table cells (id int, t text, v varchar(20), c char(4), e sign, w word, n numeric, "=h" text);
  insert into cells values
    (-1, '=cmd|''/C calc''!A0', '+1', '@x', '=a', '-1', -2.5, E'\tx'),
    (2, 'a=1', '', ' =x', 'b', null, 'NaN', E'\rx'),
    (3, '＝1', '"=x', 'x', 'b', E'\nx', 0, '=a,b')`)

/** The rows, without the instant and the batch that are added to each of them. */
async function textOf(options: Partial<ExtractOptions>): Promise<string> {
  await using folder = await temporaryFolder()
  const all = { to: folder.path, format: 'csv', source: '=s', ...options } as const
  const text = await dataText(await extractTable(db, { table: 'cells' }, all))
  return text.replaceAll(/,20[-0-9]+ [^,\n]*,('?=s),[-0-9a-f]{36}\n/g, ' $1\n')
}

test('CSV holds the exact text by default', async () => {
  assert.equal(
    await textOf({}),
    `id,t,v,c,e,w,n,=h,_extracted_at,_source,_batch_id
-1,=cmd|'/C calc'!A0,+1,@x  ,=a,-1,-2.5,\tx =s
2,a=1,"", =x ,b,,NaN,"\rx" =s
3,＝1,"""=x",x   ,b,"\nx",0,"=a,b" =s
`,
  )
})

test('text that a spreadsheet would take for a formula gets an apostrophe, and numbers stay as they are', async () => {
  assert.equal(
    await textOf({ guardFormulas: true }),
    `id,t,v,c,e,w,n,'=h,_extracted_at,_source,_batch_id
-1,'=cmd|'/C calc'!A0,'+1,'@x  ,'=a,'-1,-2.5,'\tx '=s
2,a=1,"", =x ,b,,NaN,"'\rx" '=s
3,'＝1,"""=x",x   ,b,"'\nx",0,"'=a,b" '=s
`,
  )
})

test('a hash of the row is of its values, guarded or not', async () => {
  const hashes = async (options: Partial<ExtractOptions>) => (await textOf(options)).match(/[0-9a-f]{64}/g)
  const plain = await hashes({ rowHash: true })
  assert.equal(plain?.length, 3)
  assert.deepEqual(await hashes({ rowHash: true, guardFormulas: true }), plain)
})

test('a database of another encoding than UTF-8 is guarded too', async () => {
  await server.sql(`create database latin encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'`)
  await using latin = await superuserEngine(server, {}, 'latin')
  await latin.raw("create table cells as select '=1'::text as t")
  await using folder = await temporaryFolder()
  const options = { to: folder.path, format: 'csv', guardFormulas: true } as const
  assert.match(await dataText(await extractTable(latin, { table: 'cells' }, options)), /\n'=1,/)
})

test('other formats do not take the option', async () => {
  await using folder = await temporaryFolder()
  for (const format of ['parquet', 'arrow', 'jsonl'] as const) {
    const options = { to: folder.path, format, guardFormulas: true }
    await assert.rejects(extractTable(db, { table: 'cells' }, options), { code: 'CONFIG_INVALID' })
  }
})
