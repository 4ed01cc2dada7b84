import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, chown, lstat, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { assertTrusted, createExclusively, DistrustedFile, readTrusted } from '../../src/private-file.ts'
import { temporaryFolder } from '../support/folder.ts'

const refused = (kind: string, reason: RegExp) => (error: unknown) => {
  assert.ok(error instanceof DistrustedFile)
  assert.equal(error.kind, kind)
  assert.match(error.message, reason)
  return true
}

const isRoot = process.geteuid?.() === 0
const hasOwners = process.geteuid !== undefined

test('a file of this user is read whole', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  for (const bytes of [0, 1, 999, 1000]) {
    await writeFile(path, Buffer.alloc(bytes, 'x'), { mode: 0o600 })
    assert.equal((await readTrusted(path, { maxBytes: 1000 })).length, bytes)
  }
  await assert.rejects(readTrusted(join(folder.path, 'none'), { maxBytes: 1 }), { code: 'ENOENT' })
})

test('a link is refused, wherever it leads', async () => {
  await using folder = await temporaryFolder()
  const target = join(folder.path, 'target')
  await writeFile(target, 'text', { mode: 0o600 })
  for (const [index, to] of [target, join(folder.path, 'nowhere'), folder.path].entries()) {
    const link = join(folder.path, `link-${index}`)
    await symlink(to, link)
    await assert.rejects(readTrusted(link, { maxBytes: 100 }), refused('link', /is a symbolic link\.$/))
    const stats = await lstat(link)
    assert.throws(() => assertTrusted(link, stats), refused('link', /is a symbolic link/))
  }
})

test('a folder, a pipe and a device are refused at once', { skip: !hasOwners }, async () => {
  await using folder = await temporaryFolder()
  const pipe = join(folder.path, 'pipe')
  await promisify(execFile)('mkfifo', [pipe])
  for (const path of [folder.path, pipe, '/dev/null']) {
    await assert.rejects(readTrusted(path, { maxBytes: 100 }), refused('type', /is not a regular file\.$/), path)
  }
  const stats = await lstat(pipe)
  assert.throws(() => assertTrusted(pipe, stats, { type: 'folder' }), refused('type', /is not a folder\.$/))
})

test('a file that others may write is refused', { skip: !hasOwners }, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  await writeFile(path, 'text')
  for (const mode of [0o620, 0o602, 0o666]) {
    await chmod(path, mode)
    const shown = new RegExp(`may be written by other users \\(mode 0${mode.toString(8)}\\)`)
    await assert.rejects(readTrusted(path, { maxBytes: 100 }), refused('mode', shown))
  }
  await chmod(path, 0o644)
  assert.equal(String(await readTrusted(path, { maxBytes: 100 })), 'text')
  const trust = { maxBytes: 100, forbiddenMode: 0o077 }
  await assert.rejects(readTrusted(path, trust), refused('mode', /may be read by other users/))
})

test("another user's file is refused", { skip: !isRoot }, async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  await writeFile(path, 'text', { mode: 0o600 })
  await chown(path, 65_534, 65_534)
  await assert.rejects(readTrusted(path, { maxBytes: 100 }), refused('owner', /belongs to the user with the id 65534/))
  assert.equal(String(await readTrusted(path, { maxBytes: 100, owners: [65_534] })), 'text')
})

test('a file that is longer than allowed is refused', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'state.json')
  await writeFile(path, Buffer.alloc(1001), { mode: 0o600 })
  await assert.rejects(readTrusted(path, { maxBytes: 1000 }), refused('size', /is longer than 1000 bytes/))
})

test('a new file is never made through a link or over another file', async () => {
  await using folder = await temporaryFolder()
  const target = join(folder.path, '.bashrc')
  const dangling = join(folder.path, 'dangling')
  const link = join(folder.path, 'link')
  const inner = join(folder.path, 'inner')
  await mkdir(inner)
  await writeFile(target, 'mine')
  await symlink(target, link)
  await symlink(join(folder.path, 'made'), dangling)
  for (const path of [target, link, dangling, inner]) {
    await assert.rejects(createExclusively(path, 0o600), { code: 'EEXIST' })
  }
  assert.equal(await readFile(target, 'utf8'), 'mine')
  await assert.rejects(lstat(join(folder.path, 'made')), { code: 'ENOENT' })
  const path = join(folder.path, 'new')
  await using file = await createExclusively(path, 0o600)
  assert.equal((await file.stat()).mode & 0o777, hasOwners ? 0o600 : 0o666)
})
