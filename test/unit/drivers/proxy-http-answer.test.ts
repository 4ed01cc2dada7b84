import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { NotHttp, readAnswer, skipBody } from '../../../src/drivers/network/proxy/http-answer.ts'
import { StreamClosed, Wire } from '../../../src/drivers/network/wire.ts'

const SIGNAL = new AbortController().signal

/** Reads an answer that comes in these pieces, and what is left in the stream behind it. */
async function read(pieces: readonly Buffer[]) {
  const stream = new PassThrough()
  using wire = new Wire(stream, SIGNAL)
  const answer = readAnswer(wire)
  answer.catch(() => undefined)
  for (const piece of pieces) {
    stream.write(piece)
    await new Promise((resolve) => setImmediate(resolve))
  }
  stream.end()
  const { status, keepsAlive } = await answer
  const rest: Buffer | null = stream.read()
  return { status, keepsAlive, rest: (rest ?? Buffer.alloc(0)).toString('latin1') }
}

test('an answer is the same however it is cut, and what follows it stays in the stream', async () => {
  const bytes = Buffer.from('HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 Fine\r\nX-Y: z\r\n\r\nthe tunnel\r\n\r\n', 'latin1')
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 1, max: bytes.length - 1 })), async (cuts) => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
      const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end))
      assert.deepEqual(await read(pieces), { status: 200, keepsAlive: true, rest: 'the tunnel\r\n\r\n' })
    }),
    { numRuns: 60 },
  )
})

test('a head may be as long as Node’s own parser takes, and no longer', async () => {
  const head = (length: number): Buffer => {
    const empty = 'HTTP/1.1 200 OK\r\nX: \r\n\r\n'
    return Buffer.from(empty.replace('X: ', `X: ${'y'.repeat(length - empty.length)}`))
  }
  assert.equal((await read([head(16 * 1024)])).status, 200)
  await assert.rejects(read([head(16 * 1024 + 1)]), NotHttp)
})

for (const [what, text] of [
  ['a line break without its other half', 'HTTP/1.1 200 OK\nX: y\r\n\r\n'],
  ['a blank before the colon', 'HTTP/1.1 200 OK\r\nX : y\r\n\r\n'],
  ['a NUL', 'HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n'],
  ['a header without a name', 'HTTP/1.1 200 OK\r\n: y\r\n\r\n'],
  ['another version', 'HTTP/1.9 200 OK\r\n\r\n'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['a mail server', '220 mail.example.com ESMTP\r\n\r\n'],
] as const) {
  test(`${what} is no answer`, () => assert.rejects(read([Buffer.from(text, 'latin1')]), NotHttp))
}

test('an answer that ends too early is a closed connection', () =>
  assert.rejects(read([Buffer.from('HTTP/1.1 200 OK\r\nX: y\r\n')]), StreamClosed))

test('a body is read to its end, or not at all', async () => {
  const cases: readonly (readonly [string, boolean])[] = [
    ['Content-Length: 4\r\n\r\nabcd', true],
    ['Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd', true],
    ['Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd', false],
    ['Content-Length: +4\r\n\r\nabcd', false],
    ['Content-Length: 4\r\nConnection: foo, Close\r\n\r\nabcd', false],
    ['Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n', true],
    ['Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n', false],
    ['Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n4\r\nabcd\r\n0\r\n\r\n', true],
    ['Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n', false],
    ['X: y\r\n\r\nabcd', false],
  ]
  for (const [rest, skipped] of cases) {
    const stream = new PassThrough()
    using wire = new Wire(stream, SIGNAL)
    stream.write(`HTTP/1.1 407 No\r\n${rest}next`)
    assert.equal(await skipBody(wire, await readAnswer(wire)), skipped, rest)
    if (skipped) assert.equal(String(await wire.read(4)), 'next', rest)
  }
})
