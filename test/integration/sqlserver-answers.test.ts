/** Answers that a server may give in another order than usual, and those that no server may give. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Request } from 'tedious'
import { type RowMode, setRowMode } from '../../src/drivers/sqlserver/row-reader.ts'
import type { SspiFactory } from '../../src/drivers/sqlserver/sspi.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { createPki } from '../support/pki.ts'
import { open, testDriver } from '../support/tds/driver.ts'
import { type FuzzServer, startFuzzServer } from '../support/tds/fuzz.ts'
import { PACKET, packet } from '../support/tds/packets.ts'
import {
  colMetadata,
  DONE,
  doneProc,
  doneToken,
  envText,
  returnStatus,
  returnValue,
  rowToken,
} from '../support/tds/tokens.ts'
import { intN } from '../support/tds/types.ts'

const stack = new AsyncDisposableStack()
let server: FuzzServer

before(async () => {
  server = stack.use(await startFuzzServer(await (await createPki()).issue({ commonName: 'localhost' })))
})
after(() => stack.disposeAsync())

const COLUMNS = [{ name: 'n', type: intN(4) }]
const METADATA = colMetadata(COLUMNS)
const ROW = rowToken(COLUMNS, ['7'])
const HANDLE = returnValue('@handle', intN(4), '5')
const STATUS = returnStatus(0)

const MODES: readonly (RowMode | undefined)[] = [
  undefined,
  { exact: false, bare: true },
  { exact: true, bare: false },
  { exact: true, bare: true, fields: true },
]

const sspi: SspiFactory = async () => ({
  step: async (input) => ({ output: Buffer.from('a token'), complete: input !== undefined }),
})

/** The result of a statement that a server answers with these pieces. */
async function answered(pieces: readonly Buffer[], mode: RowMode | undefined) {
  server.play = { encryption: 'none', kind: 'gss', stage: 'answer', seed: 1, pieces }
  const context = { sspi, lookup: async () => ['127.0.0.1'] }
  const { driver } = testDriver({ port: server.port }, { encrypt: 'false' }, context)
  const { raw } = await open(driver, { kind: 'gss', identity: 'alice', issuedAt: 0 })
  let rows = 0
  const outputs: unknown[] = []
  const { promise, resolve } = Promise.withResolvers<Error | undefined>()
  const request = new Request('select 1', (error) => resolve(error ? driver.statementError(raw, error) : undefined))
  if (mode !== undefined) setRowMode(request, mode)
  // A run of fields has many rows.
  request.on('row', (row: { readonly rows?: number }) => {
    rows += row.rows ?? 1
  })
  request.on('returnValue', (name, value) => outputs.push([name, value]))
  raw.execSqlBatch(request)
  const error = await promise
  driver.abort(raw)
  return { error, rows, outputs }
}

const message = (...tokens: readonly Buffer[]) => [packet(PACKET.response, Buffer.concat(tokens), true, 1)]

const RESULT = [METADATA, ROW, doneToken(DONE.final | DONE.more, 1, true)]
const LEGAL: readonly (readonly [order: string, pieces: readonly Buffer[], outputs: number])[] = [
  ['the status and then the outputs', message(...RESULT, STATUS, HANDLE, doneProc(DONE.final)), 1],
  ['the outputs and then the status', message(...RESULT, HANDLE, STATUS, doneProc(DONE.final)), 1],
  ['both before the rows', message(HANDLE, STATUS, ...RESULT, doneProc(DONE.final)), 1],
  ['no status', message(...RESULT, doneProc(DONE.final)), 0],
  [
    'another size of packets first',
    message(envText('packetSize', '16000', '4096'), ...RESULT, doneProc(DONE.final)),
    0,
  ],
]

for (const [order, pieces, outputs] of LEGAL) {
  test(`an answer with ${order} is read`, async () => {
    for (const mode of MODES) {
      const got = await answered(pieces, mode)
      assert.deepEqual(got, { error: undefined, rows: 1, outputs: outputs === 0 ? [] : [['handle', 5]] })
    }
  })
}

const done = doneToken(DONE.final, 1)
const many = Array.from({ length: 1000 }, () => ROW)
const ILLEGAL: readonly (readonly [answer: string, pieces: readonly Buffer[], reason: RegExp])[] = [
  ['a row before its columns', message(ROW, METADATA, done), /a row without its columns/],
  [
    'a row without columns',
    message(rowToken([...COLUMNS, ...COLUMNS], [null, null]), done),
    /a row without its columns/,
  ],
  ['a row behind the end', message(METADATA, ROW, done, ROW), /a row without its columns/],
  ['rows without an end', message(METADATA, ROW), /an answer that breaks off before the end of a result/],
  ['a promise of another result', message(METADATA, ROW, doneToken(DONE.more, 1)), /an answer that breaks off/],
  ['nothing', message(), /an answer that breaks off before the end of a result/],
  ['a second answer', [Buffer.concat([...message(METADATA, ROW, done), ...message(done)])], /no request had asked for/],
  ['a packet that is too large', message(METADATA, ...many, done), /a packet of \d+ bytes, where 4096 were agreed on/],
]

for (const [answer, pieces, reason] of ILLEGAL) {
  test(`${answer} ends the session with that reason`, async () => {
    for (const mode of MODES) {
      const { error } = await answered(pieces, mode)
      assert.ok(error instanceof PoolsmithError)
      assert.equal(error.code, 'CONNECTION_LOST')
      assert.match(error.message, reason)
    }
  })
}
