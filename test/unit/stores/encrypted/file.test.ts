import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, lstat, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ErrorCode, PoolsmithError } from '../../../../src/errors.ts'
import { Secret } from '../../../../src/secret.ts'
import { EncryptedFile } from '../../../../src/stores/encrypted/file.ts'
import { encryptedReader, removeEntry } from '../../../../src/stores/encrypted/reader.ts'
import type { StoredSecret } from '../../../../src/vault/stored-secret.ts'
import { temporaryFolder } from '../../../support/folder.ts'
import { findSecrets } from '../../../support/object-graph.ts'

const signal = AbortSignal.timeout(120_000)
const isWindows = process.platform === 'win32'
const [KEY, OTHER_KEY] = [7, 8].map((byte) => Buffer.alloc(32, byte).toString('base64')) as [string, string]

function fileAt(path: string, key = KEY, lockMillis?: number): EncryptedFile {
  return new EncryptedFile({ path, environment: { POOLSMITH_SECRETS_KEY: key }, lockMillis })
}

function storeAt(path: string, key?: string) {
  // A busy machine may let many writers wait.
  const file = fileAt(path, key, 100_000)
  const reader = encryptedReader(file)
  const write = (name: string, fields: Record<string, string>, replaces?: StoredSecret): Promise<StoredSecret> => {
    const secrets = Object.entries(fields).map(([field, value]) => [field, new Secret(value)] as const)
    assert.ok(reader.write)
    return reader.write(name, new Map(secrets), { replaces, signal })
  }
  const read = async (name: string, field?: string): Promise<string> =>
    (await reader.read(name, signal)).read(field, 'The secret').reveal()
  return { file, reader, read, write }
}

const refused = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof PoolsmithError)
  assert.equal(error.code, code, error.message)
  assert.match(error.message, message)
  assert.ok(error.hint)
  assert.deepEqual(findSecrets(error, ['the-value', KEY, OTHER_KEY]), [])
  return true
}

test('an error names the file that is not trusted, where that is the lock or a file that a writer has left', {
  skip: isWindows && 'symbolic links need rights on Windows',
}, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  for (const name of ['secrets.lock', 'secrets.next']) {
    const beside = join(folder.path, name)
    await symlink(join(folder.path, 'nowhere'), beside)
    await assert.rejects(storeAt(path).write('sales', { password: 'the-value' }), (error) => {
      refused('SECRET_FILE_REFUSED', /secrets cannot be written \(.*is a symbolic link\)/)(error)
      assert.ok(error instanceof PoolsmithError)
      assert.ok(error.message.includes(beside), error.message)
      assert.ok(error.hint?.includes(`Remove ${beside}`), error.hint)
      return true
    })
    await rm(beside)
  }
})

test('a secret is written, read by another reader, replaced in its version, and removed', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  const one = storeAt(path)
  const two = storeAt(path)
  await assert.rejects(one.read('sales'), refused('SECRET_MISSING', /secrets does not exist/))
  const first = await one.write('sales', { user: 'etl', password: 'the-value' })
  assert.equal(await two.read('sales', 'password'), 'the-value')
  await assert.rejects(two.write('sales', { password: 'x' }), refused('SECRET_CONFLICT', /has version 1 by now/))
  await two.write('sales', { password: 'next' }, first)
  await assert.rejects(one.write('sales', { password: 'x' }, first), refused('SECRET_CONFLICT', /version 2/))
  assert.equal(await one.read('sales'), 'next')
  await assert.rejects(one.read('sale'), refused('SECRET_MISSING', /no secret sale\. Did you mean sales\?$/))
  await removeEntry(two.file, 'sales', signal)
  await assert.rejects(removeEntry(one.file, 'sales', signal), refused('SECRET_MISSING', /no secret sales/))
  // A secret of the same name that is written again is another version.
  await one.write('sales', { password: 'again' })
  await assert.rejects(one.write('sales', { password: 'x' }, first), refused('SECRET_CONFLICT', /version 4/))
})

test('a secret may be a text without fields, and not both', async () => {
  await using folder = await temporaryFolder()
  const { read, write } = storeAt(join(folder.path, 'secrets'))
  await write('token', { '': 'the-value' })
  assert.equal(await read('token'), 'the-value')
  await assert.rejects(
    write('mixed', { '': 'the-value', more: 'x' }),
    refused('SECRET_UNUSABLE', /a text and have fields/),
  )
  // As any name of an object could be.
  await write('odd', { ['__proto__']: 'the-value', constructor: 'x' })
  assert.equal(await read('odd', '__proto__'), 'the-value')
})

test('the file is private, and nothing else is left beside it', { skip: isWindows }, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  const { write } = storeAt(path)
  await write('sales', { password: 'the-value' })
  assert.equal((await lstat(path)).mode & 0o777, 0o600)
  await chmod(path, 0o644)
  await write('other', { password: 'the-value' })
  assert.equal((await lstat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(folder.path), ['secrets'])
  assert.deepEqual(findSecrets(await readFile(path), ['the-value', 'password']), [])
})

test('nothing is written through a link, or over a file that others may write', { skip: isWindows }, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  const { write } = storeAt(path)
  await write('sales', { password: 'the-value' })
  const before = await readFile(path, 'utf8')
  const link = join(folder.path, 'link')
  await symlink('secrets', link)
  const linked = storeAt(link)
  // Mounted files are links: reading follows them.
  assert.equal(await linked.read('sales'), 'the-value')
  await assert.rejects(linked.write('x', { a: 'b' }), refused('SECRET_FILE_REFUSED', /link is a symbolic link/))
  await symlink('nowhere', join(folder.path, 'dangling'))
  const dangling = storeAt(join(folder.path, 'dangling'))
  await assert.rejects(dangling.write('x', { a: 'b' }), refused('SECRET_FILE_REFUSED', /symbolic link/))
  await chmod(path, 0o666)
  await assert.rejects(write('x', { a: 'b' }), refused('SECRET_FILE_REFUSED', /written by other users/))
  await chmod(path, 0o600)
  const nowhere = storeAt(join(folder.path, 'no', 'folder'))
  await assert.rejects(nowhere.write('x', { a: 'b' }), refused('SECRET_FILE_REFUSED', /cannot be written \(ENOENT\)/))
  assert.equal(await readFile(path, 'utf8'), before)
  assert.deepEqual((await readdir(folder.path)).sort(), ['dangling', 'link', 'secrets'])
})

