import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileLock } from '../../../src/kerberos/file-lock.ts'
import { temporaryFolder } from '../../support/folder.ts'

const MODULE = new URL('../../../src/kerberos/file-lock.ts', import.meta.url).href

test('a lock has one holder at a time, within a process too', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'lock')
  const first = await FileLock.try(path)
  assert.ok(first)
  assert.equal(await FileLock.try(path), undefined)
  assert.equal(await FileLock.acquire(path, 120), undefined)
  const waiting = FileLock.acquire(path, 10_000)
  await first[Symbol.asyncDispose]()
  const second = await waiting
  assert.ok(second)
  await second[Symbol.asyncDispose]()
  assert.equal((await stat(path)).mode & 0o777, 0o600)
})

test('a lock ends with a process that is killed', async (t) => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'lock')
  const program = `
    const { FileLock } = await import(${JSON.stringify(MODULE)})
    globalThis.lock = await FileLock.try(${JSON.stringify(path)})
    console.log('locked')
    setInterval(() => undefined, 1000)
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  assert.equal(await FileLock.try(path), undefined)
  child.kill('SIGKILL')
  const lock = await FileLock.acquire(path, 10_000)
  assert.ok(lock)
  await lock[Symbol.asyncDispose]()
})

test('a lock does not follow a link', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'lock')
  await writeFile(join(folder.path, 'victim'), '')
  await symlink(join(folder.path, 'victim'), path)
  await assert.rejects(FileLock.try(path), { name: 'DistrustedFile', message: /lock is a symbolic link\./ })
})
