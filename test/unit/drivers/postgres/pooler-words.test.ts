import assert from 'node:assert/strict'
import { test } from 'node:test'
import { poolerAdvice, poolerEndHint } from '../../../../src/drivers/postgres/pooler-words.ts'
import type { ErrorCode } from '../../../../src/errors.ts'

/** The words of poolers that no test runs, with the SQLSTATE under which they send them, and of later versions of PgBouncer. */
const WORDS: readonly [sqlstate: string, words: string, code: ErrorCode, transient: boolean][] = [
  ['08P01', 'client connections exceeded (max_user_client_connections)', 'SERVER_FULL', true],
  ['08P01', 'server login has been failing, try again later (server_login_retry)', 'SERVER_NOT_READY', true],
  [
    '08P01',
    'server login has been failing, cached error: connect failed (server_login_retry)',
    'SERVER_NOT_READY',
    true,
  ],
  [
    '08P01',
    'server login has been failing, cached error: FATAL: password authentication failed for user "etl" (server_login_retry)',
    'LOGIN_REFUSED',
    false,
  ],
  ['28P01', 'password authentication failed for user "etl"', 'LOGIN_REFUSED', false],
  ['3D000', 'database "nodb" does not exist', 'DATABASE_NOT_FOUND', false],
  ['08P01', 'no such database: nodb', 'DATABASE_NOT_FOUND', false],
  ['08P01', 'unsupported startup parameter in options: search_path', 'SETTING_REFUSED', false],
  [
    '08P01',
    'unsupported startup parameter in options: search_path. Please use unpooled connection',
    'SETTING_REFUSED',
    false,
  ],
  [
    '08P01',
    "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
    'SETTING_REFUSED',
    false,
  ],
  ['08P01', 'pooler is shutting down', 'SERVER_NOT_READY', true],
  ['08P01', 'client_login_timeout (server down)', 'SERVER_NOT_READY', true],
  ['08P01', 'the database system is starting up', 'SERVER_NOT_READY', true],
  ['08P01', 'sorry, too many clients already', 'SERVER_FULL', true],
  ['08P01', 'SSL required', 'TLS_NEEDED', false],
  ['08P01', 'server login failed: wrong password type', 'SERVER_ERROR', false],
  ['28P01', 'The password that was provided for the role etl is wrong.', 'LOGIN_REFUSED', false],
  [
    '28000',
    'IAM authentication failed for user etl. Check the IAM token for this user and try again.',
    'LOGIN_REFUSED',
    false,
  ],
  [
    '28000',
    'The IAM authentication failed for the role etl. Check the IAM token for this role and try again.',
    'LOGIN_REFUSED',
    false,
  ],
  [
    '28000',
    'This RDS proxy has no credentials for the role etl. Check the credentials for this role and try again.',
    'LOGIN_ROLE_UNUSABLE',
    false,
  ],
  ['53300', 'The maximum number of client connections to the proxy exceeded 100.', 'SERVER_FULL', true],
  ['08000', 'Timed-out waiting to acquire database connection.', 'SERVER_FULL', true],
  ['08000', 'Rate of connection to proxy exceeded 2500.', 'SERVER_THROTTLED', true],
  ['08000', 'The IAM authentication failed because of too many competing requests.', 'SERVER_THROTTLED', true],
  [
    '0A000',
    "Feature not supported: RDS Proxy currently doesn't support command-line options.",
    'SETTING_REFUSED',
    false,
  ],
  [
    '0A000',
    'Feature not supported: RDS Proxy currently doesn’t support the option search_path.',
    'SETTING_REFUSED',
    false,
  ],
  [
    '0A000',
    'Feature not supported: RDS Proxy supports only IAM, MD5, or SCRAM authentication.',
    'AUTH_METHOD_UNSUPPORTED',
    false,
  ],
  ['28000', 'This RDS Proxy requires TLS connections', 'TLS_NEEDED', false],
  ['28000', 'IAM authentication is allowed only with SSL connections.', 'TLS_NEEDED', false],
  ['08P01', 'Request returned an error: database "nodb" does not exist', 'DATABASE_NOT_FOUND', false],
  ['XX000', 'Tenant or user not found', 'LOGIN_ROLE_UNUSABLE', false],
  ['XX000', '(ENOTFOUND) tenant/user postgres.abc not found', 'LOGIN_ROLE_UNUSABLE', false],
  [
    'XX000',
    '(ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)',
    'LOGIN_ROLE_UNUSABLE',
    false,
  ],
  ['28P01', '(EWRONGPASSWORD) password authentication failed for user "etl"', 'LOGIN_REFUSED', false],
  ['28P01', 'password authentication failed for user "etl"', 'LOGIN_REFUSED', false],
  ['XX000', 'Max client connections reached', 'SERVER_FULL', true],
  [
    'XX000',
    'MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size',
    'SERVER_FULL',
    true,
  ],
  [
    'XX000',
    '(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15',
    'SERVER_FULL',
    true,
  ],
  [
    'XX000',
    '(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 60000ms in Session mode',
    'SERVER_FULL',
    true,
  ],
  [
    'XX000',
    '(ECIRCUITBREAKER) too many authentication failures, new connections are temporarily blocked',
    'SERVER_THROTTLED',
    true,
  ],
  ['XX000', '(EPOOLTERMINATING) pool terminating: connection refused', 'SERVER_NOT_READY', true],
  ['XX000', '(EADDRNOTALLOWED) address not in tenant allow_list: {1, 2, 3, 4}', 'LOGIN_NOT_ADMITTED', false],
  ['XX000', '(ESSLREQUIRED) SSL connection is required for user: etl', 'TLS_NEEDED', false],
]

for (const [C, M, code, transient] of WORDS) {
  test(`"${M}" of a pooler is ${code}`, () => {
    const advice = poolerAdvice({ C, M })
    assert.deepEqual([advice?.code, advice?.transient ?? false], [code, transient])
    assert.ok((advice?.hint ?? '').length > 20)
  })
}

test('the words of a PostgreSQL server, which names its routine, are not taken for those of a pooler', () => {
  for (const [C, M] of WORDS) assert.equal(poolerAdvice({ C, M, R: 'auth_failed' }), undefined)
  const error = { message: 'query_wait_timeout', routine: 'ProcessInterrupts' }
  assert.equal(poolerEndHint(error), undefined)
  assert.match(poolerEndHint({ message: error.message }) ?? '', /did not run/)
})

test('words that no pooler is known for mean nothing', () => {
  for (const M of ['', 'no', 'out of memory', 'x'.repeat(30_000), 'he said "query_wait_timeout"']) {
    assert.equal(poolerAdvice({ C: '08P01', M }), undefined)
    assert.equal(poolerEndHint({ message: M }), undefined)
  }
  assert.equal(poolerAdvice({}), undefined)
})
