import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { showProxy } from '../../../src/drivers/network/proxy/address.ts'
import { openHttpTunnel } from '../../../src/drivers/network/proxy/http-tunnel.ts'
import type { ProxyLogin } from '../../../src/drivers/network/proxy/login.ts'
import { ProxyServer } from '../../../src/drivers/network/proxy/server-connection.ts'
import { systemLookup } from '../../../src/drivers/network/socket.ts'
import type { Challenge } from '../../../src/kerberos/http-challenges.ts'
import {
  type ProxyAnswer,
  type ProxyDouble,
  type ProxyRequest,
  page,
  startProxyDouble,
} from '../../support/proxy-double.ts'

/** A login of several legs: it says one, two, three, and notes what the proxy said in between. */
function counting(heard: Challenge[][]): ProxyLogin {
  let said = 0
  return {
    first: async () => `Negotiate ${++said}`,
    next: async (challenges) => {
      heard.push([...challenges])
      return `Negotiate ${++said}`
    },
    finish: async () => ({ authentication: 'kerberos', identity: 'me' }),
    [Symbol.dispose]: () => undefined,
  }
}

async function through(proxy: ProxyDouble, heard: Challenge[][] = []) {
  const address = { scheme: 'http', host: '127.0.0.1', port: proxy.port } as const
  const route = { proxy: showProxy(address), target: `127.0.0.1:${proxy.port}` }
  const server = new ProxyServer(address, systemLookup, undefined)
  const { stream } = await openHttpTunnel(server, counting(heard), route, { signal: AbortSignal.timeout(10_000) })
  stream.destroy()
}

/** The legs as the proxy saw them: over which connection, and with which word. */
const legs = (requests: readonly ProxyRequest[]): string[] =>
  requests.map(({ connection, headers }) => `${connection}: ${headers['proxy-authorization']}`)

const DENIED = '407 Proxy Authentication Required'
const chunked = [
  `HTTP/1.1 ${DENIED}`,
  'Proxy-Authenticate: Negotiate c2Vjb25k',
  'Transfer-Encoding: chunked',
  '',
  '5;name="value"',
  'HTTP/',
  'A',
  '1.1 200\r\n\r',
  '0',
  'Trailer: x',
  '',
  '',
].join('\r\n')

describe('a login of several legs', () => {
  const challenge = ['Proxy-Authenticate: Basic realm="Negotiate x, y"', 'Proxy-Authenticate: Negotiate c2Vjb25k']
  const cases: readonly (readonly [string, ProxyAnswer, readonly string[]])[] = [
    [
      'goes on over one connection',
      { send: page(DENIED, challenge), next: 'keep' },
      ['1: Negotiate 1', '1: Negotiate 2', '1: Negotiate 3'],
    ],
    [
      'goes on behind a page of another request’s looks',
      { send: page(DENIED, challenge, 'HTTP/1.1 200 OK\r\n\r\n'), next: 'keep' },
      ['1: Negotiate 1', '1: Negotiate 2', '1: Negotiate 3'],
    ],
    [
      'goes on behind a page in chunks',
      { send: chunked, next: 'keep' },
      ['1: Negotiate 1', '1: Negotiate 2', '1: Negotiate 3'],
    ],
    [
      'comes back when the proxy says that it closes',
      { send: page(DENIED, [...challenge, 'Connection: close']), next: 'close' },
      ['1: Negotiate 1', '2: Negotiate 2', '3: Negotiate 3'],
    ],
    [
      'comes back when the proxy says so in the old way',
      { send: page(DENIED, [...challenge, 'Proxy-Connection: close']), next: 'hang' },
      ['1: Negotiate 1', '2: Negotiate 2', '3: Negotiate 3'],
    ],
    [
      'comes back when the proxy closes without a word',
      { send: page(DENIED, challenge), next: 'close' },
      ['1: Negotiate 1', '2: Negotiate 2', '3: Negotiate 3'],
    ],
    [
      'comes back when the page has no end that could be known',
      { send: `HTTP/1.1 ${DENIED}\r\n${challenge[1]}\r\n\r\n<html>`, next: 'hang' },
      ['1: Negotiate 1', '2: Negotiate 2', '3: Negotiate 3'],
    ],
    [
      'comes back to a proxy of HTTP/1.0',
      { send: page(DENIED, challenge).replace('1.1', '1.0'), next: 'hang' },
      ['1: Negotiate 1', '2: Negotiate 2', '3: Negotiate 3'],
    ],
    [
      'comes back rather than read a page of megabytes',
      { send: `HTTP/1.1 ${DENIED}\r\n${challenge[1]}\r\nContent-Length: 99999999\r\n\r\n`, next: 'hang' },
      ['1: Negotiate 1', '2: Negotiate 2', '3: Negotiate 3'],
    ],
  ]
  for (const [what, denial, expected] of cases) {
    test(what, async () => {
      await using proxy = await startProxyDouble({
        answer: ({ headers }) => (headers['proxy-authorization'] === 'Negotiate 3' ? { next: 'tunnel' } : denial),
      })
      const heard: Challenge[][] = []
      await through(proxy, heard)
      assert.deepEqual(legs(proxy.requests), expected)
      for (const challenges of heard) {
        assert.deepEqual(challenges.at(-1), { scheme: 'negotiate', token: 'c2Vjb25k' })
      }
      assert.equal(heard.length, 2)
    })
  }

  test('ends, however often the proxy asks', async () => {
    await using proxy = await startProxyDouble({ answer: () => ({ send: page(DENIED, challenge), next: 'keep' }) })
    await assert.rejects(through(proxy), { code: 'PROXY_AUTH_REFUSED', phase: 'proxy' })
    assert.equal(proxy.requests.length, 8)
  })

  test('gives up a proxy that always closes without an answer', async () => {
    await using proxy = await startProxyDouble({
      answer: ({ leg }) => (leg === 1 ? { send: page(DENIED, challenge), next: 'keep' } : { next: 'close' }),
    })
    await assert.rejects(through(proxy), { code: 'PROXY_AUTH_REFUSED' })
    assert.ok(proxy.connections <= 8)
  })
})
