import assert from 'node:assert/strict'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { Credential } from '../../../src/credentials/credential.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { Secret } from '../../../src/secret.ts'
import { password } from '../../../src/strategies/password.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { build, problemPaths } from './context.ts'

const passwordOf = (credential: Credential | undefined): string => {
  assert.equal(credential?.kind, 'password')
  return credential.password.reveal()
}

describe('a fixed password', () => {
  test("is the connection's, available at once, and cannot be renewed", async () => {
    const { source } = await build(password, { login: 'svc', password: new Secret('pw') })
    const credential = source.current()
    assert.equal(passwordOf(credential), 'pw')
    assert.equal(credential?.user, 'svc')
    assert.equal(credential?.identity, 'svc')
    assert.equal(credential?.expiresAt, undefined)
    assert.equal(await source.get(), credential)
    assert.equal(source.reject(credential as Credential), false)
  })

  test('is empty if none is set, for a server that asks for none', async () => {
    const { source } = await build(password, { login: 'svc' })
    assert.equal(passwordOf(source.current()), '')
  })
})

describe('a password file', () => {
  test('is read without the line end, and again after a refused login', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'pw')
    await writeFile(file, ' with spaces \r\n')
    const { source } = await build(password, { login: 'svc' }, { password_file: file })
    const first = await source.get()
    assert.equal(passwordOf(first), ' with spaces ')
    await writeFile(file, 'second\n')
    assert.equal(source.reject(first), true)
    assert.equal(passwordOf(await source.get()), 'second')
    source.close()
  })

  test('is read again in the background while it is in use', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'pw')
    await writeFile(file, 'first')
    const { source } = await build(password, { login: 'svc' }, { password_file: file })
    await source.get()
    const changed = new Promise<Credential>((resolve) => source.onChange(resolve))
    await writeFile(file, 'second')
    assert.equal(passwordOf(await changed), 'second')
    source.close()
  })

  test('and a password together are refused', async () => {
    const built = build(password, { login: 'svc', password: new Secret('pw') }, { password_file: '/x' })
    assert.deepEqual(await problemPaths(built), ['extra.password_file'])
  })

  for (const [name, content, code, message] of [
    ['is missing', undefined, 'CREDENTIAL_MISSING', /does not exist/],
    ['is empty', '\n', 'CREDENTIAL_MISSING', /is empty/],
    ['has two lines', 'secret-one\nsecret-two\n', 'CREDENTIAL_FAILED', /more than one line/],
    ['is huge', 'x'.repeat(70_000), 'CREDENTIAL_FAILED', /too large/],
  ] as const) {
    test(`that ${name} is a clear error at once`, async () => {
      await using folder = await temporaryFolder()
      const file = join(folder.path, 'pw')
      if (content !== undefined) await writeFile(file, content)
      const { source, events } = await build(password, { login: 'svc' }, { password_file: file })
      await assert.rejects(source.get(), (error: unknown) => {
        assert.ok(error instanceof PoolsmithError)
        assert.equal(error.code, code)
        assert.match(error.message, message)
        assert.ok(error.message.includes(file))
        assert.match(error.hint ?? '', /password_file/)
        assert.ok(!inspect(error).includes('secret-'))
        return true
      })
      assert.equal(events.length, 1, 'no retry')
      source.close()
    })
  }

  test('that is missing for a moment, after it was there, is read again', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'pw')
    await writeFile(file, 'first')
    const { source, events } = await build(password, { login: 'svc' }, { password_file: file })
    const first = await source.get()
    await rm(file)
    source.reject(first)
    const waiting = source.get()
    while (!events.some(({ name }) => name === 'credential:failed'))
      await new Promise((resolve) => setTimeout(resolve, 5))
    await writeFile(file, 'second')
    assert.equal(passwordOf(await waiting), 'second')
    source.close()
  })

  test('that is a folder is a clear error', async () => {
    await using folder = await temporaryFolder()
    await chmod(folder.path, 0o700)
    const { source } = await build(password, { login: 'svc' }, { password_file: folder.path })
    await assert.rejects(source.get(), { code: 'CREDENTIAL_FAILED', message: /not a regular file/ })
    source.close()
  })
})
