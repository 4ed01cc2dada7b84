/** Requests of the kinds that Microsoft's own clients send, to the TDS server test double. */

import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { Request, TYPES } from 'tedious'
import type { SqlServerConnection } from '../../src/drivers/sqlserver/tedious-connection.ts'
import { open } from '../support/tds/driver.ts'
import { PACKET, packet, type Transport } from '../support/tds/packets.ts'
import { driverFor, sa, sqlServerSetup } from '../support/tds/setup.ts'
import { multiplex, type SmpSession } from '../support/tds/smp.ts'
import { statements } from '../support/tds/statements.ts'
import { tokenize } from '../support/tds/tsql.ts'

const { caFile, start } = await sqlServerSetup()

interface Got {
  readonly rows: readonly (readonly unknown[])[]
  readonly columns: readonly string[]
  readonly outputs: Readonly<Record<string, unknown>>
}

/** The result of a request of tedious. */
async function got(sql: string, make: (request: Request) => void): Promise<Got> {
  const rows: unknown[][] = []
  const outputs: Record<string, unknown> = {}
  let columns: string[] = []
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const request = new Request(sql, (error) => (error ? reject(error) : resolve()))
  request.on('columnMetadata', (found) => {
    columns = (found as { colName: string }[]).map(({ colName }) => colName)
  })
  request.on('row', (row: { value: unknown }[]) => rows.push(row.map(({ value }) => value)))
  request.on('returnValue', (name, value) => {
    outputs[name] = value
  })
  make(request)
  await promise
  return { rows, columns, outputs }
}

const batch = (raw: SqlServerConnection, sql: string): Promise<Got> => got(sql, (request) => raw.execSqlBatch(request))

test('a batch is cut where a word begins a statement that is no part of the one before', () => {
  const cases: readonly (readonly [text: string, statements: readonly string[]])[] = [
    ['set nocount on select 1 select 2', ['set nocount on', 'select 1', 'select 2']],
    ['insert into t select 1 select 2', ['insert into t select 1', 'select 2']],
    ['insert into t values (1) select 2', ['insert into t values (1)', 'select 2']],
    ['insert into t exec p exec q', ['insert into t exec p', 'exec q']],
    ['update t set a = 1 set nocount on', ['update t set a = 1', 'set nocount on']],
    ['select 1 union all select 2 print 3', ['select 1 union all select 2', 'print 3']],
    ['with a as (select 1) select * from a delete from t', ['with a as (select 1) select * from a', 'delete from t']],
    ['create view v as select 1', ['create view v as select 1']],
    ['drop table if exists t drop table u', ['drop table if exists t', 'drop table u']],
    ['alter table t drop column a select 1', ['alter table t drop column a', 'select 1']],
    ['declare @a int = 1 select @a', ['declare @a int = 1', 'select @a']],
    ['select case when 1 = 1 then 2 end select 3', ['select case when 1 = 1 then 2 end', 'select 3']],
    ['begin tran update t set a = 1 commit', ['begin tran', 'update t set a = 1', 'commit']],
    ['if 1 = 1 select 1 else select 2 select 3', ['if 1 = 1 select 1 else select 2', 'select 3']],
    ['if 1 = 1 begin select 1; select 2 end select 3', ['if 1 = 1 begin select 1; select 2 end', 'select 3']],
    [
      'if 1 = 1 begin select 1 end else if 2 = 2 begin select 2 end else select 3; select 4',
      ['if 1 = 1 begin select 1 end else if 2 = 2 begin select 2 end else select 3', 'select 4'],
    ],
    ["select 'begin' as [end]; select (select 1)", ["select 'begin' as end", 'select (select 1)']],
  ]
  for (const [text, expected] of cases) {
    const found = statements(tokenize(text)).map((one) =>
      one.map(({ kind, text: word }) => (kind === 'variable' ? `@${word}` : word)).join(''),
    )
    assert.deepEqual(found, expected, text)
  }
})

test('blocks, EXEC and settings of a batch run as in SQL Server', async () => {
  await using server = await start()
  const { driver } = driverFor(server, caFile)
  const { raw } = await open(driver, sa())
  await batch(raw, 'create table block_rows (id int)')
  await batch(raw, 'if 1 = 1 begin insert into block_rows values (1) update block_rows set id = 2 end else select 0')
  await batch(raw, 'if 1 = 2 select 1 else begin insert into block_rows values (3) end')
  assert.deepEqual((await batch(raw, 'select id from block_rows order by id')).rows, [[2], [3]])
  const text = "declare @n int; exec sp_executesql N'select @o = @a + 1', N'@a int, @o int output', 4, @n output"
  assert.deepEqual((await batch(raw, `${text}; select @n as n`)).rows, [[5]])
  const declared = 'declare @a int = 1 + 1, @b varchar(5) if @b is null select @a as a, @b as b'
  assert.deepEqual((await batch(raw, declared)).rows, [[2, null]])
  // The columns alone, and no rows are changed.
  const { columns, rows } = await batch(raw, 'set fmtonly on select id from block_rows set fmtonly off')
  assert.deepEqual([columns, rows], [['id'], []])
  await batch(raw, 'set fmtonly on delete from block_rows set fmtonly off')
  assert.equal((await batch(raw, 'select id from block_rows')).rows.length, 2)
  // The setting of a procedure ends with it.
  await batch(raw, "exec sp_executesql N'set fmtonly on'")
  assert.equal((await batch(raw, 'select id from block_rows; drop table block_rows')).rows.length, 2)
  await assert.rejects(batch(raw, 'exec no_such_procedure 1'), /Could not find stored procedure 'no_such_procedure'/)
  await driver.close(raw)
  assert.deepEqual(server.complaints, [])
})

