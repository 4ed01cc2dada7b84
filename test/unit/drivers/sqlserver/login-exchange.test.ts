import assert from 'node:assert/strict'
import { test } from 'node:test'
import { finishLogin, type LoginExchange } from '../../../../src/drivers/sqlserver/login-exchange.ts'
import type { LoginHandler, MessageLine } from '../../../../src/drivers/sqlserver/tedious-internals.ts'
import { DONE, doneToken, sspiToken } from '../../../support/tds/tokens.ts'

test('an answer that arrives while a token is checked counts, although the server has closed the connection since', async () => {
  const ended = new AbortController()
  const checked = Promise.withResolvers<{ readonly complete: boolean }>()
  const answers = [sspiToken(Buffer.from('token')), doneToken(DONE.final)]
  const exchange: LoginExchange = {
    line: { read: async () => answers.shift() ?? Buffer.alloc(0) } as unknown as MessageLine,
    host: 'db',
    isStrict: false,
    enter: () => undefined,
    endLoginTls: () => undefined,
    parse: async () => ({ loginAckReceived: true, routingData: { server: 'next' } }) as unknown as LoginHandler,
    signal: ended.signal,
    untilClosed: new AbortController().signal,
  }
  const provider = {
    step: async () => {
      // By now the answer would have been read, and the end of the connection follows it.
      setImmediate(() => {
        ended.abort(new Error('socket hang up'))
        checked.resolve({ complete: true })
      })
      return checked.promise
    },
  }
  const { routing } = await finishLogin(exchange, { provider, complete: false })
  assert.deepEqual(routing, { server: 'next' })
})
