import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { Agent } from 'node:https'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { ask } from '../../../src/vault/https.ts'

test('an agent for HTTPS is no obstacle to plain HTTP on this machine', async (t) => {
  const server = createServer((_request, response) => void response.end('{}'))
  t.after(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const channel = { signal: AbortSignal.timeout(60_000), limitMillis: 60_000, agent: new Agent() }
  const answer = await ask({ subject: 'The agent', url, method: 'GET', headers: {} }, channel)
  assert.equal(answer.text, '{}')
})
