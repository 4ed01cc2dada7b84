import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { after, test } from 'node:test'
import tls from 'node:tls'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../../../../src/errors.ts'
import { ask, jsonOf } from '../../../../../src/strategies/azure/federation/https.ts'
import { createPki } from '../../../../support/pki.ts'

const pki = await createPki()
const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
const trusted = tls.getCACertificates('default')
after(() => tls.setDefaultCACertificates(trusted))

const sockets = new Set<Socket>()
const server: Server = createServer(certificate, (request, response) => {
  if (request.url === '/headers') response.writeHead(200).write('beginning')
  if (request.url === '/cut') {
    response.writeHead(200, { 'content-length': '100' }).write('beginning')
    setImmediate(() => request.socket.destroy())
  }
})
server.on('secureConnection', (socket) => sockets.add(socket))
server.listen(0, '127.0.0.1')
await once(server, 'listening')
after(() => {
  server.close()
  for (const socket of sockets) socket.destroy()
})
const { port } = server.address() as AddressInfo

async function failure(path: string, signal = new AbortController().signal): Promise<unknown> {
  const url = new URL(`https://localhost:${port}${path}`)
  return ask({ step: 'realm', subject: 'It failed', url }, { signal }).catch((error: unknown) => error)
}

test('an untrusted certificate is reported with a hint, also under NODE_TLS_REJECT_UNAUTHORIZED=0', async (t) => {
  t.after(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED)
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  const error = await failure('/')
  assert.ok(error instanceof PoolsmithError)
  assert.deepEqual([error.code, error.transient], ['CREDENTIAL_FAILED', false])
  assert.match(error.hint ?? '', /NODE_EXTRA_CA_CERTS/)
  tls.setDefaultCACertificates([...trusted, pki.ca])
})

test('a wait before and within an answer has its limit', async () => {
  const errors = await Promise.all([failure('/nothing'), failure('/headers')])
  for (const error of errors) {
    assert.ok(error instanceof PoolsmithError, inspect(error))
    assert.deepEqual([error.code, error.transient], ['CREDENTIAL_TIMEOUT', true])
    assert.match(error.message, /^It failed: no answer within 10 s\.$/)
  }
})

test('an abort rejects at once with its reason', async () => {
  const reason = new Error('enough')
  const controller = new AbortController()
  const waiting = failure('/headers', controller.signal)
  setTimeout(() => controller.abort(reason), 50)
  assert.equal(await waiting, reason)
  assert.equal(await failure('/headers', controller.signal), reason)
})

test('an answer that is cut off and a server that is down are transient', async () => {
  const closed = createServer(certificate)
  closed.listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port: free } = closed.address() as AddressInfo
  closed.close()
  const nobody = ask(
    { step: 'realm', subject: 'It failed', url: new URL(`https://localhost:${free}/`) },
    { signal: new AbortController().signal },
  ).catch((error: unknown) => error)
  for (const error of [await failure('/cut'), await nobody]) {
    assert.ok(error instanceof PoolsmithError, inspect(error))
    assert.deepEqual([error.code, error.transient], ['CREDENTIAL_FAILED', true], inspect(error))
  }
})

test('JSON that is no object is ignored', () => {
  assert.deepEqual(jsonOf('{"a":1}'), { a: 1 })
  for (const text of ['', '1', 'null', '"a"', '{']) assert.equal(jsonOf(text), undefined)
})
