/** The file of the audit log: whose it may be, and what becomes of lines when it is removed, renamed, torn or full. */

import assert from 'node:assert/strict'
import { chmod, chown, link, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { type AuditLog, type AuditOptions, openAuditLog, verifyAudit } from '../../../src/audit/index.ts'
import { core, linesOf } from '../../support/audit.ts'
import { temporaryFolder } from '../../support/folder.ts'

async function place(t: TestContext): Promise<string> {
  const folder = await temporaryFolder()
  t.after(() => folder[Symbol.asyncDispose]())
  return folder.path
}

function opened(t: TestContext, options: AuditOptions): AuditLog {
  const log = openAuditLog(options)
  t.after(() => log.close())
  return log
}

const record = (log: AuditLog, place: string) =>
  log.record({ kind: 'secret', action: 'read', place, outcome: 'success' })

async function told(...files: readonly string[]): Promise<unknown[]> {
  const lines = await Promise.all(files.map(linesOf))
  return lines.flat().map((line) => line['place'] ?? line['action'])
}

async function verdictOf(...files: readonly string[]): Promise<string> {
  const whole = await Promise.all(files.map((file) => readFile(file)))
  return (await verifyAudit(Readable.from(whole))).verdict
}

test('a file is made for its owner alone, appended to, and closed with a line', async (t) => {
  const file = join(await place(t), 'audit.jsonl')
  for (const name of ['a', 'b']) {
    const log = openAuditLog({ file })
    await record(log, name)
    await log.close()
  }
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(await told(file), ['opened', 'a', 'closed', 'opened', 'b', 'closed'])
  const [, line] = await linesOf(file)
  assert.deepEqual(core(line ?? {}), { event: 'secret', action: 'read', place: 'a', outcome: 'success' })
})

test('a file that is not ours alone is refused, and nothing is written to it', async (t) => {
  const folder = await place(t)
  const refused = (file: string, message: RegExp) =>
    assert.throws(() => openAuditLog({ file }), { code: 'AUDIT_FILE_REFUSED', phase: 'config', message })
  await writeFile(join(folder, 'target'), '', { mode: 0o600 })
  await symlink(join(folder, 'target'), join(folder, 'link'))
  refused(join(folder, 'link'), /is a symbolic link/)
  await symlink(join(folder, 'nowhere'), join(folder, 'dangling'))
  refused(join(folder, 'dangling'), /is a symbolic link/)
  await writeFile(join(folder, 'open'), '')
  await chmod(join(folder, 'open'), 0o666)
  refused(join(folder, 'open'), /may be written by other users/)
  refused(folder, /not a regular file|folder/)
  refused(join(folder, 'missing', 'audit.jsonl'), /its folder does not exist/)
  await mkdir(join(folder, 'shared'))
  await chmod(join(folder, 'shared'), 0o777)
  refused(join(folder, 'shared', 'audit.jsonl'), /shared may be written by other users/)
  assert.equal(await readFile(join(folder, 'target'), 'utf8'), '')
})

test('a hard link is refused in a folder where other users can make files', {
  skip: process.platform === 'win32' && 'Windows shows no modes',
}, async (t) => {
  const folder = await place(t)
  await writeFile(join(folder, 'precious'), 'mine\n', { mode: 0o600 })
  const [shared, own] = [join(folder, 'shared'), join(folder, 'own')]
  for (const one of [shared, own]) {
    await mkdir(one)
    await link(join(folder, 'precious'), join(one, 'audit.jsonl'))
  }
  await chmod(shared, 0o1777)
  assert.throws(() => openAuditLog({ file: join(shared, 'audit.jsonl') }), {
    code: 'AUDIT_FILE_REFUSED',
    message: /audit\.jsonl has another name too \(a hard link\)/,
  })
  assert.equal(await readFile(join(folder, 'precious'), 'utf8'), 'mine\n')
  opened(t, { file: join(own, 'audit.jsonl') })
})

test('a folder of another user is refused', {
  skip: process.getuid?.() !== 0 && 'only root can give files away',
}, async (t) => {
  const folder = join(await place(t), 'theirs')
  await mkdir(folder, { mode: 0o755 })
  await chown(folder, 65_534, 65_534)
  assert.throws(() => openAuditLog({ file: join(folder, 'audit.jsonl') }), {
    code: 'AUDIT_FILE_REFUSED',
    message: /belongs to the user with the id 65534/,
  })
})

for (const mode of ['on', 'required'] as const) {
  test(`${mode}: a file that is removed is made again, with a line that says so`, async (t) => {
    const file = join(await place(t), 'audit.jsonl')
    const log = openAuditLog({ file, mode, chain: true })
    await record(log, 'a')
    await log.close()
    const again = openAuditLog({ file, mode, chain: true })
    await rm(file)
    await record(again, 'b')
    await again.close()
    const lines = await told(file)
    assert.ok(lines.includes('recreated') && lines.includes('b'), String(lines))
    assert.equal(await verdictOf(file), 'whole')
  })
}

test('a file that is renamed is left at reopen, no line is lost, and the chain goes on in the next file', async (t) => {
  const folder = await place(t)
  const [file, older] = [join(folder, 'audit.jsonl'), join(folder, 'audit.jsonl.1')]
  const log = openAuditLog({ file, chain: true })
  await record(log, 'a')
  await rename(file, older)
  await record(log, 'b')
  log.reopen()
  await record(log, 'c')
  await log.close()
  assert.deepEqual(await told(older), ['opened', 'a', 'b'])
  assert.deepEqual(await told(file), ['reopened', 'c', 'closed'])
  assert.deepEqual(
    [await verdictOf(older, file), await verdictOf(older), await verdictOf(file)],
    ['whole', 'whole', 'whole'],
  )
  assert.equal(await verdictOf(file, older), 'broken')
})

test('a line that was torn by a crash is left as it is, and noted by the next writer', async (t) => {
  const file = join(await place(t), 'audit.jsonl')
  const log = openAuditLog({ file, chain: true })
  await record(log, 'a')
  await log.close()
  await writeFile(file, '{"time":"2026-11', { flag: 'a' })
  assert.equal(await verdictOf(file), 'truncated')
  const next = openAuditLog({ file, chain: true })
  await record(next, 'b')
  await next.close()
  assert.equal(await verdictOf(file), 'whole')
})

test('a log that is closed answers for the lines that wait, and for no others', async (t) => {
  const file = join(await place(t), 'audit.jsonl')
  const log = openAuditLog({ file, mode: 'required' })
  const waiting = ['a', 'b', 'c'].map((name) => record(log, name))
  await log.close()
  await Promise.all(waiting)
  assert.deepEqual(await told(file), ['opened', 'a', 'b', 'c', 'closed'])
  await assert.rejects(record(log, 'd'), { code: 'AUDIT_FAILED', message: /: the log is closed\.$/ })
  await log.close()
  assert.deepEqual(await told(file), ['opened', 'a', 'b', 'c', 'closed'])
})

test('logs of one process share a file, and one with and one without a chain do not', async (t) => {
  const file = join(await place(t), 'audit.jsonl')
  const a = opened(t, { file, chain: true })
  const b = opened(t, { file, chain: true, mode: 'required' })
  assert.throws(() => openAuditLog({ file }), { code: 'CONFIG_INVALID' })
  for (let number = 0; number < 20; number++) await record(number % 2 === 0 ? a : b, `${number}`)
  await a.close()
  await record(b, 'last')
  await b.close()
  assert.equal(await verdictOf(file), 'whole')
  assert.deepEqual(await told(file), ['opened', ...Array.from({ length: 20 }, (_, n) => `${n}`), 'last', 'closed'])
})

test('every problem of the options is told', () => {
  const given = { mode: 'maybe', file: 7, sink: 'x', chains: true }
  assert.throws(
    () => openAuditLog(given as never),
    (error: { problems?: readonly { path: string }[] }) => {
      assert.deepEqual(
        error.problems?.map(({ path }) => path),
        ['chains', 'mode', 'file', 'sink', 'sink'],
      )
      return true
    },
  )
  assert.throws(() => openAuditLog({}), /give file, logger or sink/)
  assert.throws(() => openAuditLog({ sink: () => undefined, chain: true }), /chain: needs a file/)
})
