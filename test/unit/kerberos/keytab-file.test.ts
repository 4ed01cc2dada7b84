import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  entryFor,
  type FileEntry,
  keysHash,
  newestVersion,
  readKeytab,
  withoutOldVersions,
  writeKeytab,
} from '../../../src/kerberos/keytab-file.ts'

const text = (value: string): Buffer => {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(value.length)
  return Buffer.concat([length, Buffer.from(value)])
}

/** The names of a principal of EXAMPLE.COM, as an entry begins. */
function headOf(...names: readonly string[]): Buffer {
  return Buffer.concat([Buffer.of(0, names.length), text('EXAMPLE.COM'), ...names.map(text), Buffer.of(0, 0, 0, 1)])
}

function entry(principal: string, names: readonly string[], kvno: number, timestamp: number): FileEntry {
  const key = Buffer.alloc(32, kvno & 0xff)
  return entryFor({ principal: `${principal}@EXAMPLE.COM`, head: headOf(...names) }, { kvno, timestamp, type: 18, key })
}

const ENTRIES = [
  entry('etl', ['etl'], 1, 1000),
  entry('etl', ['etl'], 300, 2000),
  entry('HTTP/web.example.com', ['HTTP', 'web.example.com'], 7, 1500),
]

test('entries are read as they were written, with versions above a byte', () => {
  const read = readKeytab(writeKeytab(ENTRIES))
  assert.deepEqual(read, ENTRIES)
  assert.equal(newestVersion(read, 'etl@EXAMPLE.COM'), 300)
  assert.equal(newestVersion(read, 'nobody@EXAMPLE.COM'), undefined)
})

test('names are quoted as krb5 prints them', () => {
  const [read] = readKeytab(writeKeytab([entry('x', ['a/b@c\\d\n'], 1, 0)]))
  assert.equal(read?.principal, 'a\\/b\\@c\\\\d\\n@EXAMPLE.COM')
})

test('the places of removed entries are skipped, and zeros end the keytab', () => {
  const [first] = ENTRIES
  assert.ok(first)
  const hole = Buffer.alloc(4 + 10)
  hole.writeInt32BE(-10)
  const whole = writeKeytab(ENTRIES)
  const bytes = Buffer.concat([whole.subarray(0, 2), hole, whole.subarray(2), Buffer.alloc(20)])
  assert.deepEqual(readKeytab(bytes), ENTRIES)
  // A short entry has no version of four bytes.
  const short = Buffer.concat([whole.subarray(0, 2), Buffer.alloc(4), first.bytes.subarray(0, -4)])
  short.writeInt32BE(first.bytes.length - 4, 2)
  assert.equal(readKeytab(short)[0]?.kvno, 1)
})

test('bytes that are no keytab, and damaged ones, are a RangeError and nothing else', () => {
  const whole = writeKeytab(ENTRIES)
  for (const bytes of [Buffer.alloc(0), Buffer.from('no keytab'), Buffer.of(5, 1, 0, 0)]) {
    assert.throws(() => readKeytab(bytes), RangeError)
  }
  for (let at = 2; at < whole.length; at++) {
    for (const value of [0, 0x7f, 0xff]) {
      const damaged = Buffer.from(whole)
      damaged[at] = value
      try {
        readKeytab(damaged)
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error))
      }
    }
  }
})

test('an old version goes when it was replaced long enough ago, and the newest never does', () => {
  const versions = (now: number, keepSeconds = 100): number[] =>
    withoutOldVersions(ENTRIES, 'etl@EXAMPLE.COM', { now, keepSeconds })
      .filter(({ principal }) => principal.startsWith('etl'))
      .map(({ kvno }) => kvno)
  assert.deepEqual([versions(2099), versions(2100), versions(9999)], [[1, 300], [300], [300]])
  assert.equal(withoutOldVersions(ENTRIES, 'etl@EXAMPLE.COM', { now: 9999, keepSeconds: 0 }).length, 2)
})

test('the hash is that of the newest keys', () => {
  const [first, ...rest] = ENTRIES
  assert.ok(first)
  const before = keysHash(ENTRIES, 'etl@EXAMPLE.COM')
  assert.match(before, /^[0-9a-f]{64}$/)
  assert.equal(keysHash(rest, 'etl@EXAMPLE.COM'), before)
  assert.notEqual(keysHash([first], 'etl@EXAMPLE.COM'), before)
})
