/** Several nodes of OpenBao: standbys, a node that is lost, nodes that are sealed, and requests that are limited. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../../src/errors.ts'
import { Secret } from '../../../src/secret.ts'
import { KeyValues } from '../../../src/vault/kv.ts'
import { administer } from '../../support/vault/server.ts'
import { appRole, vaultOf } from '../../support/vault/suite.ts'
import { startOpenBao } from './openbao.ts'
import { startNodes } from './openbao-nodes.ts'

const POLICY = 'path "secret/data/*" { capabilities = ["create", "read", "update"] }'
const signal = AbortSignal.timeout(300_000)

const fields = (password: string): Map<string, Secret> => new Map([['password', new Secret(password)]])

function ours(error: unknown): PoolsmithError {
  if (!(error instanceof PoolsmithError) || signal.aborted) throw error
  return error
}

const failureOf = (work: Promise<unknown>): Promise<PoolsmithError | undefined> => work.then(() => undefined, ours)

/** A standby follows the active node with a delay, and no node serves while another one becomes active. */
async function untilRead(values: KeyValues, password: string): Promise<void> {
  for (;;) {
    const read = await values.read('secret/sales', signal).catch(ours)
    if (!(read instanceof PoolsmithError) && read.read('password', 'It').reveal() === password) return
    await sleep(50)
  }
}

test('a node that was sealed serves again once it is unsealed, and a standby does after the active node was lost', async () => {
  await using nodes = await startNodes()
  const before = await nodes.active()
  await administer(before, 'POST', 'sys/mounts/secret', { type: 'kv', options: { version: '2' } })
  const { roleId, secretId } = await appRole(before, 'writer', {}, POLICY)
  const login = { vault_auth: 'approle', vault_role_id: roleId, vault_secret_id: (await secretId()).secret_id }
  {
    using vault = vaultOf(before, login)
    const values = new KeyValues(vault, 2)
    await values.write('secret/sales', fields('one'), { replaces: undefined, signal })
    await administer(before, 'POST', 'sys/seal', {})
    const codes = new Set<string>()
    // It is sealed a moment after its answer.
    while (!codes.has('STORE_SEALED')) codes.add((await failureOf(values.read('secret/sales', signal)))?.code ?? '')
    await nodes.unseal(before)
    await untilRead(values, 'one')
  }

  const active = await nodes.active()
  const standby = await nodes.standby()
  using vault = vaultOf(standby, login)
  const values = new KeyValues(vault, 2)
  await untilRead(values, 'one')
  const first = await values.read('secret/sales', signal)
  await active.end()
  const failures: PoolsmithError[] = []
  for (let isWritten = false; !isWritten; ) {
    const failure = await failureOf(values.write('secret/sales', fields('two'), { replaces: first, signal }))
    // An answer may be lost after the secret was written.
    isWritten = failure === undefined || failure.code === 'SECRET_CONFLICT'
    if (!isWritten && failure !== undefined) failures.push(failure)
    await sleep(50)
  }
  await untilRead(values, 'two')
  for (const { transient, message } of failures) assert.equal(transient, true, message)
})

test('a limit of requests is an error that says when to ask again', async () => {
  await using server = await startOpenBao()
  await administer(server, 'POST', 'secret/data/sales', { data: { password: 'one' } })
  using vault = vaultOf(server, { vault_token: server.rootToken })
  const values = new KeyValues(vault, 2)
  await administer(server, 'POST', 'sys/quotas/config', { enable_rate_limit_response_headers: true })
  const quota = { path: 'secret', rate: 1, interval: '1h' }
  await administer(server, 'POST', 'sys/quotas/rate-limit/reads', quota)
  await values.read('secret/sales', signal)
  const error = await failureOf(values.read('secret/sales', signal))
  assert.ok(error)
  assert.deepEqual([error.code, error.transient], ['STORE_FAILED', true], error.message)
  assert.match(error.message, /HTTP 429/)
  assert.ok(Number(error.details.retryAfterMillis) > 0)
  await administer(server, 'DELETE', 'sys/quotas/rate-limit/reads')
  await untilRead(values, 'one')
})
