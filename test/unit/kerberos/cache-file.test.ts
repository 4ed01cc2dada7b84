import assert from 'node:assert/strict'
import { chmod, lstat, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { replaceCacheFile } from '../../../src/kerberos/cache-file.ts'
import { cachePath } from '../../../src/kerberos/cache-name.ts'
import { temporaryFolder } from '../../support/folder.ts'

/** Stands for libkrb5, which makes the file 0600. */
const writing = (text: string) => async (into: string) => {
  await writeFile(into.slice('FILE:'.length), text, { mode: 0o600 })
}
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

test('the file behind a cache is known by its type', () => {
  assert.equal(cachePath('FILE:/tmp/a'), '/tmp/a')
  assert.equal(cachePath('/tmp/a'), '/tmp/a')
  assert.equal(cachePath('DIR::/tmp/d/tkt1'), '/tmp/d/tkt1')
  for (const other of ['MEMORY:a', 'KEYRING:session:a', 'KCM:0', 'DIR:/tmp/d'])
    assert.equal(cachePath(other), undefined)
})

test('only its owner may read a new cache', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cc')
  await replaceCacheFile(`FILE:${path}`, undefined, writing('one'))
  assert.equal(await readFile(path, 'utf8'), 'one')
  assert.equal(await modeOf(path), 0o600)
  assert.deepEqual(await readdir(folder.path), ['cc'])
})

for (const mode of [0o400, 0o600, 0o640, 0o644]) {
  test(`an old cache of mode ${mode.toString(8)} keeps it`, async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'cc')
    await writeFile(path, 'old')
    await chmod(path, mode)
    await replaceCacheFile(`FILE:${path}`, undefined, writing('new'))
    assert.equal(await readFile(path, 'utf8'), 'new')
    assert.equal(await modeOf(path), mode)
  })
}

test('a group may read the cache when it is named, by number or name, and no other user', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cc')
  const gid = process.getgid?.() ?? 0
  await replaceCacheFile(`FILE:${path}`, gid, writing('one'))
  assert.equal(await modeOf(path), 0o640)
  assert.equal((await stat(path)).gid, gid)
  const line = (await readFile('/etc/group', 'utf8')).split('\n').find((entry) => entry.split(':')[2] === String(gid))
  assert.ok(line)
  await replaceCacheFile(`FILE:${path}`, line.split(':')[0], writing('two'))
  assert.equal(await modeOf(path), 0o640)
  await assert.rejects(replaceCacheFile(`FILE:${path}`, 'no-such-group', writing('three')), {
    code: 'CONFIG_INVALID',
  })
  assert.equal(await readFile(path, 'utf8'), 'two')
})

test('a writer that fails leaves the old cache and nothing beside it', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cc')
  await writeFile(path, 'old')
  const failing = async (into: string) => {
    await writeFile(into.slice('FILE:'.length), 'half')
    throw new Error('disk full')
  }
  await assert.rejects(replaceCacheFile(`FILE:${path}`, undefined, failing), {
    code: 'TICKET_CACHE_NOT_WRITABLE',
    message: /disk full/,
  })
  assert.equal(await readFile(path, 'utf8'), 'old')
  assert.deepEqual(await readdir(folder.path), ['cc'])
})

test('only the leftovers of dead updaters are removed', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cc')
  const names = ['.cc.123.0123456789ab.tmp', '.cc.1.5.0123456789ab.tmp', '.cc.notes.tmp', '.dd.123.0123456789ab.tmp']
  for (const name of names) await writeFile(join(folder.path, name), '')
  await replaceCacheFile(`FILE:${path}`, undefined, writing('one'))
  assert.deepEqual((await readdir(folder.path)).toSorted(), [...names.slice(1), 'cc'].toSorted())
})

test('a link, and a file that others may write, are refused and named', async () => {
  await using folder = await temporaryFolder()
  const target = join(folder.path, 'target')
  const link = join(folder.path, 'link')
  const open = join(folder.path, 'open')
  await writeFile(target, 'old', { mode: 0o600 })
  await symlink(target, link)
  await writeFile(open, 'old')
  await chmod(open, 0o660)
  for (const [path, reason] of [
    [link, /link is a symbolic link\./],
    [open, /open may be written by other users \(mode 0660\)\./],
  ] as const) {
    await assert.rejects(replaceCacheFile(`FILE:${path}`, undefined, writing('new')), {
      code: 'TICKET_CACHE_NOT_TRUSTED',
      message: reason,
    })
  }
  assert.ok((await lstat(link)).isSymbolicLink())
  assert.deepEqual([await readFile(target, 'utf8'), await readFile(open, 'utf8')], ['old', 'old'])
})

test('a cache that a writer replaced by a link is not given to the group', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'cc')
  const victim = join(folder.path, 'victim')
  await writeFile(victim, 'secret', { mode: 0o600 })
  const linking = (into: string) => symlink(victim, into.slice('FILE:'.length))
  await assert.rejects(replaceCacheFile(`FILE:${path}`, process.getgid?.() ?? 0, linking), {
    code: 'TICKET_CACHE_NOT_TRUSTED',
  })
  assert.equal(await modeOf(victim), 0o600)
})

test('a folder that is not there is TICKET_CACHE_NOT_WRITABLE', async () => {
  await assert.rejects(replaceCacheFile('FILE:/nowhere/at/all/cc', undefined, writing('x')), {
    code: 'TICKET_CACHE_NOT_WRITABLE',
  })
})
