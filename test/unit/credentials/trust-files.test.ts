import assert from 'node:assert/strict'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { CaFile, CrlFile } from '../../../src/credentials/trust-files.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { createPki, type Pki } from '../../support/pki.ts'

const DAY = 86_400_000
let folder: { readonly path: string } & AsyncDisposable
let pki: Pki

before(async () => {
  folder = await temporaryFolder()
  pki = await createPki('root')
})
after(() => folder[Symbol.asyncDispose]())

async function write(name: string, content: string): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(`${path}.new`, content)
  await rename(`${path}.new`, path)
  return path
}

test('a file of authorities is read, and read again when it changes', async () => {
  const path = await write('changing.crt', pki.ca)
  const file = new CaFile(path)
  assert.equal(await file.load(), pki.ca)
  const other = await createPki('other')
  await write('changing.crt', pki.ca + other.ca)
  assert.equal(await file.load(), pki.ca + other.ca)
})

test('no file, no certificate in it, a damaged one', async () => {
  await assert.rejects(new CaFile(join(folder.path, 'absent')).load(), { code: 'CA_FILE_MISSING', phase: 'tls' })
  await assert.rejects(new CaFile(folder.path).load(), { code: 'CA_FILE_UNREADABLE' })
  await assert.rejects(new CaFile(await write('empty.crt', '')).load(), { code: 'CA_FILE_MALFORMED' })
  const damaged = pki.ca.replace(/MI/, 'AA')
  await assert.rejects(new CaFile(await write('damaged.crt', pki.ca + damaged)).load(), { code: 'CA_FILE_MALFORMED' })
})

test('an authority near its end is told of once, unless the file holds a successor', async () => {
  const path = await write('ending.crt', pki.ca)
  const told: string[] = []
  const file = new CaFile(path, { now: () => Date.now() + 350 * DAY, onExpiring: (one) => told.push(one.subject) })
  await file.load()
  await file.load()
  assert.deepEqual(told, ['CN=root'])
  const fresh = new CaFile(path, { onExpiring: () => assert.fail('not yet') })
  await fresh.load()
})

test('a revocation list', async () => {
  const list = await pki.crl([])
  assert.equal(await new CrlFile(await write('good.crl', list)).load(), list)
  await assert.rejects(new CrlFile(join(folder.path, 'absent')).load(), { code: 'CRL_FILE_MISSING' })
  await assert.rejects(new CrlFile(await write('bad.crl', pki.ca)).load(), { code: 'CRL_FILE_MALFORMED' })
})
