import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { lstat, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { PoolsmithError } from '../../../../src/errors.ts'
import { TargetFile } from '../../../../src/extract/files/target-file.ts'
import { writeFailure } from '../../../../src/extract/files/write-failure.ts'
import { temporaryFolder } from '../../../support/folder.ts'

test('a file has its name only when it is complete', async () => {
  await using folder = await temporaryFolder()
  const place = join(folder.path, 'a', 'b')
  await using file = await TargetFile.create(place, 'part.csv')
  await file.write(Buffer.from('one,'))
  await file.write(Buffer.from('two'))
  assert.deepEqual(await readdir(place), ['.part.csv.tmp'])
  const finished = await file.finish()
  assert.deepEqual(await readdir(place), ['part.csv'])
  assert.equal(await readFile(file.path, 'utf8'), 'one,two')
  const sha256 = createHash('sha256').update('one,two').digest('hex')
  assert.deepEqual(finished, { name: 'part.csv', bytes: 7, sha256 })
})

test('a file has its name only when it is on the disk', async (t) => {
  await using folder = await temporaryFolder()
  await using file = await TargetFile.create(folder.path, 'part.csv')
  const probe = await open(join(folder.path, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const atSync: string[][] = []
  t.mock.method(prototype, 'sync', async () => {
    atSync.push((await readdir(folder.path)).filter((name) => name !== 'probe'))
  })
  await file.finish()
  // The file, and then the folder that names it.
  assert.deepEqual(atSync, [['.part.csv.tmp'], ['part.csv']])
})

test('a long file is brought to the disk ahead of its end, which gets the error of that', async (t) => {
  await using folder = await temporaryFolder()
  const probe = await open(join(folder.path, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const block = Buffer.alloc(32 << 20)
  let synced = 0
  const failures: (Error | undefined)[] = [undefined, undefined, new Error('EIO: i/o error, fdatasync'), undefined]
  t.mock.method(prototype, 'datasync', async () => {
    const failure = failures[synced++]
    if (failure !== undefined) throw failure
  })
  await using good = await TargetFile.create(folder.path, 'good.csv')
  for (let count = 0; count < 5; count++) await good.write(block)
  await good.finish()
  assert.equal(synced, 2)
  await using bad = await TargetFile.create(folder.path, 'bad.csv')
  for (let count = 0; count < 4; count++) await bad.write(block)
  await assert.rejects(bad.finish(), { code: 'WRITE_FAILED' })
  assert.equal(synced, 3, 'the system may tell of no failure the next time')
})

test('bytes that the system takes in part are written to the end', async (t) => {
  await using folder = await temporaryFolder()
  await using file = await TargetFile.create(folder.path, 'part.csv')
  const probe = await open(join(folder.path, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const { write } = prototype
  const few = async function (this: typeof probe, bytes: Uint8Array, at = 0): ReturnType<typeof write> {
    return Reflect.apply(write, this, [bytes, at, Math.min(3, bytes.length - at)])
  }
  t.mock.method(prototype, 'writev', async function (this: typeof probe, parts: Uint8Array[]) {
    const { bytesWritten } = await Reflect.apply(few, this, [Buffer.concat(parts)])
    return { bytesWritten, buffers: parts }
  })
  t.mock.method(prototype, 'write', few)
  await file.writeAll([Buffer.from('one,'), Buffer.from('two,'), Buffer.from('three')])
  const { bytes, sha256 } = await file.finish()
  assert.equal(await readFile(file.path, 'utf8'), 'one,two,three')
  assert.deepEqual([bytes, sha256], [13, createHash('sha256').update('one,two,three').digest('hex')])
})

test('a folder that cannot be made is an error, and not an endless wait', async () => {
  // Linux says "no such file" of what is made below /proc, though /proc is there.
  await assert.rejects(TargetFile.create('/proc/poolsmith/a/b', 'part.csv'), { code: 'TARGET_NOT_WRITABLE' })
})

test('several writers make one folder at the same time', async () => {
  await using folder = await temporaryFolder()
  const place = join(folder.path, 'a', 'b', 'c')
  const files = await Promise.all(['1', '2', '3', '4'].map((name) => TargetFile.create(place, name)))
  for (const file of files) await file.finish()
  assert.deepEqual((await readdir(place)).sort(), ['1', '2', '3', '4'])
})

test('disposing an unfinished file removes it, also when its folder is gone', async () => {
  await using folder = await temporaryFolder()
  {
    await using file = await TargetFile.create(folder.path, 'part.csv')
    await file.write(Buffer.from('half'))
  }
  assert.deepEqual(await readdir(folder.path), [])
  const place = join(folder.path, 'inner')
  await using file = await TargetFile.create(place, 'part.csv')
  await rm(place, { recursive: true })
  await assert.rejects(file.finish(), { code: 'TARGET_NOT_WRITABLE', phase: 'write' })
})

test('a file whose folder cannot be synced is removed', async (t) => {
  await using folder = await temporaryFolder()
  await using file = await TargetFile.create(folder.path, 'part.csv')
  const probe = await open(join(folder.path, 'probe'), 'w')
  const prototype = Object.getPrototypeOf(probe) as typeof probe
  await probe.close()
  const { sync } = prototype
  t.mock.method(prototype, 'sync', async function (this: typeof probe) {
    if ((await this.stat()).isDirectory()) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    return Reflect.apply(sync, this, [])
  })
  await assert.rejects(file.finish(), { code: 'WRITE_FAILED', phase: 'write' })
  assert.deepEqual(await readdir(folder.path), ['probe'])
})

test('an error of the file system gets a code, a phase and a hint', () => {
  const codes = {
    ENOSPC: 'DISK_FULL',
    EDQUOT: 'DISK_FULL',
    EACCES: 'TARGET_NOT_WRITABLE',
    EROFS: 'TARGET_NOT_WRITABLE',
    ENOTDIR: 'TARGET_NOT_WRITABLE',
    EIO: 'WRITE_FAILED',
  }
  for (const [errno, code] of Object.entries(codes)) {
    const cause = Object.assign(new Error(`${errno}: it went wrong`), { code: errno })
    const failure = writeFailure(cause, '/bronze/x')
    assert.deepEqual([failure.code, failure.phase, failure.details], [code, 'write', { path: '/bronze/x', errno }])
    assert.ok(failure.hint)
    assert.equal(failure.cause, cause)
  }
  const own = new PoolsmithError('x', { code: 'ABORTED', phase: 'query' })
  assert.equal(writeFailure(own, '/x'), own)
})

test('a file is never written through a link of its temporary or final name', async () => {
  await using folder = await temporaryFolder()
  const victim = join(folder.path, '.bashrc')
  await writeFile(victim, 'mine')
  await symlink(victim, join(folder.path, '.part.csv.tmp'))
  await symlink(victim, join(folder.path, 'part.csv'))
  await assert.rejects(TargetFile.create(folder.path, 'part.csv'), { code: 'TARGET_NOT_WRITABLE' })
  await using file = await TargetFile.create(folder.path, 'part.csv', { replaceLeftover: true })
  await file.write(Buffer.from('rows'))
  await file.finish()
  assert.equal(await readFile(victim, 'utf8'), 'mine')
  assert.ok((await lstat(join(folder.path, 'part.csv'))).isFile())
})
