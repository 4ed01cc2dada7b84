import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { Agent } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { ask } from '../../../src/vault/https.ts'
import { stall } from '../../support/stall.ts'

async function serverOf(t: TestContext, answer: RequestListener): Promise<URL> {
  const server = createServer(answer)
  t.after(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

test('an agent for HTTPS is no obstacle to plain HTTP on this machine', async (t) => {
  const url = await serverOf(t, (_request, response) => void response.end('{}'))
  const channel = { signal: AbortSignal.timeout(60_000), limitMillis: 60_000, agent: new Agent() }
  const answer = await ask({ subject: 'The agent', url, method: 'GET', headers: {} }, channel)
  assert.equal(answer.text, '{}')
})

test('an event loop that stood still is not taken for a store without an answer', async (t) => {
  const limitMillis = 1000
  const url = await serverOf(t, (_request, response) => void response.end('{}', () => stall(1.5 * limitMillis)))
  const channel = { signal: AbortSignal.timeout(60_000), limitMillis }
  const answer = await ask({ subject: 'The store', url, method: 'GET', headers: {} }, channel)
  assert.equal(answer.text, '{}')
})

test('a store without an answer is told of after the limit', async (t) => {
  const url = await serverOf(t, () => undefined)
  const channel = { signal: AbortSignal.timeout(60_000), limitMillis: 50 }
  await assert.rejects(ask({ subject: 'The store', url, method: 'GET', headers: {} }, channel), {
    code: 'STORE_TIMEOUT',
    message: 'The store did not answer within 0.05 s.',
  })
})
