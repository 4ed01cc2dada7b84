import assert from 'node:assert/strict'
import { chmod, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileReader, kubernetesFolderReader } from '../../../src/stores/local.ts'
import { temporaryFolder } from '../../support/folder.ts'

const signal = AbortSignal.timeout(60_000)

async function writeState(
  folder: string,
  name: string,
  keys: Readonly<Record<string, string | Buffer>>,
): Promise<void> {
  await mkdir(join(folder, name))
  for (const [key, value] of Object.entries(keys)) await writeFile(join(folder, name, key), value, { mode: 0o644 })
  await symlink(name, join(folder, '..data_new'))
  await rename(join(folder, '..data_new'), join(folder, '..data'))
}

test('all keys of a mounted secret come from one state, however often it is replaced', {
  timeout: 60_000,
}, async () => {
  await using folder = await temporaryFolder()
  let state = 0
  await writeState(folder.path, `..${state}`, { user: 'user-0', password: 'password-0' })
  let isOver = false
  const replace = async (): Promise<void> => {
    while (!isOver) {
      state++
      await writeState(folder.path, `..${state}`, { user: `user-${state}`, password: `password-${state}` })
      await rm(join(folder.path, `..${state - 1}`), { recursive: true })
    }
  }
  const replacing = replace()
  const seen = new Set<string>()
  try {
    while (seen.size < 20) {
      try {
        const secret = await kubernetesFolderReader.read(folder.path, signal)
        const [user, password] = ['user', 'password'].map((key) => secret.read(key, 'The secret').reveal())
        assert.equal(user?.replace('user', 'password'), password)
        seen.add(String(user))
      } catch (error) {
        // It is replaced thousands of times a second here, and read anew a few times only.
        assert.equal((error as { code?: string }).code, 'SECRET_MISSING')
      }
    }
  } finally {
    isOver = true
    await replacing
  }
})

test('a mounted secret is read past binary keys and without the line end of a file', async () => {
  await using folder = await temporaryFolder()
  await writeState(folder.path, '..1', { password: 'one\n', keystore: Buffer.from([0xff, 0xfe, 0]) })
  const secret = await kubernetesFolderReader.read(folder.path, signal)
  assert.equal(secret.read('password', 'The secret').reveal(), 'one')
  assert.throws(() => secret.read('keystore', 'The secret'), {
    code: 'SECRET_UNUSABLE',
    message: /keystore .* is binary/,
  })
  assert.throws(() => secret.read('other', 'The secret'), { code: 'SECRET_FIELD_MISSING' })
})

test('a file that other users can write is refused', { skip: process.platform === 'win32' }, async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'password')
  await writeFile(file, 'one\n')
  await chmod(file, 0o666)
  await assert.rejects(fileReader.read(file, signal), {
    code: 'SECRET_FILE_REFUSED',
    message: /written by other users/,
  })
  await chmod(file, 0o644)
  assert.equal((await fileReader.read(file, signal)).read(undefined, 'The file').reveal(), 'one')
})

test('a file that is no secret is told apart: a folder, an empty one, a long one, a binary one', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'password')
  await assert.rejects(fileReader.read(folder.path, signal), { code: 'SECRET_FILE_REFUSED' })
  await writeFile(file, '\n', { mode: 0o600 })
  const empty = await fileReader.read(file, signal)
  assert.throws(() => empty.read(undefined, 'The file'), { code: 'SECRET_UNUSABLE', message: /is empty/ })
  await writeFile(file, Buffer.alloc(2 << 20))
  await assert.rejects(fileReader.read(file, signal), {
    code: 'SECRET_FILE_REFUSED',
    message: /longer than 1048576 bytes/,
  })
  await writeFile(file, Buffer.from([0xff, 0xfe, 0xfd]))
  const binary = await fileReader.read(file, signal)
  assert.throws(() => binary.read(undefined, 'The file'), { code: 'SECRET_UNUSABLE', message: /is binary/ })
  await writeFile(file, 'plain')
  const plain = await fileReader.read(file, signal)
  assert.throws(() => plain.read('password', 'The file'), { code: 'SECRET_UNUSABLE', message: /not a JSON object/ })
})
