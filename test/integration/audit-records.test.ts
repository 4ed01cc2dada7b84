/** The audit log of pipelines: by the record alone, from the command line, of extracts and of stores of secrets. */

import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { extractTable } from '../../src/extract/index.ts'
import { createEngine } from '../../src/index.ts'
import { linesOf, recordOf } from '../support/audit.ts'
import { runCli } from '../support/cli.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startPostgres } from '../support/postgres.ts'

test('an extract has a line of its own besides those of its statements, also when it fails', async () => {
  await using server = await startPostgres()
  await server.sql('create table flights as select n from generate_series(1, 100) n')
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'audit.jsonl')
  const db = await createEngine({
    ...recordOf(server),
    extra: { sslmode: 'disable', audit_file: file, audit: 'required' },
  })
  const source = { schema: 'public', table: 'flights' }
  await extractTable(db, source, { to: join(folder.path, 'bronze'), format: 'csv' })
  await assert.rejects(extractTable(db, { ...source, table: 'nothing' }, { to: folder.path, format: 'csv' }))
  await db.destroy()
  const lines = await linesOf(file)
  const extracts = lines.filter(({ event }) => event === 'extract')
  assert.deepEqual(
    extracts.map(({ outcome, table, rows, code, pool }) => [outcome, table, rows, code, pool]),
    [
      ['success', 'public.flights', 100, undefined, `127.0.0.1:${server.port}/postgres`],
      ['failure', 'public.nothing', undefined, 'TABLE_NOT_FOUND', `127.0.0.1:${server.port}/postgres`],
    ],
  )
  const copies = lines.filter(({ operation }) => operation === 'copy')
  assert.deepEqual(
    copies.map(({ outcome, tables, rows }) => [outcome, tables, rows]),
    [
      ['started', ['public.flights'], undefined],
      ['success', ['public.flights'], 100],
    ],
  )
})

test('the command line writes the log that a record names, and a secret that is read from a store has a line', async () => {
  await using server = await startPostgres()
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'audit.jsonl')
  const secrets = join(folder.path, 'secrets')
  await mkdir(secrets, { mode: 0o700 })
  const path = join(secrets, 'password')
  await writeFile(path, server.superuserPassword, { mode: 0o600 })
  const { password: _, ...record } = recordOf(server)
  const extra = { sslmode: 'disable', audit_file: file, audit_chain: true, password_from: `file:${path}` }
  const { code, stderr } = await runCli(['check', JSON.stringify({ ...record, extra })])
  assert.equal(code, 0, stderr)
  const lines = await linesOf(file)
  const [secret] = lines.filter(({ event }) => event === 'secret')
  assert.deepEqual([secret?.['action'], secret?.['outcome']], ['read', 'success'])
  assert.ok(String(secret?.['place']).includes(path))
  assert.deepEqual(
    lines.filter(({ event }) => event === 'authentication').map(({ outcome, user }) => [outcome, user]),
    [['success', 'postgres']],
  )
  assert.equal((await runCli(['audit', 'verify', file])).code, 0)
})

test('a record whose log cannot be written fails before a session is opened, and an option without a file is an error', async () => {
  const record = { type: 'postgres' as const, host: 'localhost', login: 'x' }
  const engine = (extra: Record<string, unknown>) => createEngine({ ...record, extra })
  await assert.rejects(engine({ audit_file: '/proc/audit.jsonl' }), { code: 'AUDIT_FILE_REFUSED' })
  await assert.rejects(engine({ audit: 'required' }), /audit\.file: is missing: give file, logger or sink/)
  await assert.rejects(engine({ audit: 'always' }), /extra\.audit: expected one of off \| on \| required/)
  await (await engine({ audit: 'off', audit_file: '/proc/audit.jsonl' })).destroy()
  await assert.rejects(
    createEngine(record, { audit: { files: 'x' } as never }),
    /audit\.files: unknown key; did you mean file/,
  )
})

test('no line holds a secret, in any form', async () => {
  await using server = await startPostgres()
  await using folder = await temporaryFolder()
  const secret = 'S3cret/+ü"x'
  for (const query of ['hash', 'text'] as const) {
    const file = join(folder.path, `${query}.jsonl`)
    const audit = { file, query }
    await using refused = await createEngine({ ...recordOf(server), password: secret }, { audit })
    await assert.rejects(async () => refused.raw('select 1'), { code: 'LOGIN_REFUSED' })
    await using db = await createEngine(recordOf(server), { audit })
    const literal = `'${secret}'`
    await db.raw(`create role ${query} login password ${literal}`.replaceAll('?', '\\?'))
    await assert.rejects(async () => db.raw(`alter role nobody_at_all password ${literal}`))
    await db.raw('select ?::text', [secret])
    await db.raw(`/* ${secret} */ select ${literal}, E${literal}, $x$${secret}$x$`)
    await db.destroy()
    await refused.destroy()
    const text = await readFile(file, 'utf8')
    const bytes = Buffer.from(secret)
    const forms = [
      secret,
      JSON.stringify(secret).slice(1, -1),
      bytes.toString('base64'),
      bytes.toString('base64url'),
      bytes.toString('hex'),
      bytes.toString('hex').toUpperCase(),
      encodeURIComponent(secret),
      server.superuserPassword,
      Buffer.from(server.superuserPassword).toString('base64'),
      Buffer.from(server.superuserPassword).toString('hex'),
    ]
    for (const form of forms) assert.ok(!text.includes(form), form)
  }
})
