import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, test } from 'node:test'
import tls from 'node:tls'
import { inspect } from 'node:util'
import { PoolsmithError } from '../../../../../src/errors.ts'
import type { GssContext } from '../../../../../src/kerberos/gss-api.ts'
import type { Question } from '../../../../../src/strategies/azure/federation/https.ts'
import { askByTicket } from '../../../../../src/strategies/azure/federation/negotiate.ts'
import { createPki } from '../../../../support/pki.ts'

const pki = await createPki()
const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
const trusted = tls.getCACertificates('default')
tls.setDefaultCACertificates([...trusted, pki.ca])
after(() => tls.setDefaultCACertificates(trusted))

/** A mechanism of as many legs as there are tokens; it says them in turn, and keeps what it hears. */
function mechanism(tokens: readonly string[]): GssContext & { readonly heard: (string | undefined)[] } {
  const heard: (string | undefined)[] = []
  return {
    heard,
    target: 'HTTP@localhost',
    get complete() {
      return heard.length > tokens.length
    },
    flags: [],
    step: async (received) => {
      heard.push(received === undefined ? undefined : Buffer.from(received).toString())
      const token = tokens[heard.length - 1]
      return { token: token === undefined ? undefined : Buffer.from(token), complete: heard.length > tokens.length }
    },
    wrap: () => assert.fail(),
    unwrap: () => assert.fail(),
    wrapSizeLimit: () => assert.fail(),
    inquire: () => assert.fail(),
    [Symbol.dispose]: () => undefined,
  }
}

/** Asks a server that answers what it hears by this table; anything else is refused. */
async function exchange(context: GssContext, replies: Readonly<Record<string, readonly [number, string?]>>) {
  const asked: { readonly token: string; readonly body: string; readonly port: number | undefined }[] = []
  const server = createServer(certificate, async (request, response) => {
    const sent = Buffer.from((request.headers.authorization ?? '').replace('Negotiate ', ''), 'base64').toString()
    asked.push({ token: sent, body: await text(request), port: request.socket.remotePort })
    const [status, token] = replies[sent] ?? [401]
    const value = token === undefined ? 'Negotiate' : `Negotiate ${Buffer.from(token).toString('base64')}`
    response.writeHead(status, { 'www-authenticate': value }).end('the answer')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = new URL(`https://localhost:${port}/trust`)
  const question: Question = { step: 'assertion', subject: 'It failed', url, body: 'the question' }
  try {
    const signal = AbortSignal.timeout(5000)
    const outcome = await askByTicket(question, context, 'alice@R', { signal }).catch((error: unknown) => error)
    return { outcome, asked }
  } finally {
    server.close()
    await once(server, 'close')
  }
}

function codeOf(outcome: unknown): string {
  assert.ok(outcome instanceof PoolsmithError, inspect(outcome))
  return outcome.code
}

test('a login of several legs stays on one connection, and reads the last answer', async () => {
  const context = mechanism(['one', 'two'])
  const { outcome, asked } = await exchange(context, { one: [401, 'go on'], two: [200, 'the proof'] })
  assert.partialDeepStrictEqual(outcome, { status: 200, text: 'the answer' })
  assert.deepEqual(context.heard, [undefined, 'go on', 'the proof'])
  assert.deepEqual(
    asked.map(({ token, body }) => [token, body]),
    [
      ['one', 'the question'],
      ['two', 'the question'],
    ],
  )
  assert.equal(new Set(asked.map(({ port }) => port)).size, 1)
})

test('a missing proof is accepted, because TLS has given one', async () => {
  const { outcome } = await exchange(mechanism(['one']), { one: [200] })
  assert.partialDeepStrictEqual(outcome, { status: 200 })
})

test('a server that never stops asking is given up', async () => {
  const words = Array.from({ length: 20 }, (_, leg) => `leg ${leg}`)
  const { outcome, asked } = await exchange(
    mechanism(words),
    Object.fromEntries(words.map((word) => [word, [401, 'more'] as const])),
  )
  assert.equal(codeOf(outcome), 'FEDERATION_REFUSED')
  assert.equal(asked.length, 8)
})

test('a wrong proof is an error even though the answer is there', async () => {
  const context = mechanism(['one'])
  const { outcome } = await exchange(
    {
      ...context,
      complete: false,
      step: async (received) => {
        if (received !== undefined) throw new Error('damaged')
        return context.step()
      },
    },
    { one: [200, 'a lie'] },
  )
  assert.equal(codeOf(outcome), 'FEDERATION_NOT_GENUINE')
})

test('NTLM is never sent, even if the library puts it into its tokens', async () => {
  const { outcome, asked } = await exchange(mechanism(['\x60NTLMSSP\0\x01']), {})
  assert.match(inspect(outcome), /NTLM was about to be sent/)
  assert.deepEqual(asked, [])
})
