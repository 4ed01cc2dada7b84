/** `audit=required`: no answer without its line, over a real PostgreSQL. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import Cursor from 'pg-cursor'
import { createPgPool } from '../../src/engine/pg/index.ts'
import { linesOf, recordOf, wholeLinesOf } from '../support/audit.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const LIMITED = { timeout: 120_000 }
const PROGRAM = join(import.meta.dirname, '..', 'support', 'audit-statements.ts')

test('a process that is killed has answered for no statement whose line is missing', LIMITED, async (t) => {
  await using server = await startPostgres()
  await server.sql('create table done (number text)')
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'audit.jsonl')
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(recordOf(server)), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const answered: string[] = []
  const heard = createInterface(child.stdout)
  heard.on('line', (line) => answered.push(line))
  const closed = once(heard, 'close')
  while (answered.length < 500) await once(heard, 'line')
  child.kill('SIGKILL')
  await closed
  const lines = await wholeLinesOf(file)
  const told = new Set(lines.filter(({ outcome }) => outcome === 'success').map((line) => line['request_id']))
  assert.deepEqual(
    answered.filter((number) => !told.has(number)),
    [],
  )
})

test('the line is in the file when the answer arrives, and a cursor has one before its first row', async () => {
  await using server = await startPostgres()
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'audit.jsonl')
  const last = (): Record<string, unknown> => JSON.parse(readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? '')
  await using pool = await createPgPool(recordOf(server), { pool_size: 1, audit: { file, mode: 'required' } })
  const client = await pool.connect()
  assert.equal(last()['event'], 'authentication')
  await client.query('select 1 as a')
  assert.equal(last()['rows'], 1)
  await assert.rejects(client.query('select wrong'))
  assert.equal(last()['code'], '42703')
  await new Promise<void>((resolve) => {
    client.query('select 1 where false', () => {
      assert.equal(last()['rows'], 0)
      resolve()
    })
  })
  const cursor = client.query(new Cursor('select n from generate_series(1, 10) n'))
  assert.equal(last()['outcome'], 'started')
  await cursor.read(100)
  await cursor.close()
  client.release()
  await pool.end()
  assert.deepEqual(
    (await linesOf(file)).slice(-3).map(({ outcome, rows, action }) => outcome ?? action ?? rows),
    ['started', 'success', 'closed'],
  )
})

test(
  'while the log cannot be written, statements fail or are not sent, no session is opened, and then all goes on',
  LIMITED,
  async () => {
    await using server = await startPostgres()
    await server.sql('create table marks (n int)')
    await using parent = await temporaryFolder()
    const folder = join(parent.path, 'log')
    await mkdir(folder)
    const file = join(folder, 'audit.jsonl')
    const failures: unknown[] = []
    await using pool = await createPgPool(recordOf(server), {
      pool_size: 5,
      audit: { file, mode: 'required', query: 'values' },
      on: { 'audit:failed': ({ error, lost }) => failures.push([error.code, lost]) },
    })
    const insert = (n: number) => pool.query('insert into marks values ($1)', [n])
    await insert(1)
    await rm(folder, { recursive: true })
    await assert.rejects(insert(2), (error: { code: string; details: object; transient: boolean; hint: string }) => {
      assert.deepEqual([error.code, error.transient], ['AUDIT_FAILED', true])
      assert.deepEqual(error.details, { target: file, reason: 'ENOENT', sent: true })
      return true
    })
    await assert.rejects(insert(3), (error: { details: object; message: string }) => {
      assert.deepEqual(error.details, { target: file, reason: 'ENOENT', sent: false })
      assert.match(error.message, /could not be written to .*: its folder does not exist\. Nothing was sent\.$/)
      return true
    })
    const client = await pool.connect()
    await assert.rejects(pool.connect(), { code: 'AUDIT_FAILED' })
    client.release()
    assert.equal(await server.sql('select string_agg(n::text, $$,$$) from marks'), '1,2')
    assert.deepEqual(failures, [['AUDIT_FAILED', 0]])

    await mkdir(folder)
    for (;;) {
      const isBack = await insert(4).then(
        () => true,
        () => false,
      )
      if (isBack) break
      await sleep(20)
    }
    const lines = await linesOf(file)
    assert.equal(lines[0]?.['action'], 'resumed')
    // The line of the statement whose answer was withheld has been kept.
    assert.deepEqual(
      lines.filter(({ event }) => event === 'data_access').map(({ values }) => values),
      [[2], [4]],
    )
  },
)
