import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sanitised } from '../../../src/sanitised-sql.ts'
import {
  errorAttributes,
  known,
  placeAttributes,
  querySummary,
  sessionAttributes,
  statementAttributes,
} from '../../../src/telemetry/attributes.ts'

test('a statement is told without the values in its text', () => {
  const cases: readonly (readonly [string, string])[] = [
    ["select * from t where a = 'x''y' and b = 12.5e3", 'select * from t where a = ? and b = ?'],
    ["select E'it\\'s secret', N'b'", 'select ?, N?'],
    ['select "a 1" from "t\'s"', 'select "a 1" from "t\'s"'],
    ['select $$secret$$, $tag$also $$ secret$tag$, $1', 'select ?, ?, $1'],
    ["select 1 -- it's a secret\n, 2", 'select ?  \n, ?'],
    ["select /* 'secret */ 3", 'select   ?'],
    ["select 'never finished, secret", 'select ?'],
    ["select array[1, 'secret']", 'select array[?, ?]'],
    ["select col1 from t2 where c3 = 'x'", 'select col1 from t2 where c3 = ?'],
  ]
  for (const [text, expected] of cases) assert.equal(sanitised(text, 'postgresql'), expected)
  assert.equal(sanitised("select [it's], 'x'", 'microsoft.sql_server'), "select [it's], ?")
})

test('a summary is the first word of the statement', () => {
  assert.equal(querySummary('  select 1'), 'SELECT')
  assert.equal(querySummary('$$'), undefined)
})

test('a summary is found behind comments and parentheses', () => {
  assert.equal(querySummary('/* route: /flights */ select 1'), 'SELECT')
  assert.equal(querySummary('-- route\n  /*** a ** b ***/\t-- more\nUpdate t set a = 1'), 'UPDATE')
  assert.equal(querySummary('(select 1) union (select 2)'), 'SELECT')
  assert.equal(querySummary('/* never finished: select'), undefined)
  assert.equal(querySummary(`${'/**/'.repeat(50_000)}$`), undefined, 'in an instant')
})

test('a call of a procedure is told by its name', () => {
  assert.deepEqual(statementAttributes({ text: 'dbo.close_day', procedure: 'dbo.close_day' }), {
    'db.query.summary': 'EXECUTE dbo.close_day',
    'db.operation.name': 'EXECUTE',
    'db.stored_procedure.name': 'dbo.close_day',
  })
  assert.deepEqual(statementAttributes({ text: 'select 1' }), { 'db.query.summary': 'SELECT' })
})

test('an attribute that is not known is not given to a metric', () => {
  const place = { system: 'postgresql', host: 'db', port: 5432, database: undefined } as const
  assert.deepEqual(Object.keys(known(placeAttributes(place))), ['db.system.name', 'server.address'])
})

test('an attempt at a list of hosts is told with the server that gave the session', () => {
  const trace = { poolName: 'p', system: 'postgresql', host: 'db1,db2', port: 5432, database: 'd', logins: 1 } as const
  assert.deepEqual(sessionAttributes(trace), {})
  const place = { host: 'db2', port: 5433, address: '10.0.0.2', role: 'standby' } as const
  assert.deepEqual(sessionAttributes({ ...trace, place }), {
    'server.address': 'db2',
    'server.port': 5433,
    'network.peer.address': '10.0.0.2',
    'poolsmith.place.role': 'standby',
  })
})

test('a name that a proxy resolves is not told as the address of the server', () => {
  const trace = { poolName: 'p', system: 'postgresql', host: 'db', port: 5432, database: 'd', logins: 1 } as const
  const told = (address: string): unknown =>
    sessionAttributes({ ...trace, place: { host: 'db', port: 5432, address, role: undefined } })['network.peer.address']
  assert.equal(told('db.example.com'), undefined)
  for (const address of ['10.0.0.2', 'fe80::1', '/run/postgresql/.s.PGSQL.5432', '@postgres']) {
    assert.equal(told(address), address)
  }
})

test('the port is told if it is not the default one, and the kind of an error by its status or code', () => {
  const place = { poolName: 'p', system: 'postgresql', host: 'db', database: 'sales' } as const
  assert.equal(placeAttributes({ ...place, port: 5432 })['server.port'], undefined)
  assert.equal(placeAttributes({ ...place, port: 6432 })['server.port'], 6432)
  const kind = (error: object): unknown => errorAttributes(Object.assign(new Error('x'), error))['error.type']
  assert.equal(kind({ code: '23505' }), '23505')
  assert.equal(kind({ code: 'EREQUEST', number: 2627 }), '2627')
  assert.equal(kind({ code: 'ECONNRESET' }), 'ECONNRESET')
  assert.equal(kind({ code: 'EPIPE' }), 'EPIPE')
  assert.equal(kind({}), 'Error')
})
