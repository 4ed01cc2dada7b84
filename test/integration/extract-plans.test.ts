/** Plans that other machines run: what they belong to, and what is refused. */

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { extractPartition } from '../../src/extract/extract-partition.ts'
import type { ExtractPlan } from '../../src/extract/plan.ts'
import { type PlanOptions, planExtract } from '../../src/extract/plan-extract.ts'
import type { ExtractSource } from '../../src/extract/read/table.ts'
import { createEngine } from '../../src/index.ts'
import { filesBelow, superuserEngine } from '../support/extract.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

const server = await startPostgres()
await server.sql(`create table orders (id int primary key, filler text);
  insert into orders select g, repeat('x', 100) from generate_series(1, 5000) g`)
await server.sql('create database copy template postgres', 'template1')
const db = await superuserEngine(server)
after(async () => {
  await db.destroy()
  await server[Symbol.asyncDispose]()
})
async function planOf(source: ExtractSource, options: PlanOptions = {}): Promise<ExtractPlan> {
  const plan = await planExtract(db, source, { format: 'csv', partitions: 2, ...options })
  return JSON.parse(JSON.stringify(plan)) as ExtractPlan
}

async function failureOf(work: Promise<unknown>): Promise<PoolsmithError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  return error
}

describe('a plan belongs to its database', () => {
  const byValues = { partitionBy: 'id' }
  const plans: readonly [string, ExtractSource, PlanOptions][] = [
    ['by pages', { table: 'orders' }, {}],
    ['by values', { table: 'orders' }, byValues],
    ['of a query', { query: 'select id from orders', name: 'q' }, byValues],
  ]
  for (const [what, source, options] of plans) {
    test(`a plan ${what} is refused in a copy of the database, and in one without the table`, async () => {
      await using folder = await temporaryFolder()
      const plan = await planOf(source, options)
      for (const database of ['copy', 'template1']) {
        await using other = await superuserEngine(server, {}, database)
        const error = await failureOf(extractPartition(other, plan, 0, { to: folder.path }))
        assert.equal(error.code, 'PLAN_OTHER_DATABASE')
        assert.equal(error.transient, false)
        const shown = `^Partition 0 of 2 \\(.*\\): The plan was made for the database postgres \\(\\d+/\\d+\\), and this connection is to the database ${database} \\(\\d+/\\d+\\)\\.$`
        assert.match(error.message, new RegExp(shown))
      }
      assert.deepEqual(await filesBelow(folder.path), [])
    })
  }

  test('a plan is refused by another server whose database and table have the same names', async () => {
    await using folder = await temporaryFolder()
    await using stack = new AsyncDisposableStack()
    const plan = await planOf({ table: 'orders' }, byValues)
    const twin = stack.use(await startPostgres())
    await twin.sql('create table orders (id int primary key, filler text)')
    const other = await superuserEngine(twin)
    stack.defer(() => other.destroy())
    const error = await failureOf(extractPartition(other, plan, 0, { to: folder.path }))
    assert.equal(error.code, 'PLAN_OTHER_DATABASE')
  })

  test('a plan by values is refused when the table was created again, and taken when it was only rewritten', async () => {
    await using folder = await temporaryFolder()
    const to = folder.path
    await server.sql('create table again as select g as id from generate_series(1, 100) g')
    const plan = await planOf({ table: 'again' }, byValues)
    await server.sql('vacuum full again')
    assert.equal((await extractPartition(db, plan, 0, { to })).rows, 49)
    await server.sql('drop table again; create table again as select g as id from generate_series(1, 100) g')
    const error = await failureOf(extractPartition(db, plan, 1, { to }))
    assert.deepEqual([error.code, error.details.partition], ['TABLE_CHANGED', 1])
  })

  test('a role that may not read the control data can plan and read', async () => {
    await using folder = await temporaryFolder()
    await server.sql('revoke execute on function pg_control_system() from public')
    await server.sql("create role plain login password 'plain'; grant select on orders to plain")
    const { host, port } = server
    await using plain = await createEngine({
      type: 'postgres',
      host,
      port,
      login: 'plain',
      password: 'plain',
      database: 'postgres',
    })
    const plan = await planExtract(plain, { table: 'orders' }, { format: 'csv', partitions: 2 })
    assert.match(plan.fingerprint.system, /^\/\d+$/)
    assert.ok((await extractPartition(plain, plan, 0, { to: folder.path })).rows > 0)
  })
})
