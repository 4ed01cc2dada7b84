import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, describe, test } from 'node:test'
import { AnswerTooLong, type SupervisedRequest, supervise } from '../../../src/strategies/supervise.ts'
import { stall } from '../../support/stall.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void
let answer: Answer = (_request, response) => response.end('good')
const server = createServer((incoming, response) => answer(incoming, response))
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
after(() => {
  server.closeAllConnections()
  server.close()
})
const { port } = server.address() as AddressInfo
const never = new AbortController().signal

/** As an SDK asks. @param whole false: lets go of the answer at its head, as one does with a refusal */
function ask(whole = true): Promise<string> {
  return new Promise((resolve, reject) => {
    const sending = request({ port, path: '/token' })
    sending.on('error', reject)
    sending.on('response', (response) => {
      if (whole) text(response).then(resolve, () => undefined)
      else {
        sending.destroy()
        setTimeout(resolve, 50, `HTTP ${response.statusCode}`)
      }
    })
    sending.end()
  })
}

describe('supervised requests', () => {
  test('an answer passes unchanged, and is reported', async () => {
    answer = (_request, response) => response.end('x'.repeat(900_000))
    const requests: SupervisedRequest[] = []
    const got = await supervise({ signal: never, requestLimitMillis: 5000, requests }, () => ask())
    assert.equal(got.length, 900_000)
    assert.partialDeepStrictEqual(requests, [
      { protocol: 'http:', host: `localhost:${port}`, path: '/token', status: 200 },
    ])
    assert.equal(requests[0]?.error, undefined)
  })

  test('an answer that has arrived while the event loop stood still is read', async () => {
    answer = (_request, response) => response.end('good', () => stall(1500))
    assert.equal(await supervise({ signal: never, requestLimitMillis: 1000 }, () => ask()), 'good')
  })

  test('an answer that its reader abandons is no failure', async () => {
    answer = (_request, response) => {
      response.writeHead(404, { 'content-length': '1000' })
      response.write('a')
    }
    assert.equal(await supervise({ signal: never, requestLimitMillis: 5000 }, () => ask(false)), 'HTTP 404')
  })

  for (const [what, trouble, code] of [
    [
      'cut off in the middle',
      (_request, response) => {
        response.writeHead(200, { 'content-length': '1000' })
        response.write('a', () => response.destroy())
      },
      'ECONNRESET',
    ],
    ['that stops in the middle', (_request, response) => response.write('a'), 'ETIMEDOUT'],
    ['that does not begin', () => undefined, 'ETIMEDOUT'],
  ] as readonly (readonly [string, Answer, string])[]) {
    test(`an answer ${what} fails the work, though its reader never learns of it: ${code}`, async () => {
      answer = trouble
      await assert.rejects(
        supervise({ signal: never, requestLimitMillis: 200 }, () => ask()),
        { code },
      )
    })
  }

  test('a request whose host name is not resolved has its limit too', async () => {
    const lost = (): Promise<string> =>
      new Promise((_resolve, reject) => {
        request({ host: 'db.example', lookup: () => undefined })
          .on('error', reject)
          .end()
      })
    await assert.rejects(supervise({ signal: never, requestLimitMillis: 50 }, lost), { code: 'ETIMEDOUT' })
  })

  test('an answer that is too long fails the work', async () => {
    answer = (_request, response) => response.end('x'.repeat(1_100_000))
    await assert.rejects(
      supervise({ signal: never, requestLimitMillis: 5000 }, () => ask()),
      AnswerTooLong,
    )
  })

  test('a signal that has aborted already, or aborts, ends the requests', async () => {
    answer = () => undefined
    const reason = new Error('closed')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(
      supervise({ signal, requestLimitMillis: 5000 }, () => ask()),
      reason,
    )
    const later = new AbortController()
    const asked = new Promise<void>((resolve) => {
      answer = () => resolve()
    })
    const waiting = supervise({ signal: later.signal, requestLimitMillis: 5000 }, () => ask())
    await asked
    later.abort(reason)
    await assert.rejects(waiting, reason)
  })

  test('requests outside of it are not affected', async () => {
    answer = (_request, response) => setTimeout(() => response.end('x'.repeat(1_100_000)), 100)
    const outside = ask()
    await assert.rejects(supervise({ signal: never, requestLimitMillis: 20 }, () => ask()))
    assert.equal((await outside).length, 1_100_000)
  })
})
