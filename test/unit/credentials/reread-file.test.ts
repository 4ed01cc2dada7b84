import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { readFileState } from '../../../src/credentials/reread-file.ts'
import { createEngine } from '../../../src/index.ts'
import { temporaryFolder } from '../../support/folder.ts'

const KIND = {
  what: 'password file',
  phase: 'credential',
  missing: 'CREDENTIAL_MISSING',
  unreadable: 'CREDENTIAL_FAILED',
  hint: 'Name a file.',
  option: 'password_file',
} as const

const isWindows = process.platform === 'win32'
const makePipe = (path: string) => promisify(execFile)('mkfifo', [path])

test('a file is read with its mode', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'password')
  await writeFile(path, 'secret', { mode: 0o600 })
  const { content, mode } = await readFileState(path, KIND)
  assert.equal(content.toString(), 'secret')
  if (!isWindows) assert.equal(mode & 0o777, 0o600)
})

test('a pipe and a device are refused and not waited for', { skip: isWindows, timeout: 30_000 }, async () => {
  await using folder = await temporaryFolder()
  const pipe = join(folder.path, 'pipe')
  await makePipe(pipe)
  for (const path of [pipe, '/dev/zero', folder.path]) {
    await assert.rejects(readFileState(path, KIND), {
      code: 'CREDENTIAL_FAILED',
      message: `The password file ${path} is not a regular file.`,
    })
  }
})

test('every option that names a file of a login refuses a pipe at once', {
  skip: isWindows,
  timeout: 60_000,
}, async () => {
  await using folder = await temporaryFolder()
  const pipe = join(folder.path, 'pipe')
  await makePipe(pipe)
  // Nothing listens at port 1: the file is read before anything is sent.
  const target = { host: '127.0.0.1', port: 1, login: 'etl', database: 'sales' }
  const password = 'secret'
  for (const [type, option] of [
    ['postgres', 'password_file'],
    ['postgres', 'passfile'],
    ['postgres', 'sslrootcert'],
    ['mssql', 'password_file'],
    ['mssql', 'ca_file'],
    ['mssql', 'server_certificate'],
  ] as const) {
    const record = { type, ...target, ...(option.startsWith('pass') ? {} : { password }), extra: { [option]: pipe } }
    await using db = await createEngine(record, { pool_timeout: 20, stores: { environment: {} } })
    await assert.rejects(db.raw('select 1'), { message: new RegExp(`${pipe} is not a regular file`) }, option)
  }
})

test('a file of more than 256 MiB is refused', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'long')
  await writeFile(path, '')
  // Without its content: only the length is on the disk.
  await truncate(path, 256 * 1024 * 1024 + 1)
  await assert.rejects(readFileState(path, KIND), { code: 'CREDENTIAL_FAILED', message: /is larger than \d+ bytes/ })
})
