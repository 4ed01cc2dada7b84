/** API keys in Vault: a store that fails between two writes, and one that is away. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PoolsmithError } from '../../src/errors.ts'
import { openApiKeys } from '../../src/rotation/index.ts'
import { startVaultDouble, type VaultDouble } from '../support/vault/double.ts'

const SEALED = { status: 503, body: { errors: ['Vault is sealed'] } }

async function open(vault: VaultDouble, now: () => number = Date.now) {
  const store = { vault_addr: vault.address, vault_token: vault.rootToken }
  return openApiKeys('vault:secret/api-keys', { store, environment: {}, ttl: 1, grace: 60, now })
}

/** From now on, all writes after so many fail, as for a process that is killed there. */
function failAfter(vault: VaultDouble, writes: number): void {
  let seen = 0
  vault.fault = ({ method }) => (method === 'POST' && ++seen > writes ? SEALED : undefined)
}

async function sent(vault: VaultDouble): Promise<string> {
  using caller = await open(vault)
  return (await caller.headersFor('billing'))['X-API-Key'] ?? ''
}

for (const action of ['generate', 'rotate'] as const) {
  test(`${action} that stops between two writes is finished by the same call, and the key that callers send is valid`, async () => {
    for (const writes of [0, 1, 2]) {
      await using vault = await startVaultDouble()
      using keys = await open(vault)
      if (action === 'rotate') await keys.generate('billing')
      const before = action === 'rotate' ? await sent(vault) : undefined
      failAfter(vault, writes)
      await assert.rejects(keys[action]('billing'), { code: 'STORE_SEALED' })
      vault.fault = undefined
      const between = action === 'rotate' || writes === 2 ? await sent(vault) : undefined
      using validator = await open(vault)
      if (between !== undefined) assert.ok(await validator.validate(between), `after ${writes} writes`)
      assert.equal(between !== before, writes === 2)

      const { key } = await keys[action]('billing')
      assert.equal(await sent(vault), key.reveal())
      if (writes === 2) assert.equal(key.reveal(), between)
      const states = (await keys.list('billing')).map(({ state }) => state)
      assert.deepEqual(states, action === 'rotate' ? ['retiring', 'current'] : ['current'])
      using after = await open(vault)
      assert.equal((await after.validate(key))?.state, 'current')
      if (before !== undefined) assert.equal((await after.validate(before))?.state, 'retiring')
    }
  })
}

test('while Vault is away, what was read is used within the grace period, and after it the error is told', async () => {
  await using vault = await startVaultDouble()
  const clock = { now: Date.now() }
  using keys = await open(vault, () => clock.now)
  const { key } = await keys.generate('billing')
  const headers = await keys.headersFor('billing')
  assert.ok(await keys.validate(key))
  vault.fault = () => SEALED
  clock.now += 30_000
  assert.equal((await keys.validate(key))?.service, 'billing')
  assert.deepEqual(await keys.headersFor('billing'), headers)
  clock.now += 60_000
  await assert.rejects(keys.validate(key), { code: 'STORE_SEALED' })
  await assert.rejects(keys.headersFor('billing'), { code: 'STORE_SEALED' })
})

test('a thousand validations at once read the index once, and unknown keys once a second', async () => {
  await using vault = await startVaultDouble()
  const clock = { now: Date.now() }
  using keys = await open(vault, () => clock.now)
  const { key } = await keys.generate('billing')
  using validator = await open(vault, () => clock.now)
  vault.asked.length = 0
  const reads = (): number => vault.asked.filter(({ path }) => path.startsWith('secret/data/')).length
  const found = await Promise.all(Array.from({ length: 1000 }, () => validator.validate(key)))
  assert.ok(found.every((info) => info?.service === 'billing'))
  assert.equal(reads(), 1)
  // A valid form that no service has.
  using other = await open(vault, () => clock.now)
  const stranger = (await other.generate('stranger')).key
  vault.asked.length = 0
  for (let count = 0; count < 50; count++) assert.equal(await validator.validate(stranger), undefined)
  assert.equal(reads(), 0)
  clock.now += 1000
  assert.equal((await validator.validate(stranger))?.service, 'stranger')
  assert.equal(reads(), 1)
})

test('a validator needs the right to the index alone', async () => {
  await using vault = await startVaultDouble()
  using keys = await open(vault)
  const { key } = await keys.generate('billing')
  vault.fault = ({ path }) =>
    path.includes('api-keys/') ? { status: 403, body: { errors: ['permission denied'] } } : undefined
  using validator = await open(vault)
  assert.ok(await validator.validate(key))
  const error = await validator.headersFor('billing').catch((reason: unknown) => reason)
  assert.equal((error as PoolsmithError).code, 'STORE_REFUSED')
})
