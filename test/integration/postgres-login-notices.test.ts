/** Messages of a server beside the answers of a login: notices, long ones too, notifications, and long errors. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createEngine, type PoolsmithEvents } from '../../src/index.ts'
import { authentication, errorResponse, int32, message, startFakePostgres } from '../support/fake-postgres.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, openSession, passwordCredential } from '../support/postgres-driver.ts'

const LONG = 90_000
const TRIGGER = `
create function greet() returns event_trigger language plpgsql security definer as $$
begin
  if session_user = 'long' then
    raise notice '%', repeat('long ', ${LONG / 5}) using detail = 'd', hint = 'h';
    raise warning 'short';
  elsif session_user = 'refused' then
    raise exception '%', repeat('no ', ${LONG / 3}) using errcode = 'P0042';
  elsif session_user = 'notified' then
    listen news;
    notify news, 'fresh';
  end if;
end $$;
create event trigger greet on login execute function greet();
alter event trigger greet enable always;`

const stack = new AsyncDisposableStack()
let server: PostgresServer
before(async () => {
  server = stack.use(await startPostgres({ hba: ['host all all 127.0.0.1/32 trust'] }))
  await server.sql(`create role long login; create role refused login; create role notified login; ${TRIGGER}`)
})
after(() => stack.disposeAsync())

const target = (login: string) => ({ host: '127.0.0.1', port: server.port, login, database: 'postgres' })

test('notices of a login are an event, long ones shortened', async () => {
  const seen: PoolsmithEvents['connection:notice'][] = []
  const on = { 'connection:notice': (notice: PoolsmithEvents['connection:notice']) => seen.push(notice) }
  await using db = await createEngine({ type: 'postgres', ...target('long') }, { on })
  assert.equal((await db.raw('select 1 as one')).rows[0].one, 1)
  const [first, second, ...others] = seen
  assert.deepEqual(others, [])
  assert.ok(first)
  assert.ok(first.message.startsWith('long long ') && first.message.length < LONG)
  assert.deepEqual([first.severity, first.sqlstate, first.detail, first.hint], ['NOTICE', '00000', 'd', 'h'])
  assert.equal(first.port, server.port)
  assert.deepEqual([second?.severity, second?.message, second?.detail], ['WARNING', 'short', undefined])
})

test('a long error after the login is reported as the server gives it', async () => {
  const error = await openingError(driverFor(target('refused')).driver, passwordCredential(''))
  assert.equal(error.code, 'SERVER_ERROR')
  assert.equal(error.details.sqlstate, 'P0042')
  assert.match(error.message, /refused the login: no no no /)
})

test('a notification before the session is ready reaches the client', async () => {
  const { driver } = driverFor(target('notified'))
  await using session = await openSession(driver, passwordCredential(''))
  assert.equal((await session.client.query('select 1 as one')).rows[0].one, 1)
})

test('notices and notifications may stand between all messages of a session that begins', async () => {
  const notice = message('N', Buffer.from('SNOTICE\0C00000\0Mhello\x1b[2J\0\0'))
  const notification = message('A', int32(7), Buffer.from('news\0fresh\0'))
  const heard: unknown[] = []
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    const between = [
      authentication(0),
      message('S', Buffer.from('server_version\x0018.0\0')),
      message('K', int32(1), int32(2)),
    ].flatMap((part) => [part, notice, notification])
    peer.send(Buffer.concat([...between, message('Z', Buffer.from('I'))]))
    for (;;) {
      const { type } = await peer.message()
      if (type === 'X') return
      peer.send(
        Buffer.concat([notification, notice, message('C', Buffer.from('SET\0')), message('Z', Buffer.from('I'))]),
      )
    }
  })
  const { driver, events } = driverFor({ host: fake.host, port: fake.port, login: 'etl' }, { sslmode: 'disable' })
  await using session = await openSession(driver, passwordCredential(''))
  session.client.on('notification', ({ channel, payload }) => heard.push([channel, payload]))
  await session.client.query('')
  assert.ok(heard.length > 0)
  for (const one of heard) assert.deepEqual(one, ['news', 'fresh'])
  const notices = events.filter(({ name }) => name === 'connection:notice')
  assert.ok(notices.length >= 3)
  assert.deepEqual(notices[0]?.payload, {
    severity: 'NOTICE',
    sqlstate: '00000',
    message: 'hello\\x1b[2J',
    detail: undefined,
    hint: undefined,
  })
})

test('a server that has proved nothing has no notices', async () => {
  await using fake = await startFakePostgres(async (peer) => {
    await peer.startup()
    peer.send(message('N', Buffer.from('SNOTICE\0C00000\0Mhello\0\0')))
    peer.send(errorResponse({ C: '28P01', M: 'no' }))
  })
  const { driver, events } = driverFor({ host: fake.host, port: fake.port, login: 'etl' }, { sslmode: 'disable' })
  assert.equal((await openingError(driver, passwordCredential('x'))).code, 'LOGIN_REFUSED')
  assert.ok(!events.some(({ name }) => name === 'connection:notice'))
})
