import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { createEngine } from '../../src/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startTokenDatabase } from '../support/token-database.ts'

const ROTATIONS = 4
const PACE_MILLIS = 2000

test('a password that changes again and again under load costs no failed statement', { timeout: 60_000 }, async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'password')
  let round = 0
  let valid = ''
  let rotatedAt = 0
  const uses = new Map<string, number>()
  await using database = await startTokenDatabase('db.example.com', ['svc_etl'], (_user, password) => {
    if (password !== valid) throw new Error('not the password of now')
    uses.set(password, (uses.get(password) ?? 0) + 1)
  })
  // Both sides change within one turn of the event loop, so that no login falls between them.
  const rotate = (): void => {
    valid = `password-${++round}`
    rotatedAt = Date.now()
    writeFileSync(`${file}.new`, `${valid}\n`, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }
  rotate()
  await using db = await createEngine({
    type: 'postgres',
    host: database.host,
    port: database.server.port,
    login: 'svc_etl',
    database: 'postgres',
    extra: { password_file: file, sslmode: 'verify-full', ...database.extra, pool_size: 4, pool_recycle: 0.1 },
  })
  let statements = 0
  const worker = async (): Promise<void> => {
    while (round <= ROTATIONS) {
      const { rows } = await db.raw('select current_user as name')
      assert.equal(rows[0].name, 'svc_etl')
      statements++
      // Each password is used by several logins before it is replaced, however slow the machine.
      if ((uses.get(valid) ?? 0) >= 5 && Date.now() - rotatedAt > PACE_MILLIS) rotate()
    }
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  assert.ok(statements > ROTATIONS)
  // The last one may have been used too, by a statement that was on its way.
  assert.ok(uses.size === ROTATIONS || uses.size === ROTATIONS + 1, [...uses.keys()].join())
  const refused = database.decisions.filter(({ outcome }) => outcome !== 'accepted')
  assert.ok(refused.length > 0, 'every rotation was noticed before a login needed it, so that nothing was tried twice')
})
