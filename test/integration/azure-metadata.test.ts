/** Token endpoints and metadata services of Azure that are late, lose a request or never end. */

import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { after, beforeEach, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { CredentialSource } from '../../src/credentials/credential.ts'
import { PoolsmithError } from '../../src/errors.ts'
import type { PoolsmithEvents } from '../../src/events.ts'
import { azureAd } from '../../src/strategies/azure-ad.ts'
import { answerWithoutEnd } from '../support/endless.ts'
import { startOpenIdProvider } from '../support/openid-provider.ts'
import { build } from '../unit/strategies/context.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const provider = resources.use(await startOpenIdProvider({ app: { secret: 'secret' } }))
const app = () => ({
  tenant_id: provider.tenant,
  authority_host: provider.authorityHost,
  disable_instance_discovery: true,
  client_id: 'app',
  client_secret: 'secret',
})

type Answer = (request: IncomingMessage, response: ServerResponse) => void

const good: Answer = (_request, response) => {
  response.setHeader('content-type', 'application/json')
  const expires_on = String(Math.floor(Date.now() / 1000) + 7200)
  response.end(JSON.stringify({ access_token: 'opaque', expires_on, resource: 'x', token_type: 'Bearer' }))
}
let answer: Answer = good
const metadata = createServer((request, response) => answer(request, response))
await new Promise<void>((resolve) => metadata.listen(0, '127.0.0.1', resolve))
after(() => {
  metadata.closeAllConnections()
  metadata.close()
  clear()
})
const host = `127.0.0.1:${(metadata.address() as AddressInfo).port}`

function clear(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('AZURE_')) delete process.env[name]
}
beforeEach(() => {
  clear()
  process.env.AZURE_POD_IDENTITY_AUTHORITY_HOST = `http://${host}`
  answer = good
  provider.answer = { kind: 'token' }
})

interface Fetching extends Disposable {
  readonly source: CredentialSource
  failures(): PoolsmithError[]
}

async function sourceFor(extra: Record<string, unknown>): Promise<Fetching> {
  const { source, events } = await build(azureAd, { login: 'svc' }, extra, {
    environment: process.env as Record<string, string>,
  })
  return {
    source,
    failures: () =>
      events
        .filter(({ name }) => name === 'credential:failed')
        .map(({ payload }) => (payload as PoolsmithEvents['credential:failed']).error),
    [Symbol.dispose]: () => source.close(),
  }
}

async function failureOf(source: CredentialSource): Promise<PoolsmithError> {
  const outcome = await source.get().catch((error: unknown) => error)
  assert.ok(outcome instanceof PoolsmithError, 'a token was given')
  return outcome
}

describe('a metadata service in trouble at the first fetch', () => {
  for (const [what, trouble] of [
    ['answers 404', (_request, response) => response.writeHead(404).end('{}')],
    ['answers 410', (_request, response) => response.writeHead(410).end('{}')],
    ['answers 429', (_request, response) => response.writeHead(429).end('{}')],
    ['answers 503', (_request, response) => response.writeHead(503).end('{}')],
    ['closes the connection', (request) => request.socket.destroy()],
    ['hangs', () => undefined],
  ] as readonly (readonly [string, Answer])[]) {
    for (const kind of ['managed_identity', 'default']) {
      test(`it ${what} for a while, under ${kind}: the token arrives, and the error names the service`, async () => {
        answer = trouble
        using fetching = await sourceFor({ azure_credential: kind, credential_timeout: 0.5 })
        const waiting = fetching.source.get()
        while (fetching.failures().length === 0) await sleep(5)
        answer = good
        assert.equal((await waiting).kind, 'token')
        const [failure] = fetching.failures()
        assert.deepEqual([failure?.code, failure?.transient], ['CREDENTIAL_FAILED', true], failure?.message)
        assert.ok(`${failure?.message} ${failure?.hint}`.includes(host), failure?.message)
      })
    }
  }

  test('a slow answer within credential_timeout is accepted', async () => {
    answer = (request, response) => setTimeout(() => good(request, response), 1300)
    using fetching = await sourceFor({ azure_credential: 'managed_identity' })
    await fetching.source.get()
    assert.deepEqual(fetching.failures(), [])
  })
})

describe('one lost request to the token endpoint', () => {
  test('the next one is made after credential_timeout', async () => {
    provider.answer = { kind: 'hang' }
    using fetching = await sourceFor({ ...app(), credential_timeout: 0.5 })
    const begin = performance.now()
    const before = provider.requests.length
    const waiting = fetching.source.get()
    while (provider.requests.length === before) await sleep(5)
    provider.answer = { kind: 'token' }
    await waiting
    const took = performance.now() - begin
    assert.ok(took >= 490 && took < 10_000, `${took} ms`)
    assert.deepEqual(
      fetching.failures().map(({ code, transient }) => [code, transient]),
      [['CREDENTIAL_FAILED', true]],
    )
  })
})

describe('an answer without end', () => {
  test('of the metadata service is cut off after about 1 MiB', async () => {
    const taken: Promise<number>[] = []
    answer = (_request, response) => taken.push(answerWithoutEnd(response))
    using fetching = await sourceFor({ azure_credential: 'managed_identity' })
    const error = await failureOf(fetching.source)
    assert.match(error.message, /longer than a token or key can be/)
    assert.deepEqual([error.code, error.transient], ['CREDENTIAL_FAILED', false])
    assert.equal(taken.length, 1)
    // Bytes in the sockets of both sides are still on their way.
    for (const bytes of await Promise.all(taken)) assert.ok(bytes < 12 * 1024 * 1024, `${bytes} bytes`)
  })

  test('that is short only in its compressed form is not unpacked', async () => {
    const packed = gzipSync(Buffer.alloc(256 * 1024 * 1024, ' '))
    answer = (_request, response) => {
      response.setHeader('content-encoding', 'gzip')
      response.end(packed)
    }
    using fetching = await sourceFor({ azure_credential: 'managed_identity' })
    const before = process.memoryUsage().rss
    const error = await failureOf(fetching.source)
    assert.match(error.message, /longer than a token or key can be/)
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < 150 * 1024 * 1024, `${grown} bytes`)
  })
})
