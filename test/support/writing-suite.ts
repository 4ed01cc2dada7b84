/** The rules of writing, which hold for every store of the cloud. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Secret } from '../../src/secret.ts'
import type { SecretReader } from '../../src/stores/reader.ts'
import type { StoredSecret } from '../../src/vault/stored-secret.ts'
import { findSecrets } from './object-graph.ts'

const signal = AbortSignal.timeout(300_000)

/** @param pathOf gives a path in the store for a name of lower case letters */
export function writingSuite(store: string, open: () => Promise<SecretReader>, pathOf: (name: string) => string): void {
  const fieldsOf = (fields: Readonly<Record<string, string>>): Map<string, Secret> =>
    new Map(Object.entries(fields).map(([name, value]) => [name, new Secret(value)]))

  async function write(
    reader: SecretReader,
    name: string,
    fields: Readonly<Record<string, string>>,
    replaces?: StoredSecret,
  ): Promise<StoredSecret> {
    assert.ok(reader.write !== undefined)
    return reader.write(pathOf(name), fieldsOf(fields), { replaces, signal })
  }

  describe(`writing to ${store}`, () => {
    test('a new secret is made, and the next version replaces the one that was read', async () => {
      const reader = await open()
      const written = await write(reader, 'fresh', { username: 'etl', password: 'one' })
      const read = await reader.read(pathOf('fresh'), signal)
      assert.deepEqual(read.fields(), { username: 'etl', password: 'one' })
      assert.equal(read.version, written.version)
      await write(reader, 'fresh', { username: 'etl', password: 'two' }, read)
      assert.equal((await reader.read(pathOf('fresh'), signal)).read('password', 'It').reveal(), 'two')
    })

    test('a secret without fields is written as its text', async () => {
      const reader = await open()
      const first = await write(reader, 'plain', { '': 'one' })
      await write(reader, 'plain', { '': 'two' }, first)
      assert.equal((await reader.read(pathOf('plain'), signal)).read(undefined, 'It').reveal(), 'two')
    })

    test('a secret that exists is not made again, and a version that is not the present one is not replaced', async () => {
      const reader = await open()
      const first = await write(reader, 'contested', { password: 'one' })
      await assert.rejects(write(reader, 'contested', { password: 'other' }), { code: 'SECRET_CONFLICT' })
      await write(reader, 'contested', { password: 'two' }, first)
      const error = await write(reader, 'contested', { password: 'Passw0rd-of-the-loser' }, first).then(
        () => assert.fail('it was replaced'),
        (reason: unknown) => reason,
      )
      assert.equal((error as { code?: string }).code, 'SECRET_CONFLICT')
      assert.deepEqual(findSecrets([error], ['Passw0rd-of-the-loser']), [])
      assert.equal((await reader.read(pathOf('contested'), signal)).read('password', 'It').reveal(), 'two')
    })
  })
}
