/** A rotation that is killed at any step, while a pool uses the password. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createEngine, type Engine } from '../../src/index.ts'
import { rotate } from '../../src/rotation/index.ts'
import { FIRST, ROTATION_SIDES, type RotationSide } from '../support/rotation/sides.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'
import { administer } from '../support/vault/server.ts'

const KILLED = join(import.meta.dirname, '..', 'support', 'rotation', 'killed.ts')
const STEPS = ['read', 'login', 'pending', 'alter', 'verify', 'promote'] as const
const stores = { environment: {} }

function recordOf(side: RotationSide, vault: VaultDouble, extra: object = {}) {
  const reference = {
    password_from: 'vault:secret/sales#password',
    vault_addr: vault.address,
    vault_token: vault.rootToken,
  }
  return { ...side.record, login: 'etl', extra: { ...side.record.extra, ...reference, secrets_ttl: 1, ...extra } }
}

async function fieldsIn(vault: VaultDouble): Promise<Record<string, string>> {
  const { data } = await administer(vault, 'GET', 'secret/data/sales')
  return (data as { data: Record<string, string> }).data
}

/** Ten callers without a pause, whose sessions last a tenth of a second. */
async function load(record: ReturnType<typeof recordOf>) {
  const db: Engine = await createEngine(record, { pool_size: 10, max_overflow: 0, pool_recycle: 0.1, stores })
  const state = { isOver: false, statements: 0, opened: 0 }
  db.pool.on('connection:opened', () => state.opened++)
  const work = async (): Promise<void> => {
    while (!state.isOver) {
      await db.raw('select 1 as one')
      state.statements++
      await sleep(5)
    }
  }
  const workers = Promise.all(Array.from({ length: 10 }, work))
  // A failure is reported where they are waited for.
  workers.catch(() => undefined)
  return {
    /** Until sessions were opened from now on. */
    async reopened(count = 10): Promise<void> {
      const target = state.opened + count
      while (state.opened < target) await Promise.race([sleep(10), workers.then(() => assert.fail('it has ended'))])
    },
    async end(): Promise<number> {
      state.isOver = true
      await workers
      await db.destroy()
      return state.statements
    },
    stop: async (): Promise<void> => {
      state.isOver = true
      await db.destroy()
    },
  }
}

async function killAt(step: string, args: readonly unknown[]): Promise<void> {
  const [record, users, admin] = args
  const child = spawn(process.execPath, [KILLED, JSON.stringify([record, {}, step, users, admin])], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [, signal] = await once(child, 'exit')
  assert.equal(signal, 'SIGKILL')
}

for (const [name, start] of Object.entries(ROTATION_SIDES)) {
  test(`${name}: a rotation that is killed at any step is finished by the same call, and no statement fails`, {
    timeout: 300_000,
  }, async () => {
    await using side = await start()
    await using vault = await startVaultDouble()
    await administer(vault, 'POST', 'secret/data/sales', { data: { password: FIRST, note: 'stays' } })
    const record = recordOf(side, vault)
    await using stack = new AsyncDisposableStack()
    const callers = await load(record)
    stack.defer(callers.stop)
    await callers.reopened()
    let present: string = FIRST
    for (const step of STEPS) {
      await killAt(step, [record])
      await callers.reopened()
      const between = await fieldsIn(vault)
      assert.equal(between['password'], present)
      const isPending = !['read', 'login', 'pending'].includes(step)
      assert.equal(between['password_pending'] !== undefined, isPending, step)
      const isSet = step === 'verify' || step === 'promote'
      assert.equal(await side.accepts('etl', present), !isSet, step)
      if (isPending) assert.equal(await side.accepts('etl', String(between['password_pending'])), isSet, step)

      const { resumed, user } = await rotate(record, { stores })
      assert.deepEqual([resumed, user], [isPending, 'etl'])
      const after = await fieldsIn(vault)
      assert.deepEqual(Object.keys(after).sort(), ['note', 'password'])
      assert.notEqual(after['password'], present)
      if (isPending) assert.equal(after['password'], between['password_pending'])
      assert.equal(await side.accepts('etl', String(after['password'])), true)
      assert.equal(await side.accepts('etl', present), false)
      present = String(after['password'])
      await callers.reopened()
    }
    assert.ok((await callers.end()) > 0)
  })
}

for (const [name, start] of Object.entries(ROTATION_SIDES)) {
  test(`${name}: two users take turns, also where each rotation was killed before`, { timeout: 300_000 }, async () => {
    await using side = await start()
    await using vault = await startVaultDouble()
    await administer(vault, 'POST', 'secret/data/sales', { data: { user: 'etl', password: FIRST } })
    const record = { ...recordOf(side, vault, { login_from: 'vault:secret/sales#user' }), login: null }
    const admin = { ...side.record, login: 'boss', password: FIRST }
    const users = ['etl', 'etl_b'] as const
    await using stack = new AsyncDisposableStack()
    const callers = await load(record as unknown as ReturnType<typeof recordOf>)
    stack.defer(callers.stop)
    await callers.reopened()
    let present = { user: 'etl', password: FIRST }
    for (const step of ['pending', 'alter', 'verify', 'promote']) {
      await killAt(step, [record, users, admin])
      await callers.reopened()
      // The user in use is never touched.
      assert.equal(await side.accepts(present.user, present.password), true)
      const { user } = await rotate(record, { stores, users, admin })
      const after = await fieldsIn(vault)
      assert.deepEqual(Object.keys(after).sort(), ['password', 'user'])
      assert.equal(
        user,
        users.find((one) => one !== present.user),
      )
      assert.equal(after['user'], user)
      assert.equal(await side.accepts(present.user, present.password), true)
      assert.equal(await side.accepts(user, String(after['password'])), true)
      present = { user, password: String(after['password']) }
      await callers.reopened()
    }
    assert.ok((await callers.end()) > 0)
  })
}
