import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openAuditLog } from '../../../src/audit/index.ts'
import { runCli } from '../../support/cli.ts'
import { temporaryFolder } from '../../support/folder.ts'

test('audit verify tells a whole log, a removed line, a torn last line and a log without hashes by text, JSON and exit code', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'audit.jsonl')
  const log = openAuditLog({ file, chain: true })
  for (const place of ['a', 'b', 'c']) await log.record({ kind: 'secret', action: 'read', place, outcome: 'success' })
  await log.close()
  const verify = async (...args: string[]) => {
    const { code, stdout } = await runCli(['audit', 'verify', ...args])
    return [code, stdout.replaceAll(folder.path, '').split('\n')[0]]
  }
  assert.deepEqual(await verify(file), [0, '/audit.jsonl: 5 lines; none was removed or changed.'])
  const lines = (await readFile(file, 'utf8')).split('\n')

  await writeFile(file, lines.toSpliced(2, 1).join('\n'))
  assert.deepEqual(await verify(file), [
    25,
    '/audit.jsonl: line 3 is number 4 of its chain: a line was removed before it.',
  ])
  const { stdout, code } = await runCli(['audit', 'verify', file, '--json'])
  const told = JSON.parse(stdout)
  assert.deepEqual([told.ok, told.verdict, told.fault.line, code], [true, 'broken', 3, 25])

  await writeFile(file, lines.slice(0, 4).join('\n').slice(0, -5))
  assert.deepEqual(await verify(file), [
    26,
    '/audit.jsonl: 4 lines; the last one is not whole, as after a crash. The others are in order.',
  ])
  await writeFile(file, '{"event":"x"}\n')
  assert.deepEqual(await verify(file), [
    27,
    '/audit.jsonl: 1 line, and none has a hash. Write the log with audit_chain=true.',
  ])

  const missing = await runCli(['audit', 'verify', join(folder.path, 'nothing')])
  assert.equal(missing.code, 3)
  assert.match(missing.stderr, /cannot be read/)
  assert.equal((await runCli(['audit', 'check', file])).code, 2)
  assert.equal((await runCli(['audit', 'verify'])).code, 2)
})

test('audit verify reads rotated files in their order', async () => {
  await using folder = await temporaryFolder()
  const [older, newer] = [join(folder.path, 'audit.jsonl.1'), join(folder.path, 'audit.jsonl')]
  const log = openAuditLog({ file: newer, chain: true })
  await log.close()
  await writeFile(older, await readFile(newer))
  const next = openAuditLog({ file: newer, chain: true })
  await next.close()
  const whole = (await readFile(newer, 'utf8')).split('\n')
  await writeFile(newer, whole.slice(2).join('\n'))
  assert.equal((await runCli(['audit', 'verify', older, newer])).code, 0)
  assert.equal((await runCli(['audit', 'verify', newer])).code, 25)
  assert.equal((await runCli(['audit', 'verify', newer, older])).code, 25)
})