test('a server cursor gives rows by their place, and is unknown once it is closed', async () => {
  await using server = await start()
  const { driver } = driverFor(server, caFile)
  const { raw } = await open(driver, sa())
  const call = (procedure: string, values: readonly number[], outputs: readonly string[] = []): Promise<Got> =>
    got(procedure, (request) => {
      for (const [index, value] of values.entries()) request.addParameter(`p${index}`, TYPES.Int, value)
      for (const name of outputs) request.addOutputParameter(name, TYPES.Int)
      raw.callProcedure(request)
    })
  const opened = await got('sp_cursoropen', (request) => {
    request.addOutputParameter('cursor', TYPES.Int)
    request.addParameter('stmt', TYPES.NVarChar, 'select a.n from generate_series(1, 10) as a(n)')
    request.addOutputParameter('scrollopt', TYPES.Int, 8)
    request.addOutputParameter('ccopt', TYPES.Int, 1)
    request.addOutputParameter('rowcount', TYPES.Int, 0)
    raw.callProcedure(request)
  })
  assert.deepEqual([opened.columns, opened.rows], [['n', 'ROWSTAT'], []])
  const { cursor, ...granted } = opened.outputs
  assert.deepEqual(granted, { scrollopt: 8, ccopt: 1, rowcount: 10 })
  const fetch = async (kind: number, row = 0, count = 2): Promise<unknown[]> =>
    (await call('sp_cursorfetch', [Number(cursor), kind, row, count])).rows.map(([n]) => n)
  const [FIRST, NEXT, PREVIOUS, LAST, ABSOLUTE, RELATIVE] = [1, 2, 4, 8, 16, 32]
  assert.deepEqual(await fetch(NEXT), [1, 2])
  assert.deepEqual(await fetch(NEXT), [3, 4])
  assert.deepEqual(await fetch(LAST, 0, 3), [8, 9, 10])
  assert.deepEqual(await fetch(NEXT), [])
  assert.deepEqual(await fetch(PREVIOUS), [9, 10])
  assert.deepEqual(await fetch(ABSOLUTE, 5), [5, 6])
  assert.deepEqual(await fetch(ABSOLUTE, -1), [10])
  assert.deepEqual(await fetch(RELATIVE, -7), [3, 4])
  assert.deepEqual(await fetch(FIRST, 0, 1), [1])
  await call('sp_cursorclose', [Number(cursor)])
  await assert.rejects(fetch(NEXT), /The cursor identifier value provided \(\d+\) is not valid/)
  await driver.close(raw)
  assert.deepEqual(server.complaints, [])
})

/** A packet of MS-SMP. */
function smp(flags: number, sid: number, sequence: number, window: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(16)
  header[0] = 0x53
  header[1] = flags
  header.writeUInt16LE(sid, 2)
  header.writeUInt32LE(16 + data.length, 4)
  header.writeUInt32LE(sequence, 8)
  header.writeUInt32LE(window, 12)
  return Buffer.concat([header, data])
}

test('sessions of MARS are told apart, and get as many packets as they have room for', async () => {
  const socket = new EventEmitter()
  const sent: [sid: number, flags: number, sequence: number, window: number][] = []
  let receive: (chunk: Buffer) => void = () => assert.fail()
  const transport = {
    socket,
    handOver: (taken: typeof receive) => {
      receive = taken
    },
    writeRaw: async (frame: Buffer) => {
      sent.push([frame.readUInt16LE(2), frame[1] ?? 0, frame.readUInt32LE(8), frame.readUInt32LE(12)])
    },
  } as unknown as Transport
  const opened: SmpSession[] = []
  const read: string[] = []
  const done = multiplex(transport, async (session) => {
    const index = opened.push(session) - 1
    for await (const chunk of session) read.push(`${index}: ${String(chunk)}`)
  })
  const [SYN, ACK, FIN, DATA] = [1, 2, 4, 8]
  receive(Buffer.concat([smp(SYN, 0, 0, 2), smp(SYN, 7, 0, 4), smp(DATA, 7, 1, 4, Buffer.from('b'))]))
  receive(smp(DATA, 0, 1, 2, Buffer.from('a')))
  const answer = packet(PACKET.response, Buffer.from('x'), true, 1)
  opened[0]?.write(Buffer.concat([answer, answer, answer]))
  opened[1]?.write(answer)
  // The first session has room for two packets; both sides say what they have received.
  assert.deepEqual(sent, [
    [0, DATA, 1, 5],
    [0, DATA, 2, 5],
    [7, DATA, 1, 5],
  ])
  receive(smp(ACK, 0, 1, 3))
  assert.deepEqual(sent.at(-1), [0, DATA, 3, 5])
  receive(Buffer.concat([smp(FIN, 0, 1, 4), smp(FIN, 7, 1, 4)]))
  assert.deepEqual(
    sent.slice(-2).map(([sid, flags]) => [sid, flags]),
    [
      [0, FIN],
      [7, FIN],
    ],
  )
  socket.emit('close')
  await done
  assert.deepEqual(read.toSorted(), ['0: a', '1: b'])
})