test('another key, a damaged file and one that is too long change nothing', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  const { write } = storeAt(path)
  await write('sales', { password: 'the-value' })
  const whole = await readFile(path, 'utf8')
  const wrong = storeAt(path, OTHER_KEY)
  await assert.rejects(wrong.read('sales'), refused('ENCRYPTED_KEY_WRONG', /another key/))
  await assert.rejects(wrong.write('x', { a: 'b' }), refused('ENCRYPTED_KEY_WRONG', /another key/))
  await assert.rejects(write('long', { a: 'b'.repeat(1_000_000) }), refused('SECRET_UNUSABLE', /longer than 1048576/))
  assert.equal(await readFile(path, 'utf8'), whole)
  const half = whole.slice(0, whole.length / 2)
  await writeFile(path, half)
  await assert.rejects(write('x', { a: 'b' }), refused('ENCRYPTED_FILE_DAMAGED', /damaged or incomplete/))
  assert.equal(await readFile(path, 'utf8'), half)
  await writeFile(path, Buffer.alloc(2_000_000))
  await assert.rejects(storeAt(path).read('x'), refused('SECRET_FILE_REFUSED', /longer than 1048576 bytes/))
  assert.deepEqual(await readdir(folder.path), ['secrets'])
})

test('keys are changed without a moment in which a reader cannot read', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  const keys = join(folder.path, 'keys')
  const setKeys = (...all: readonly string[]): Promise<void> => writeFile(keys, all.join('\n'), { mode: 0o600 })
  const file = new EncryptedFile({ path, keyFile: keys, environment: {} })
  const reader = encryptedReader(new EncryptedFile({ path, keyFile: keys, environment: {} }))
  const value = async () => (await reader.read('sales', signal)).read('password', 'it').reveal()
  await setKeys(KEY)
  await storeAt(path).write('sales', { password: 'the-value' })
  assert.equal(await value(), 'the-value')
  await setKeys(OTHER_KEY, KEY)
  assert.equal(await value(), 'the-value')
  await file.update((contents) => contents, signal)
  assert.equal(await value(), 'the-value')
  await setKeys(OTHER_KEY)
  assert.equal(await value(), 'the-value')
  await assert.rejects(storeAt(path).read('sales'), refused('ENCRYPTED_KEY_WRONG', /another key/))
})

test('many writers at once lose nothing, and readers see whole files', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  await storeAt(path).write('first', { password: 'the-value' })
  let isOver = false
  const reading = (async () => {
    const { read } = storeAt(path)
    while (!isOver) assert.equal(await read('first'), 'the-value')
  })()
  const names = Array.from({ length: 40 }, (_, number) => `n${number}`)
  try {
    await Promise.all(names.map((name) => storeAt(path).write(name, { password: name })))
  } finally {
    isOver = true
    await reading
  }
  const { entries } = await fileAt(path).read(signal)
  assert.deepEqual([...entries.keys()].sort(), ['first', ...names].sort())
})

test('a writer that was killed leaves the old file, and the next one goes on at once', {
  skip: isWindows,
}, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  await storeAt(path).write('sales', { password: 'the-value' })
  const module = join(import.meta.dirname, '../../../../src/stores/encrypted/file.ts')
  const program = `
    import { EncryptedFile } from ${JSON.stringify(module)}
    const file = new EncryptedFile({ path: ${JSON.stringify(path)}, environment: process.env })
    await file.update(() => process.kill(process.pid, 'SIGKILL'), AbortSignal.timeout(60_000))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { PATH: process.env.PATH, POOLSMITH_SECRETS_KEY: KEY },
    stdio: 'ignore',
  })
  const [, killedBy] = await once(child, 'exit')
  assert.equal(killedBy, 'SIGKILL')
  assert.deepEqual((await readdir(folder.path)).sort(), ['secrets', 'secrets.lock'])
  await writeFile(`${path}.next`, 'the half of a file', { mode: 0o600 })
  const { read } = storeAt(path)
  assert.equal(await read('sales'), 'the-value')
  const others = ['a', 'b', 'c', 'd']
  await Promise.all(others.map((name) => storeAt(path).write(name, { password: 'x' })))
  for (const name of others) assert.equal(await read(name), 'x')
  assert.deepEqual(await readdir(folder.path), ['secrets'])
})

test('the lock of another machine, or of no process, is left alone and named', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'secrets')
  await storeAt(path).write('sales', { password: 'the-value' })
  for (const content of [`${2 ** 22 - 1} elsewhere 1\n`, '', `${2 ** 22 - 1}`]) {
    await writeFile(`${path}.lock`, content, { mode: 0o600 })
    const waiting = fileAt(path, KEY, 50).update((contents) => contents, signal)
    await assert.rejects(waiting, (error: PoolsmithError) => {
      refused('ENCRYPTED_FILE_LOCKED', /locked by another writer/)(error)
      assert.match(error.hint ?? '', /secrets\.lock .*remove/)
      return error.transient
    })
    assert.equal(await readFile(`${path}.lock`, 'utf8'), content)
  }
})
